"""A tiny backbone of real models, shared by all tests, and pipelines created from it."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoInpaintPipeline
from toolkit.testing.tiny_backbone import tiny_backbone


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone")


@pytest.fixture(scope="session")
def session_parts(backbone_folder):
    backbone = load(backbone_folder, compute=ComputeDevice("cpu", "float32", channels_last=False))
    parts = VideoInpaintPipeline.from_backbone(backbone).components
    with torch.no_grad():  # so that the hint matters as much as the sample
        parts["controlnet"].controlnet_cond_embedding.conv_out.weight.mul_(100)
        parts["controlnet"].controlnet_mid_block.weight.mul_(10)
    return parts


@pytest.fixture
def parts(session_parts):
    """All tests share the models, but not the scheduler, because it has a state."""
    return {**session_parts, "scheduler": DDIMScheduler.from_config(session_parts["scheduler"].config)}


@pytest.fixture
def pipeline(parts):
    pipeline = VideoInpaintPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def unet(parts):
    return parts["unet"]


@pytest.fixture(scope="session")
def clip():
    """Five frames of 64x48 pixels with a bright disc moving over a gradient, and a mask around the disc."""
    y, x = np.mgrid[:48, :64]
    frames, masks = [], []
    for t in range(5):
        distance = np.hypot(x - 20 - 5 * t, y - 24)
        frame = np.stack([x * 3, y * 4, np.full_like(x, 90 + 10 * t)], axis=-1)
        frames.append(np.where((distance < 8)[..., None], 240, frame))
        masks.append(distance < 11)
    return np.stack(frames).astype(np.uint8), np.stack(masks)


@pytest.fixture
def seeded():
    return lambda seed=0: torch.Generator("cpu").manual_seed(seed)


@pytest.fixture(autouse=True)
def one_thread():
    """One thread, because layers this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
