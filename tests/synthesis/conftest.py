"""A tiny task in a distribution of its own, short videos with a face, and builds in this process."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from toolkit.executor import InlineExecutor
from toolkit.synthesis.build import build_dataset
from toolkit.synthesis.config import BuildConfig

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="session", autouse=True)
def plugin(tmp_path_factory):
    """Makes the task `dotty` known here and in child processes; gives the PYTHONPATH."""
    site = tmp_path_factory.mktemp("site")
    info = site / "dotty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dotty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[toolkit.tasks]\ndotty = dotty:Dotty\n")
    folders = [str(site), str(PLUGIN)]
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        yield
        sys.modules.pop("dotty", None)


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A folder with three videos of a face: 24, 20 and 16 frames of 256x256."""
    from toolkit.testing.sample import write_sample_video

    folder = tmp_path_factory.mktemp("videos")
    for name, frames in (("a", 24), ("b", 20), ("c", 16)):
        write_sample_video(folder / f"{name}.mp4", frames=frames, size=256)
    return folder


@pytest.fixture(scope="session")
def short_video(tmp_path_factory):
    """A video of a face with 8 frames: one clip."""
    from toolkit.testing.sample import write_sample_video

    return write_sample_video(tmp_path_factory.mktemp("short") / "good.mp4", frames=8, size=256)


@pytest.fixture(scope="session")
def grey(tmp_path_factory):
    """A function that writes a video of plain grey frames."""
    import numpy as np

    from toolkit.video import VideoWriter

    def write(path, frames=10, size=64):
        with VideoWriter(path, fps=25) as writer:
            for index in range(frames):
                writer.write(np.full((size, size, 3), 90 + index, np.uint8))
        return path

    return write


@pytest.fixture(scope="session")
def settings():
    """Settings of a small build."""
    return {
        "task": "dotty",
        "resolution": 64,
        "clip_length": 8,
        "min_clip_length": 4,
        "segment_frames": 8,
        "validation_fraction": 0.34,
        "workers": 1,
    }


@pytest.fixture(scope="session")
def build(settings):
    """A function that builds in this process and returns the report."""

    def run(videos, output, observer=None, **changes):
        videos = [videos] if isinstance(videos, Path) else videos
        config = BuildConfig(**settings | {"videos": videos, "output": output} | changes)
        return build_dataset(config, observer, InlineExecutor())

    return run


@pytest.fixture(scope="session")
def built(build, videos, tmp_path_factory):
    """A finished dataset of the three videos."""
    output = tmp_path_factory.mktemp("built") / "dataset"
    build(videos, output)
    return output


@pytest.fixture(scope="session")
def tree():
    """A function that gives path and sha256 of every file under a folder, and the folders."""

    def read(root):
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            for path in sorted(root.rglob("*"))
        }

    return read


@pytest.fixture(scope="session")
def flags(settings):
    """Words of a command line for `settings` and changes to them."""

    def words(videos, output, **changes):
        values = settings | {"videos": videos, "output": output} | changes
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
        return ["build-dataset", *(word for pair in pairs for word in pair)]

    return words
