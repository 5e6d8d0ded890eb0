"""Power cuts during an edit: what was not flushed is lost, and nothing that the next run relies on is among it."""

import os
import shutil
import time

import pytest

from toolkit.edit import edit_video
from toolkit.edit.workspace import Workspace, clear


@pytest.mark.parametrize("later", [False, True])
def test_the_lock_of_intermediate_files_is_deleted_last(tmp_path, monkeypatch, later):
    """A power cut may bring back what was deleted last; files without the lock would be taken for somebody else's."""
    with Workspace(tmp_path / "work", {}) as workspace:
        workspace.write("faces.json", "x")
        left = []
        monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: left.extend(path.iterdir()))
        if not later:
            workspace.done()
    if later:
        clear(tmp_path / "work")
    assert [path.name for path in left] == ["lock"]


def test_a_power_cut_after_the_last_remover_loses_nothing_that_the_rest_needs(video, settings, tmp_path, monkeypatch):
    flushed, fsync = {}, os.fsync

    def note(file):
        fsync(file)
        flushed[os.fstat(file).st_ino] = time.time_ns()

    def stop(*_):
        raise ZeroDivisionError  # a bug, so that the intermediate files stay

    config, target = settings(), tmp_path / "face.mkv"
    wanted = edit_video(video, tmp_path / "whole.mkv", config)
    started = time.time_ns() - 20_000_000  # file times are coarse
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", note)
        patch.setattr("toolkit.edit.video.review_track", stop)
        with pytest.raises(ZeroDivisionError):
            edit_video(video, target, config)
    for path in (tmp_path / ".face.mkv.edit").rglob("*"):
        status = path.stat()
        if path.is_file() and flushed.get(status.st_ino, started) < status.st_mtime_ns:
            os.truncate(path, 0)
    report = edit_video(video, target, config)
    assert report.resumed and [frame.faces for frame in report.frames] == [frame.faces for frame in wanted.frames]
    assert target.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
