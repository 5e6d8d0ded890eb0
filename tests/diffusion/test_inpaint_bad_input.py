import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DConditionModel

from toolkit.diffusion import VideoInpaintPipeline
from toolkit.errors import InputError, ToolkitError, UsageError


@pytest.fixture
def small(clip):
    return clip[0].copy(), clip[1].copy()


def torch_frames(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda f, m: (f, m[:4]),
            UsageError,
            r"expected masks of the frames' count and size, \[5, 48, 64\].*\[4, 48, 64\]",
        ),
        (lambda f, m: (f, m[:, :40]), UsageError, r"found \[5, 40, 64\]"),
        (lambda f, m: (f, m[..., None]), UsageError, r"found \[5, 48, 64, 1\]"),
        (lambda f, m: (f, m.astype(np.uint8) * 255), UsageError, r"floats in 0\.\.1, found ndarray uint8.*mask > 127"),
        (lambda f, m: (f, m.astype(np.float32) * 255), InputError, r"masks in 0\.\.1, found 0 to 255 in frame 0"),
        (lambda f, m: (f, np.where(m, np.nan, 0.0)), InputError, "NaN or infinity in frame 0 of the masks"),
        (lambda f, m: (f, None), UsageError, "masks as an array.*NoneType"),
        (lambda f, m: (f, m & False), InputError, "nothing to inpaint: the masks of all frames are empty"),
        (lambda f, m: (f, m * np.float32(0.4)), InputError, "nothing to inpaint"),
        (lambda f, m: (f, m | (np.arange(5) == 3)[:, None, None]), InputError, "the whole of frame 3"),
        (lambda f, m: (f[:0], m[:0]), InputError, r"nothing to inpaint: the clip has the shape \(0, 48, 64, 3\)"),
        (lambda f, m: ([], m), UsageError, "list of length 0"),
        (lambda f, m: (f[:, :44], m[:, :44]), UsageError, "multiples of 8 pixels.*found 64x44; .*64x40"),
        (lambda f, m: (f / 255, m), UsageError, "numpy array uint8.*found ndarray float64"),
        (lambda f, m: (f[0], m), UsageError, r"found ndarray uint8 \[48, 64, 3\]"),
        (lambda f, m: (f[..., :1], m), UsageError, r"\[5, 48, 64, 1\]"),
        (lambda f, m: (torch.from_numpy(f), m), UsageError, r"found Tensor torch.uint8 \[5, 48, 64, 3\]"),
        (lambda f, m: (torch_frames(f) * 255, m), InputError, r"frames in 0\.\.1, found 0 to 240"),
        (lambda f, m: (torch_frames(f) * 2 - 1, m), InputError, r"frames in 0\.\.1, found -1 to"),
        (lambda f, m: (torch_frames(f).log2() - torch.inf, m), InputError, "frame 0 of the frames"),
        (lambda f, m: (torch_frames(f).index_fill(0, torch.tensor([2]), torch.nan), m), InputError, "NaN.*frame 2 of"),
        (
            lambda f, m: ([PIL.Image.fromarray(f[0]), PIL.Image.fromarray(f[1][:40])], m[:2]),
            UsageError,
            "one size, found 64x40, 64x48",
        ),
    ],
)
def test_frames_and_masks_that_do_not_fit(pipeline, small, change, error, message):
    with pytest.raises(error, match=message):
        pipeline(*change(*small))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_inference_steps": 0}, "at least 1 inference step"),
        ({"num_inference_steps": 1001}, "DDIMScheduler cannot be run in 1001 steps"),
        ({"num_inference_steps": 1000}, "beyond the 1000 timesteps of the model; use at most 500"),
        ({"strength": 0}, "above 0 and up to 1"),
        ({"strength": 1.5}, "above 0 and up to 1"),
        ({"strength": 0.1, "num_inference_steps": 5}, "runs none of 5 steps"),
        ({"blend_ratio": 1.2}, r"0\.\.1 or None"),
        ({"blend_ratio": -0.1}, r"0\.\.1 or None"),
        ({"shared_noise": "yes"}, "'inversion', 'seed' or None"),
        ({"inversion_steps": 0}, "1 to 500 inversion steps"),
        ({"reference_frames": "last"}, r"first\+middle"),
        ({"reference_frames": "0,5"}, "frame 5 does not exist in a clip of 5"),
        ({"frame_batch_size": 0}, "frame_batch_size of at least 1"),
        ({"output_type": "tensor"}, "np, pil, pt, uint8, latent"),
        ({"callback_on_step_end": print, "callback_on_step_end_tensor_inputs": ["noise"]}, "not noise"),
        ({"latents": torch.zeros(2, 4, 6, 8)}, r"expected latents \[5, 4, 6, 8\] or \[1, 4, 6, 8\]"),
        ({"latents": torch.zeros(5, 4, 8, 8)}, r"found \[5, 4, 8, 8\]"),
        ({"prompt": ["a", "b"], "negative_prompt": ["c", "d"]}, "one prompt for the clip"),
        ({"prompt_embeds": torch.zeros(5, 77, 32)}, "one embedded prompt for the clip"),
    ],
)
def test_settings_out_of_range(pipeline, clip, setting, message):
    with pytest.raises(UsageError, match=message):
        pipeline(*clip, **{"num_inference_steps": 4, **setting})


def test_a_unet_made_for_inpainting_is_refused(parts, clip):
    config = {**parts["unet"].config, "in_channels": 9}
    pipeline = VideoInpaintPipeline(**{**parts, "unet": UNet2DConditionModel.from_config(config)})
    with pytest.raises(UsageError, match=r"expected a UNet with 4 input channels.*found 9"):
        pipeline(*clip)


def test_a_scheduler_of_flow_matching_is_refused(parts, clip):
    pipeline = VideoInpaintPipeline(**{**parts, "scheduler": FlowMatchEulerDiscreteScheduler()})
    with pytest.raises(UsageError, match="such as DDIMScheduler, found FlowMatchEulerDiscreteScheduler"):
        pipeline(*clip)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 34359738368 bytes."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError("Unable to allocate 4 GiB for an array"),
    ],
)
def test_out_of_memory_says_what_to_lower_and_leaves_the_models_as_they_were(pipeline, clip, monkeypatch, error):
    before = pipeline.unet.attn_processors

    def forward(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.unet, "forward", forward)
        with pytest.raises(ToolkitError, match="64x48 pixels, 3 at a time; lower frame_batch_size or the resolution"):
            pipeline(*clip, num_inference_steps=2, frame_batch_size=3, shared_noise="seed")
    assert pipeline.unet.attn_processors == before
    assert np.isfinite(pipeline(*clip, num_inference_steps=2).frames).all()


def test_a_real_failed_allocation(pipeline, clip, monkeypatch):
    monkeypatch.setattr(pipeline.unet, "forward", lambda *args, **kwargs: torch.empty(1 << 60))
    with pytest.raises(ToolkitError, match="not enough memory"):
        pipeline(*clip, num_inference_steps=2)


@pytest.mark.parametrize(("part", "message"), [("unet", "denoising UNet returned NaN"), ("vae", "VAE returned NaN")])
def test_models_that_return_nan_are_named(pipeline, clip, monkeypatch, part, message):
    if part == "unet":
        monkeypatch.setattr(pipeline.unet, "forward", lambda sample, *args, **kwargs: (sample * torch.nan,))
    else:
        monkeypatch.setattr(pipeline.vae, "decode", lambda z, **kwargs: (torch.full((len(z), 3, 48, 64), torch.inf),))
    with pytest.raises(ToolkitError, match=f"{message}.*float32 or bfloat16"):
        pipeline(*clip, num_inference_steps=2, generator=torch.Generator().manual_seed(0))


def test_other_errors_of_the_models_stay_what_they_are(pipeline, clip, monkeypatch):
    monkeypatch.setattr(pipeline.unet, "forward", lambda *args, **kwargs: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size") as caught:
        pipeline(*clip, num_inference_steps=2)
    assert not isinstance(caught.value, ToolkitError)
