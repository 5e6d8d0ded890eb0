"""Names that are not UTF-8, and names as long as a file system allows."""

import json
import os
import shutil

import pytest

from toolkit.edit import edit_video
from toolkit.edit.folder import edit_videos

LATIN = os.fsdecode(b"caf\xe9-\xff.mkv")
LONG = "é" * 125 + "x.mkv"
"""255 bytes."""


def put(video, folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        try:
            shutil.copy(video, folder / name)
        except OSError:
            pytest.skip("this file system does not allow such names")
    return folder


def strict_json(path):
    """The value in a file, as readers that allow UTF-8 only see it."""
    return json.loads(json.dumps(json.loads(path.read_bytes().decode("utf-8")), ensure_ascii=False).encode("utf-8"))


@pytest.mark.parametrize(("name", "shown"), [(LATIN, r"caf\xe9-\xff.mkv"), (LONG, LONG)])
def test_single_video(settings, video, tmp_path, name, shown):
    source = put(video, tmp_path / "in", name) / name
    target = tmp_path / "out" / name
    target.parent.mkdir()
    config = settings(writing={"lossless": True, "compare": "side"})
    report = edit_video(source, target, config)
    assert (report.outcome, report.source, report.target) == ("edited", shown, shown)
    assert target.is_file() and target.with_name(report.comparison).is_file()
    written = sorted(target.parent.iterdir())
    assert len(written) == 3 and not any(path.name.startswith(".") for path in written)
    (record,) = target.parent.glob("*.json")
    assert strict_json(record)["source"] == shown
    assert all(len(os.fsencode(path.name)) <= 255 for path in written)


def test_a_folder_with_such_names_is_edited_whole_and_resumes(settings, video, tmp_path):
    source = put(video, tmp_path / "in", LATIN, LONG, "plain.mkv")
    config = settings(writing={"lossless": True, "preview": 0.1})
    report = edit_videos(source, tmp_path / "out", config)
    assert not report.failed and len(report.done) == 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = edit_videos(source, tmp_path / "out", config)
    assert not again.failed and [one.fingerprint for one in again.done] == [one.fingerprint for one in report.done]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
