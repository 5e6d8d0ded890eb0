"""Interrupted edits and folders of videos: finished work is kept, and nothing unfinished becomes visible."""

import errno
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from toolkit.cli import main
from toolkit.diffusion.frame_store import FrameStore
from toolkit.edit import EditObserver, edit_video, edit_videos
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.video.carrying import plan_carrying


def planes(path):
    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray() for frame in container.decode(video=0)])


class StopError(Exception):
    pass


class StopAt(EditObserver):
    """Dies at a certain point of a phase."""

    def __init__(self, phase, done):
        self._wanted, self._done, self._phase = phase, done, ""

    def phase(self, name, total, unit):
        self._phase = name

    def advance(self, done):
        if self._phase == self._wanted and done >= self._done:
            raise StopError


@pytest.fixture(scope="module")
def whole(video, backbone, remover, make_remover, everywhere, tmp_path_factory):
    """Settings with two removers, and the report and frames of an uninterrupted edit."""
    from toolkit.edit import EditConfig

    config = EditConfig(
        remover=[remover, make_remover("stickers", seed=5)],
        backbone=str(backbone),
        device="cpu",
        **everywhere,
        denoising={"num_inference_steps": 3, "scheduler": "DPMSolverMultistepScheduler"},
        writing={"lossless": True, "compare": "toggle"},
    )
    target = tmp_path_factory.mktemp("whole") / "face.mkv"
    return config, edit_video(video, target, config), planes(target)


@pytest.mark.parametrize(
    ("phase", "done"),
    [
        ("finding faces", 9),
        ("editing", 0),
        ("editing", 1),
        ("editing", 4),
        ("editing", 7),
        ("editing", 12),
        ("writing", 5),
    ],
)
def test_an_interrupted_edit_resumes_and_gives_the_same_result(video, whole, tmp_path, phase, done):
    config, report, expected = whole
    target = tmp_path / "face.mkv"
    target.write_bytes(b"what was there before")
    with pytest.raises(StopError):
        edit_video(video, target, config, StopAt(phase, done))
    assert target.read_bytes() == b"what was there before"
    assert not (tmp_path / "face.mkv.json").exists() and not (tmp_path / "face.compare.mkv").exists()
    with pytest.raises(StopError):  # and once more, a little later
        edit_video(video, target, config, StopAt("writing", 8))
    again = edit_video(video, target, config)
    assert again.resumed and not report.resumed
    assert np.array_equal(planes(target), expected)
    assert [frame.faces for frame in again.frames] == [frame.faces for frame in report.frames]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.compare.mkv", "face.mkv", "face.mkv.json"]


def test_other_settings_do_not_resume(video, whole, settings, tmp_path):
    config, _, expected = whole
    with pytest.raises(StopError):
        edit_video(video, tmp_path / "face.mkv", settings(), StopAt("editing", 2))
    assert not edit_video(video, tmp_path / "face.mkv", config).resumed
    assert np.array_equal(planes(tmp_path / "face.mkv"), expected)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_no_output_and_resumes(video, whole, tmp_path, number):
    config, _, expected = whole
    target = tmp_path / "face.mkv"
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    words = [
        sys.executable,
        "-m",
        "toolkit",
        "edit",
        str(video),
        str(target),
        "--config",
        str(tmp_path / "settings.json"),
    ]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)
    work = tmp_path / ".face.mkv.edit"
    deadline = time.monotonic() + 120
    while not list(work.glob("track-*/denoising-*/progress.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "interrupted: the same command resumes" in said and "Traceback" not in said
    assert not target.exists() and work.is_dir()
    assert edit_video(video, target, config).resumed
    assert np.array_equal(planes(target), expected)
    assert not work.exists()


def test_a_full_disk_is_one_sentence_and_the_same_command_resumes(video, whole, tmp_path, monkeypatch):
    config, _, expected = whole
    write, written = FrameStore.write, []

    def full(store, start, frames):
        written.append(start)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(store, start, frames)

    monkeypatch.setattr(FrameStore, "write", full)
    with pytest.raises(ToolkitError, match=r"No space left on device.*same command resumes"):
        edit_video(video, tmp_path / "face.mkv", config)
    monkeypatch.setattr(FrameStore, "write", write)
    assert edit_video(video, tmp_path / "face.mkv", config).resumed
    assert np.array_equal(planes(tmp_path / "face.mkv"), expected)


def test_a_failure_that_would_repeat_leaves_no_folder(video, settings, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise av.ArgumentError(22, "Invalid argument")

    target = tmp_path / "face.mkv"
    monkeypatch.setattr("toolkit.video.remux.publish", refuse)
    monkeypatch.setattr("toolkit.edit.video.check_target", lambda *_: plan_carrying(video, ".mkv"))
    with pytest.raises(InputError, match="would fail again") as raised:
        edit_video(video, target, settings())
    assert "disk" not in str(raised.value) and not list(tmp_path.iterdir())


def test_intermediate_files_go_to_the_chosen_folder(video, settings, tmp_path):
    (tmp_path / "work").mkdir()
    config = settings(work_dir=tmp_path / "work")
    with pytest.raises(StopError):
        edit_video(video, tmp_path / "face.mkv", config, StopAt("editing", 1))
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert list((tmp_path / "work").iterdir())
    edit_video(video, tmp_path / "face.mkv", config)
    assert not list((tmp_path / "work").iterdir())


def test_two_processes_do_not_write_one_output(video, settings, tmp_path):
    class Meanwhile(EditObserver):
        def phase(self, name, total, unit):
            if name == "editing":
                with pytest.raises(UsageError, match="another process"):
                    edit_video(video, tmp_path / "face.mkv", settings())

    edit_video(video, tmp_path / "face.mkv", settings(), Meanwhile())


# folders


@pytest.fixture
def folder(video, write_video, tmp_path):
    """A folder with a video of a face, another one below it, an empty room, and a file that is no video."""
    source = tmp_path / "videos"
    (source / "below").mkdir(parents=True)
    (source / "face.mp4").write_bytes(video.read_bytes())
    (source / "below" / "face.mp4").write_bytes(video.read_bytes())
    write_video(source / "room.mp4", np.full((8, 64, 96, 3), 90, np.uint8))
    (source / "broken.mp4").write_text("no video")
    return source


def test_a_folder_is_edited_and_a_failure_does_not_stop_the_others(folder, settings, tmp_path, capsys):
    target, config = tmp_path / "out", settings()
    report = edit_videos(folder, target, config)
    assert sorted(one.outcome for one in report.done) == ["edited", "edited", "no face"]
    ((broken, error),) = report.failed
    assert broken.name == "broken.mp4" and isinstance(error, InputError)
    made = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    names = ["below/face.mp4", "face.mp4", "room.mp4"]
    assert made == sorted([*names, *(f"{name}.json" for name in names)])
    stamps = {name: (target / name).stat().st_mtime_ns for name in names}
    (target / "face.mp4").unlink()
    again = edit_videos(folder, target, config)
    assert [one.outcome for one in again.done] == [one.outcome for one in report.done]
    assert {name: (target / name).stat().st_mtime_ns for name in names[::2]} == {
        name: stamps[name] for name in names[::2]
    }
    assert (target / "face.mp4").is_file()
    other = edit_videos(folder, target, settings(seed=3))
    assert (target / "below" / "face.mp4").stat().st_mtime_ns != stamps["below/face.mp4"] and len(other.done) == 3
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    words = ["edit", str(folder), str(target), "--config", str(tmp_path / "settings.json")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "2 videos edited, 1 copied, 1 failed" in said.out and "broken.mp4" in said.err


def test_videos_of_one_stem_and_of_any_kind_have_results_of_their_own(video, write_video, settings, tmp_path):
    source, target = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    room = write_video(tmp_path / "room.mp4", np.full((8, 64, 96, 3), 90, np.uint8))
    for name in ("same.flv", "same.wmv"):  # MP4 inside: FFmpeg goes by content
        (source / name).write_bytes(room.read_bytes())
    (source / "face.ts").write_bytes(video.read_bytes())
    config = settings(writing={"lossless": False})
    report = edit_videos(source, target, config)
    assert [one.outcome for one in report.done] == ["edited", "no face", "no face"] and not report.failed
    names = ["face.mp4", "same.flv", "same.wmv"]
    assert [one.target for one in report.done] == names
    assert sorted(path.name for path in target.iterdir()) == sorted([*names, *(f"{name}.json" for name in names)])
    assert all((target / name).read_bytes() == room.read_bytes() for name in names[1:])
    stamps = [path.stat().st_mtime_ns for path in sorted(target.iterdir())]
    assert len(edit_videos(source, target, config).done) == 3  # finished before
    assert [path.stat().st_mtime_ns for path in sorted(target.iterdir())] == stamps


def test_results_may_go_into_the_folder_above(folder, settings, tmp_path):
    (folder / "face.mp4").unlink()
    report = edit_videos(folder / "below", folder, settings())
    assert [one.outcome for one in report.done] == ["edited"] and (folder / "face.mp4").is_file()


def test_a_missing_comparison_is_written_again(video, settings, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "face.mp4").write_bytes(video.read_bytes())
    config = settings(writing={"compare": "side", "lossless": False})
    edit_videos(source, target, config)
    (target / "face.compare.mp4").unlink()
    edit_videos(source, target, config)
    assert (target / "face.compare.mp4").is_file()


def test_half_written_files_of_a_killed_run_are_removed(video, settings, tmp_path):
    mine = ("..out.staged.123.part.mkv", ".out.compare.123.part.mkv", "..out.trial.part.123.part.mkv")
    for name in (*mine, ".other.staged.1.part.mkv"):
        (tmp_path / name).write_bytes(b"half")
    edit_video(video, tmp_path / "out.mkv", settings())
    assert {path.name for path in tmp_path.iterdir()} == {"out.mkv", "out.mkv.json", ".other.staged.1.part.mkv"}


def test_impossible_folders_are_refused(folder, settings, tmp_path):
    with pytest.raises(UsageError, match="itself"):
        edit_videos(folder, folder, settings())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        edit_videos(folder, tmp_path / "file", settings())
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="no video"):
        edit_videos(tmp_path / "nothing", tmp_path / "out", settings())


def test_what_a_run_left_that_ended_before_its_last_step_is_removed(video, settings, tmp_path, monkeypatch):
    from toolkit.edit.workspace import Workspace

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "face.mp4").write_bytes(video.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "done", lambda self: None)
        edit_videos(tmp_path / "in", tmp_path / "out", settings())
    assert len(list((tmp_path / "out").iterdir())) == 3
    edit_videos(tmp_path / "in", tmp_path / "out", settings())
    assert len(list((tmp_path / "out").iterdir())) == 2
