"""Editing on a CUDA device in every number format; float32 gives the same pictures as on the CPU."""

import av
import numpy as np
import pytest

from toolkit.edit import edit_video

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def cuda():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def planes(path):
    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray() for frame in container.decode(video=0)], np.int16)


def test_float32_is_what_the_cpu_makes(video, settings, tmp_path):
    for device in ("cpu", "cuda"):
        config = settings(device=device, denoising={"dtype": "float32"})
        edit_video(video, tmp_path / f"{device}.mkv", config)
    difference = np.abs(planes(tmp_path / "cpu.mkv") - planes(tmp_path / "cuda.mkv"))
    assert np.percentile(difference, 99.9) <= 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_formats_come_near(video, settings, tmp_path, dtype):
    for name in ("float32", dtype):
        edit_video(video, tmp_path / f"{name}.mkv", settings(device="cuda", denoising={"dtype": name}))
    difference = np.abs(planes(tmp_path / "float32.mkv") - planes(tmp_path / f"{dtype}.mkv"))
    assert difference.mean() < 4
