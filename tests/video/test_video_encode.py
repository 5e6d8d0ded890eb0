"""Written videos can be read back, and a failed write leaves the folder as it was."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.video import VideoWriter, probe, read_frames


def write(path, frames, **options):
    with VideoWriter(path, **{"fps": 25, **options}) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_colours_survive_and_are_tagged(tmp_path, suffix):
    colours = np.array([[220, 30, 40], [30, 200, 50], [40, 50, 210], [255, 255, 255], [0, 0, 0], [90, 120, 60]])
    image = np.repeat(np.repeat(colours[None], 64, 0), 16, 1).astype(np.uint8)
    path = write(tmp_path / f"a{suffix}", [image] * 3, crf=5)
    for frame in read_frames(path):
        assert np.abs(frame.image[32, 8::16].astype(int) - colours).max() <= 4
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"


def test_lossless_keeps_every_value(tmp_path, picture):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (33, 47, 3), dtype=np.uint8) for _ in range(4)]
    read = list(read_frames(write(tmp_path / "a.mkv", frames, lossless=True)))
    assert all(np.array_equal(frame.image, expected) for frame, expected in zip(read, frames, strict=True))


@pytest.mark.parametrize("size, written", [((97, 61), (98, 62)), ((96, 61), (96, 62)), ((33, 1), (34, 2))])
def test_odd_sizes_repeat_the_edge(tmp_path, picture, size, written):
    path = write(tmp_path / "a.mp4", [picture(*size)] * 2, crf=5)
    image = next(read_frames(path)).image
    assert image.shape == (written[1], written[0], 3)
    assert np.abs(image[: size[1], : size[0]].astype(int) - picture(*size)).mean() < 6


@pytest.mark.parametrize("fps", [25, 30000 / 1001, 24000 / 1001, 12.5])
def test_frame_rate(tmp_path, picture, fps):
    path = write(tmp_path / "a.mp4", [picture(64, 48, t) for t in range(30)], fps=fps)
    info = probe(path)
    assert info.fps == pytest.approx(fps, rel=1e-4) and info.frame_count == 30 and not info.variable_frame_rate


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_same_frames_same_bytes(tmp_path, picture, suffix):
    frames = [picture(64, 48, t) for t in range(8)]
    first, second = write(tmp_path / f"a{suffix}", frames), write(tmp_path / f"b{suffix}", frames)
    assert first.read_bytes() == second.read_bytes()


def test_bytes_do_not_depend_on_earlier_memory_content(tmp_path):
    script = (
        "import sys, numpy as np; from toolkit.video import VideoWriter\n"
        "y, x = np.mgrid[:192, :320]\n"
        "with VideoWriter(sys.argv[1], 25) as writer:\n"
        "    for t in range(8): writer.write(np.stack([x * 3 + t * 5, y * 4 + t * 7, x + y], -1).astype(np.uint8))\n"
    )
    found = set()
    for number, filler in enumerate(("0", "85", "165")):  # glibc fills what it hands out with it
        path = tmp_path / f"{number}.mp4"
        environment = os.environ | {"MALLOC_PERTURB_": filler}
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)
        found.add(path.read_bytes())
    assert len(found) == 1


def test_an_error_keeps_the_earlier_file(tmp_path, picture):
    path = tmp_path / "a.mp4"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, 25) as writer:
        writer.write(picture(64, 48))
        raise RuntimeError("stop")
    with pytest.raises(ValueError, match="like the first"), VideoWriter(path, 25) as writer:
        writer.write(picture(64, 48))
        writer.write(picture(64, 50))
    with pytest.raises(UsageError, match="at least one frame"), VideoWriter(path, 25):
        pass
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import resource, sys
import numpy as np
from toolkit.errors import ToolkitError
from toolkit.video import VideoWriter
# A limit on the file's size fails like a full disk: in the middle of a write.
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 25) as writer:
        for _ in range(int(sys.argv[2])):
            writer.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
except ToolkitError as error:
    print(error)
"""


@pytest.mark.parametrize("frames", [3, 60])
def test_a_full_disk_is_one_sentence(tmp_path, frames):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.mp4"), str(frames)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.startswith("expected to write") and "check the disk's free space" in out and out.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name, options", [("a.gif", {}), ("a.mp4", {"lossless": True}), ("a.mp4", {"fps": 0})])
def test_wrong_requests(tmp_path, name, options):
    with pytest.raises(UsageError, match="expected"):
        VideoWriter(tmp_path / name, **{"fps": 25, **options})
    with pytest.raises(UsageError, match="folder"):
        VideoWriter(tmp_path / "none" / "a.mp4", 25)
