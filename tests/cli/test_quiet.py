"""The terminal during an edit and a build: only the toolkit's own lines, unless the user asks for more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.testing import tiny_backbone, tiny_remover
from toolkit.testing.sample import write_sample_video

ROOT = Path(__file__).resolve().parents[2]

OWN = re.compile(r"[a-z][a-z ]+: \d+ of \d+ [a-z]+.*|(warning|error): .*")
"""Lines of progress, warnings and errors; a trace of another writer begins otherwise."""

NATIVE = re.compile(r"[IWEF]\d{4} \d\d:\d\d.*|INFO: Created TensorFlow Lite.*|WARNING: All log messages before absl.*")

CODE = "import sys\nfrom toolkit.cli import main\nfor words in {}:\n    assert main(words) == 0, words"


@pytest.fixture(scope="module")
def stderr(tmp_path_factory):
    """A function: the lines on stderr of one process that builds a dataset, with its workers, and edits a video."""
    folder = tmp_path_factory.mktemp("quiet")
    video = write_sample_video(folder / "face.mp4", frames=8, size=192)
    backbone = tiny_backbone(folder / "backbone", text=False, vae="tiny")
    remover = tiny_remover(folder / "remover", backbone, ("stickers",), 64, 0)
    build = ["build-dataset", "--task", "stickers", "--videos", video, "--resolution", "64", "--clip-length", "8"]
    options = ["--remover", remover, "--backbone", backbone, "--device", "cpu", "--num-inference-steps", "2"]
    options += ["--task-option", "stickers.masker=skin"]  # the sample face is bare

    def run(*flags):
        output = folder / f"run{''.join(flags)}"
        edit = ["edit", video, output.with_suffix(".mp4"), *options]
        commands = [[*map(str, words), *flags] for words in ([*build, "--output", output], edit)]
        environment = {
            key: value for key, value in os.environ.items() if key not in ("TOOLKIT_VERBOSE", "PYTHONWARNINGS")
        }
        ended = subprocess.run(
            [sys.executable, "-c", CODE.format(commands)],
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPATH": str(ROOT)},
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stderr.splitlines()

    return run


def test_a_run_says_nothing_but_its_own(stderr):
    assert [line for line in stderr() if not OWN.fullmatch(line)] == []


def test_verbose_shows_the_libraries(stderr):
    lines = stderr("--verbose")
    assert sum(bool(NATIVE.match(line)) for line in lines) > 2
    # One in the worker that looks for faces, one in the process that edits.
    assert sum(line.startswith("INFO: Created TensorFlow Lite") for line in lines) >= 2
