"""The tutorial's code does what the tutorial says."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from toolkit.testing.sample import sample_clip

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warpaint")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        yield folder
        sys.modules.pop("warpaint", None)


def test_the_files_are_there_and_the_attribute_is_short():
    assert set(FILES) == {"warpaint.py", "pyproject.toml", "test_warpaint.py"}
    assert len([line for line in FILES["warpaint.py"].splitlines() if line.strip()]) < 60


def test_the_entry_point_is_the_task(folder):
    project = tomllib.loads(FILES["pyproject.toml"])
    ((name, value),) = project["project"]["entry-points"]["toolkit.tasks"].items()
    module, attribute = value.split(":")
    assert project["tool"]["setuptools"]["py-modules"] == [module]
    assert getattr(importlib.import_module(module), attribute).name == name


def test_the_tutorials_own_test_passes(folder):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder / "test_warpaint.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_paints_cheeks_of_a_real_face(folder):
    task = importlib.import_module("warpaint").WarpaintTask()
    clip = sample_clip(8, 256)
    pairs = list(task.pair_generator()(clip, np.random.default_rng(0), None))
    assert [pair.index for pair in pairs] == list(range(len(clip)))
    for pair in pairs:
        rows, columns = np.nonzero(pair.mask)
        points = clip.landmarks[pair.index]
        assert points[159, 1] < rows.mean() < points[17, 1], "between the eyes and the lower lip"
        assert points[234, 0] < columns.min() and columns.max() < points[454, 0], "on the face"
        assert np.array_equal(pair.image[~pair.mask], pair.conditioning_image[~pair.mask])
