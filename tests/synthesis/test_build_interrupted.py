"""Builds in processes of their own: killed, stopped, out of space, with one worker and with several."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from toolkit.cli import main
from toolkit.dataset.check import check_dataset
from toolkit.synthesis.report import BuildObserver

TOOLKIT = [sys.executable, "-m", "toolkit"]


def toolkit(words, **changes):
    return subprocess.run([*TOOLKIT, *words], capture_output=True, text=True, timeout=600, **changes)


class Listener(BuildObserver):
    finished = built = 0

    def note(self, sentence):
        self.finished = int(re.match(r"resuming: (\d+) of 7 shards finished, with \d+ clips?", sentence)[1])

    def shard_finished(self, shard):
        self.built += 1


def finished_shards(output):
    return len(list(output.glob(".build/shards/*.json")))


@contextlib.contextmanager
def slow_build(words, shards, output):
    """A build that is slowed down, once so many of its shards are finished."""
    environment = {**os.environ, "DOTTY_SLEEP": "0.4"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*TOOLKIT, *words], text=True, env=environment, **pipes) as process:
        try:
            deadline = time.monotonic() + 300  # a busy machine takes long to start the workers
            while finished_shards(output) < shards:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "the build does not get on"
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("format, shards", [("imagefolder", 1), ("webdataset", 3)])
def test_killed_it_ends_with_the_same_bytes(format, shards, flags, videos, build, built, tree, tmp_path):
    """SIGKILL in the middle of a shard; finished ones stay, and the run that follows has other workers."""
    whole, output = built, tmp_path / "killed"
    if format != "imagefolder":
        whole = tmp_path / "whole"
        build(videos, whole, format=format)
    with slow_build(flags(videos, output, workers=2, format=format), shards, output) as process:
        process.kill()
        process.communicate(timeout=120)  # workers hold the pipes too, so these end when the last of them has
    kept = finished_shards(output)
    assert shards <= kept < 7
    assert not (output / "manifest.json").exists()
    assert tree(output) != tree(whole)
    listener = Listener()
    build(videos, output, listener, format=format)
    assert (listener.finished, listener.built) == (kept, 7 - kept)
    assert tree(output) == tree(whole)


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_workers_and_keeps_finished_shards(signal_, flags, videos, tmp_path):
    output = tmp_path / "d"
    with slow_build(flags(videos, output, workers=1), 1, output) as process:
        process.send_signal(signal_)
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert errors == "interrupted: the same command resumes\n"
    assert finished_shards(output) >= 1


def test_workers_make_no_difference_and_no_noise(flags, videos, built, tree, tmp_path):
    """The same bytes from one worker and from three as from this process, and nothing but our words on stderr."""
    for workers in (1, 3):
        output = tmp_path / f"by {workers}"
        ended = toolkit(flags(videos, output, workers=workers))
        assert ended.returncode == 0, ended.stderr
        assert tree(output) == tree(built)
        # A slow machine also prints progress.
        assert [line for line in ended.stderr.splitlines() if not line.startswith("building: ")] == []
        assert ended.stdout.splitlines()[0] == "60 pairs in 8 clips from 3 of 3 videos"
        assert f"dataset: {output}" in ended.stdout
        assert f"preview: {output / 'preview.png'}" in ended.stdout


def test_a_dying_worker_fails_its_source_alone(flags, videos, short_video, tree, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(short_video, folder)
    shutil.copy(videos / "c.mp4", folder / "bad.mp4")
    words = [*flags(folder, tmp_path / "d", workers=2), "--task-option", "fault=die"]
    ended = toolkit(words)
    assert ended.returncode == 1
    assert (
        "failed: bad.mp4: its worker process was ended by SIGKILL; if memory ran out, use fewer workers" in ended.stderr
    )
    assert "native last words" in ended.stderr
    assert "8 pairs in 1 clip from 1 of 2 videos" in ended.stdout
    assert check_dataset(tmp_path / "d").ok
    before = tree(tmp_path / "d")
    allowed = toolkit([*words, "--allow-failures"])
    assert allowed.returncode == 0
    assert tree(tmp_path / "d") == before


def test_exit_codes(flags, videos, built, tmp_path, capsys):
    assert main(flags(tmp_path / "gone", tmp_path / "d")) == 1
    capsys.readouterr()
    assert main(flags(videos, built, seed=5)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: the output ") and shown.count("\n") == 1
    assert main([*flags(videos, tmp_path / "d"), "--task-option", "sizes=3"]) == 2
    assert "did you mean --task-option dotty.size" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_full_disk_stops_with_a_sentence(flags, videos, build, tree, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        output = disk / "d"
        words = flags(videos, output, resolution=128)
        ended = toolkit(words)
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1] == (
            f"error: no space is left for the dataset {output} (No space left on device); "
            "free some and run the same command again: finished shards are kept"
        )
        shards = finished_shards(output)
        assert 1 <= shards < 7
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        listener = Listener()
        build(videos, output, listener, resolution=128)
        assert listener.finished == shards
        build(videos, tmp_path / "whole", resolution=128)
        assert tree(output) == tree(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_size_limit_stops_with_a_sentence(flags, videos, build, tmp_path):
    """A limit needs no rights, and hits a tar file as a full disk would."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    output = tmp_path / "d"
    ended = toolkit(flags(videos, output, format="webdataset", resolution=256), preexec_fn=limit)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        f"error: no space is left for the dataset {output} (File too large)"
    )
    assert not (output / "manifest.json").exists()
    assert build(videos, output, format="webdataset", resolution=256).manifest.pairs == 60
