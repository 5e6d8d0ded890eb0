"""Edits on many cores: parts of a video in threads, videos of a folder in processes. The bytes do not depend on it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from toolkit.cli import main
from toolkit.edit import EditConfig, EditObserver, edit_video, edit_videos
from toolkit.edit.report import EditReport, saved_config
from toolkit.edit.session import Session
from toolkit.errors import InputError, ToolkitError

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module", autouse=True)
def frail(tmp_path_factory):
    """Makes the task `frail` known here and in child processes."""
    site = tmp_path_factory.mktemp("site")
    info = site / "frail-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: frail\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[toolkit.tasks]\nfrail = frail:Frail\n")
    folders = [str(site), str(PLUGIN)]
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
        yield
        sys.modules.pop("frail", None)


@pytest.fixture(scope="module")
def config(backbone, make_remover):
    values = {"denoising": {"num_inference_steps": 1}, "writing": {"lossless": True}}
    return EditConfig.model_validate(
        {"remover": [make_remover("frail")], "backbone": str(backbone), "device": "cpu", "seed": 3, **values}
    )


def with_workers(config, workers):
    return config.model_copy(update={"workers": workers})


@pytest.fixture(scope="module")
def folder(video, write_video, faces, tmp_path_factory):
    """A folder with videos of a face of several lengths, one that cannot be read, and two that fail in the middle."""
    source = tmp_path_factory.mktemp("videos")
    (source / "below").mkdir()
    shutil.copy(video, source / "below" / "face.mp4")
    write_video(source / "short.mp4", faces[:9])
    write_video(source / "one.mp4", faces[:1], sound=False)
    (source / "broken.mp4").write_text("no video")
    write_video(source / "dies.mp4", faces[:5])
    write_video(source / "raises.mp4", faces[:5])
    return source


NAMES = ["below/face.mp4", "broken.mp4", "dies.mp4", "one.mp4", "raises.mp4", "short.mp4"]


class Listener(EditObserver):
    """Keeps what it is told."""

    def __init__(self):
        self.items, self.told, self.bugs, self.finishes, self.percent, self.phases = [], [], [], [], [], []

    def item(self, name, number, count):
        assert count == len(NAMES)
        self.items.append((name, number))

    def phase(self, name, total, unit, done=0):
        self.phases.append((name, total, unit))

    def advance(self, done, **figures):
        self.percent.append(done)

    def failed(self, name, sentence):
        assert self.items[-1][0] == name  # what is said about a video comes together
        self.told.append((name, sentence))

    def bug(self, name, details):
        self.bugs.append((name, details))

    def finished(self, report, target):
        assert Path(self.items[-1][0]).name == report.source
        self.finishes.append(target)


@pytest.fixture(scope="module")
def alone(folder, config, tmp_path_factory):
    """The results of an edit without worker processes, of the videos that it can edit."""
    source, target = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("alone")
    shutil.copytree(folder, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("raises*"))
    report = edit_videos(source, target, with_workers(config, 1))
    assert [error[0].name for error in report.failed] == ["broken.mp4"]
    return target


def videos_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp4")}


@pytest.fixture(scope="module")
def crowd(folder, config, tmp_path_factory):
    """The target, the report and the listener of an edit with two workers."""
    target, listener = tmp_path_factory.mktemp("crowd"), Listener()
    return target, edit_videos(folder, target, with_workers(config, 2), listener), listener


def test_workers_give_the_same_bytes(crowd, alone):
    expected = videos_in(alone)
    del expected["dies.mp4"]
    assert videos_in(crowd[0]) == expected
    for name in expected:
        one, other = (EditReport.model_validate_json((root / f"{name}.json").read_text()) for root in (crowd[0], alone))
        assert one.fingerprint == other.fingerprint
        assert [frame.faces for frame in one.frames] == [frame.faces for frame in other.frames]


def test_a_failure_fails_its_video_alone_and_reports_stay_in_order(crowd, folder):
    _, report, listener = crowd
    assert [one.source for one in report.done] == ["face.mp4", "one.mp4", "short.mp4"]
    assert [one.outcome for one in report.done] == ["edited"] * 3
    failed = {path.relative_to(folder).as_posix(): error for path, error in report.failed}
    assert list(failed) == ["broken.mp4", "dies.mp4", "raises.mp4"]
    assert "its worker process was ended by SIGKILL; if memory ran out, use fewer workers" in str(failed["dies.mp4"])
    assert isinstance(failed["raises.mp4"], Exception) and "ZeroDivisionError: a bug in the plugin" in str(
        failed["raises.mp4"]
    )
    assert dict(listener.told) == {str(path): str(error) for path, error in report.failed}


def test_each_video_is_announced_once_with_its_place(crowd, folder):
    listener = crowd[2]
    assert sorted(listener.items, key=lambda item: item[1]) == [
        (str(folder / name), number) for number, name in enumerate(NAMES, 1)
    ]


def test_one_bar_shows_the_whole_folder(crowd):
    listener = crowd[2]
    assert listener.phases == [("editing 6 videos, 2 at once", 100, "%")]
    assert listener.percent[-1] == 100 and listener.percent == sorted(listener.percent)
    assert len(set(listener.percent)) > 5


def test_a_repeated_command_edits_only_what_failed(crowd, folder, config, alone):
    """The video whose worker died is finished, from where it was, by a run without workers."""
    target, _, _ = crowd
    stamps = {name: (target / name).stat().st_mtime_ns for name in ("one.mp4", "short.mp4", "below/face.mp4")}
    work = target / ".dies.mp4.edit"
    assert work.is_dir()
    source = folder.parent / "again"
    shutil.copytree(folder, source, ignore=shutil.ignore_patterns("raises*", "broken*"), dirs_exist_ok=True)
    report = edit_videos(source, target, with_workers(config, 1))
    assert not report.failed and [one.resumed for one in report.done if one.source == "dies.mp4"] == [True]
    assert videos_in(target) == videos_in(alone)
    assert {name: (target / name).stat().st_mtime_ns for name in stamps} == stamps
    assert not work.exists()


def test_ctrl_c_leaves_no_process_and_the_same_command_resumes(folder, config, alone, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("slow.mp4", "slow too.mp4"):
        shutil.copy(folder / "short.mp4", source / name)
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    words = [sys.executable, "-m", "toolkit", "edit", str(source), str(target), "--workers", "2"]
    words += ["--config", str(tmp_path / "settings.json")]
    environment = {**os.environ, "FRAIL_SLEEP": "600"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, env=environment, **pipes) as process:
        deadline = time.monotonic() + 300
        while len(list(target.glob(".*.edit/track-0/cropped"))) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]  # workers hold the pipes too, so these end when the last of them has
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted: the same command resumes" and "Traceback" not in said
    assert not list(target.glob("*.mp4"))
    report = edit_videos(source, target, with_workers(config, 1))
    assert [one.resumed for one in report.done] == [True, True]
    assert len({path.read_bytes() for path in target.glob("*.mp4")}) == 1
    assert [path.name for path in target.glob(".*")] == []


# one video


@pytest.fixture(scope="module")
def long(write_video, faces, tmp_path_factory):
    """A video of three parts; the face is there from the first frame to the last."""
    frames = [faces[min(k % 46, 45 - k % 46)] for k in range(80)]
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames)


@pytest.fixture(scope="module")
def light(config):
    """Settings with which frames are edited alone, so that a track has parts."""
    return EditConfig.model_validate(config.model_dump() | {"motion": {"motion_layers": "none"}})


@pytest.fixture(scope="module")
def expected(long, light, tmp_path_factory):
    target = tmp_path_factory.mktemp("expected") / "out.mp4"
    edit_video(long, target, with_workers(light, 1))
    return target.read_bytes()


@pytest.mark.parametrize("workers", [2, 7])
def test_threads_give_the_same_bytes(workers, long, light, expected, tmp_path):
    torch.set_num_threads(2)  # which must not matter
    before = threading.active_count()
    report = edit_video(long, tmp_path / "out.mp4", with_workers(light, workers))
    assert torch.get_num_threads() == 2 and threading.active_count() <= before
    torch.set_num_threads(1)
    assert (tmp_path / "out.mp4").read_bytes() == expected
    assert report.counts["edited"] == 80


class StopError(Exception):
    pass


class StopAfter(EditObserver):
    """Dies once so many windows are edited; all calls come from one thread."""

    def __init__(self, windows):
        self._windows, self._phase, self._thread = windows, "", threading.get_ident()

    def phase(self, name, total, unit, done=0):
        self._phase = name

    def advance(self, done, **figures):
        assert threading.get_ident() == self._thread
        if self._phase == "editing" and done >= self._windows:
            raise StopError


@pytest.mark.parametrize("windows", [1, 4])
def test_a_stopped_edit_resumes_with_another_number_of_threads(windows, long, light, expected, tmp_path):
    with pytest.raises(StopError):
        edit_video(long, tmp_path / "out.mp4", with_workers(light, 3), StopAfter(windows))
    assert not [thread for thread in threading.enumerate() if thread.name == "toolkit-part"]
    assert edit_video(long, tmp_path / "out.mp4", with_workers(light, 2)).resumed
    assert (tmp_path / "out.mp4").read_bytes() == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_thread_is_the_error_of_the_edit(workers, long, light, tmp_path):
    source = tmp_path / "raises.mp4"
    shutil.copy(long, source)
    with pytest.raises(ZeroDivisionError, match="a bug in the plugin"):
        edit_video(source, tmp_path / "out.mp4", with_workers(light, workers))
    assert not [thread for thread in threading.enumerate() if thread.name == "toolkit-part"]


def test_memory_that_runs_out_in_a_thread_is_one_sentence(long, light, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("toolkit.diffusion.edit_pipeline.VideoEditPipeline.stream", full)
    with pytest.raises(ToolkitError, match="the memory of cpu is full"):
        edit_video(long, tmp_path / "out.mp4", with_workers(light, 3))


def test_networks_that_cannot_be_loaded_say_so(video, light, tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("the weights are damaged")

    monkeypatch.setattr("toolkit.edit.pipelines.load_controlnet", refuse)
    with pytest.raises(InputError, match="the weights are damaged"):
        edit_video(video, tmp_path / "out.mp4", light)


# settings


def test_the_number_of_workers_is_no_part_of_a_result(config):
    one, many = Session(with_workers(config, 1)), Session(with_workers(config, 5))
    assert (one.workers, many.workers) == (1, 5)
    assert one.fingerprint("0" * 64) == many.fingerprint("0" * 64)
    assert "workers" not in saved_config(with_workers(config, 5))
    assert Session(with_workers(config, 5), workers=2).workers == 2


def test_unset_workers_are_the_cores_only_where_that_pays(config, light, monkeypatch):
    monkeypatch.setattr("toolkit.edit.session.available_cores", lambda: 7)
    assert Session(light).workers == 7
    moving, slow = {"motion": {"motion_layers": "paper"}}, {"denoising": {"num_inference_steps": 2}}
    for changes in (moving, slow):
        assert Session(EditConfig.model_validate(light.model_dump() | changes)).workers == 1


def test_a_crew_shares_models_and_nothing_else(config):
    session = Session(with_workers(config, 3))
    assert session.crew[0] is session and len(session.crew) == 3
    pipelines = [member.pipelines.with_remover(0) for member in session.crew]
    for name in ("unet", "vae", "controlnet"):
        assert len({id(getattr(pipeline, name)) for pipeline in pipelines}) == 1
    assert len({id(pipeline.scheduler) for pipeline in pipelines}) == 3
    assert len({id(member.maskers[0]) for member in session.crew}) == 3


def test_workers_must_be_positive(folder, config, tmp_path, capsys):
    words = ["edit", str(folder), str(tmp_path / "out"), "--remover", str(config.remover[0])]
    assert main([*words, "--workers", "0"]) == 2
    assert "workers" in capsys.readouterr().err
