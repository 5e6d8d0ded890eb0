"""The pipeline's diffusers interface: inputs, outputs, saving, callbacks, other models."""

import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.callbacks import PipelineCallback

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoInpaintPipeline
from toolkit.errors import UsageError
from toolkit.testing.tiny_backbone import tiny_backbone

FAST = {"num_inference_steps": 2, "prompt": "a face"}


@pytest.mark.filterwarnings("error")
def test_all_input_types_are_equivalent(pipeline, clip, seeded):
    frames, masks = clip
    read_only, read_only_masks = frames.copy(), masks.copy()
    read_only.flags.writeable = read_only_masks.flags.writeable = False
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    pictures = [PIL.Image.fromarray(frame) for frame in frames]
    results = [
        pipeline(form, mask, generator=seeded(), **FAST).frames
        for form, mask in (
            (frames, masks),
            (read_only, read_only_masks),
            (tensor, torch.from_numpy(masks)),
            (tensor.double(), torch.from_numpy(masks).to(torch.bfloat16)),
            (pictures, masks.astype(np.float64)),
            (frames[:, :, ::-1].copy()[:, :, ::-1], masks[:, ::-1].copy()[:, ::-1]),
        )
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=1e-5)


def test_all_output_types(pipeline, clip, seeded):
    def run(output_type, **more):
        return pipeline(*clip, generator=seeded(), output_type=output_type, **FAST, **more)

    floats = run("np").frames
    assert floats.shape == (5, 48, 64, 3) and floats.dtype == np.float32 and 0 <= floats.min() <= floats.max() <= 1
    whole = run("uint8").frames
    assert whole.dtype == np.uint8 and np.abs(whole / 255 - floats).max() <= 0.5 / 255 + 1e-6
    tensor = run("pt").frames
    assert tensor.dtype == torch.float32 and np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), floats)
    pictures = run("pil").frames
    assert all(isinstance(picture, PIL.Image.Image) for picture in pictures)
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), whole)
    latents = run("latent").frames
    assert latents.shape == (5, 4, 6, 8)
    assert np.array_equal(run("np", return_dict=False)[0], floats) and len(run("np", return_dict=False)) == 1


@pytest.mark.parametrize("output_type", ["np", "uint8", "pt", "pil"])
def test_a_frame_without_mask_is_returned_unchanged(pipeline, clip, seeded, output_type):
    frames, masks = clip[0], clip[1].copy()
    masks[1] = masks[4] = False
    output = pipeline(frames, masks, generator=seeded(), output_type=output_type, frame_batch_size=2, **FAST).frames
    output = np.stack([np.asarray(frame) for frame in output]) if output_type == "pil" else np.asarray(output)
    output = output.transpose(0, 2, 3, 1) if output_type == "pt" else output
    expected = frames if output.dtype == np.uint8 else frames.astype(np.float32) / 255
    assert np.array_equal(output[[1, 4]], expected[[1, 4]])
    assert all(np.abs(output[t].astype(float) - expected[t]).max() > 0.01 for t in (0, 2, 3))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("references", ["first+middle", "uniform:4"])
def test_fewer_frames_than_references(pipeline, clip, seeded, count, references):
    frames, masks = (part[:count] for part in clip)
    output = pipeline(frames, masks, generator=seeded(), reference_frames=references, **FAST).frames
    assert output.shape == (count, 48, 64, 3) and np.isfinite(output).all()
    if count == 1:
        alone = pipeline(frames, masks, generator=seeded(), reference_frames=None, **FAST).frames
        np.testing.assert_allclose(output, alone, atol=1e-5)


def test_the_input_is_not_changed_and_the_same_seed_gives_the_same(pipeline, clip, seeded):
    frames, masks = clip[0].copy(), clip[1].copy()
    first = pipeline(frames, masks, generator=seeded(7), **FAST).frames
    assert np.array_equal(frames, clip[0]) and np.array_equal(masks, clip[1])
    assert np.array_equal(first, pipeline(frames, masks, generator=seeded(7), **FAST).frames)
    assert not np.array_equal(first, pipeline(frames, masks, generator=seeded(8), **FAST).frames)


def test_callbacks_can_replace_tensors_and_stop_the_run(pipeline, clip, seeded):
    steps = []

    def zero(pipe, step, timestep, tensors):
        steps.append((step, int(timestep), sorted(tensors)))
        return {"latents": torch.zeros_like(tensors["latents"])} if step == 2 else {}

    output = pipeline(
        *clip,
        num_inference_steps=3,
        generator=seeded(),
        callback_on_step_end=zero,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "negative_prompt_embeds"],
        output_type="latent",
    ).frames
    assert not output.any()
    assert [step for step, _, _ in steps] == [0, 1, 2] and steps[0][1] > steps[1][1] > steps[2][1]
    assert steps[0][2] == ["latents", "negative_prompt_embeds", "prompt_embeds"] and pipeline.num_timesteps == 3

    class Stop(PipelineCallback):
        tensor_inputs = ["latents"]  # noqa: RUF012

        def callback_fn(self, pipe, step, timestep, tensors):
            steps.append(step)
            pipe._interrupt = step == 1
            return tensors

    steps.clear()
    pipeline(*clip, num_inference_steps=6, generator=seeded(), callback_on_step_end=Stop())
    assert steps == [0, 1] and pipeline.interrupt


def test_guidance_can_be_ended_by_a_callback_that_swaps_the_prompt(pipeline, clip, seeded):
    other, _ = pipeline.encode_prompt("a dog", "cpu", 1, False)

    def swap(pipe, step, timestep, tensors):
        return {"prompt_embeds": other}

    run = {"num_inference_steps": 3, "guidance_scale": 5.0}
    plain = pipeline(*clip, "a face", generator=seeded(), **run).frames
    assert not np.allclose(
        plain, pipeline(*clip, "a face", generator=seeded(), callback_on_step_end=swap, **run).frames
    )


@pytest.mark.parametrize("backbone", [{}, {"text": False, "vae": "tiny", "latent_channels": 3, "vae_scale_factor": 4}])
def test_saving_and_loading_preserves_the_pipeline(tmp_path, clip, seeded, backbone):
    folder = tiny_backbone(tmp_path / "backbone", **backbone)
    pipeline = VideoInpaintPipeline.from_backbone(load(folder, compute=ComputeDevice("cpu", "float32", False)))
    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(*clip, generator=seeded(), **FAST).frames
    pipeline.save_pretrained(tmp_path / "saved")
    again = VideoInpaintPipeline.from_pretrained(tmp_path / "saved", local_files_only=True)
    again.set_progress_bar_config(disable=True)
    assert set(again.components) == {"vae", "text_encoder", "tokenizer", "unet", "controlnet", "scheduler"}
    assert np.array_equal(again(*clip, generator=seeded(), **FAST).frames, output)
    assert np.isfinite(output).all() and output.shape == clip[0].shape


@pytest.mark.parametrize(
    "backbone",
    [
        {"vae_scale_factor": 2, "latent_channels": 5},
        {"vae": "tiny", "vae_scale_factor": 8},
        {"text": False, "vae_scale_factor": 4},
    ],
)
def test_other_autoencoders_and_no_text(tmp_path, clip, seeded, backbone):
    folder = tiny_backbone(tmp_path / "backbone", **backbone)
    pipeline = VideoInpaintPipeline.from_backbone(load(folder, compute=ComputeDevice("cpu", "float32", True)))
    pipeline.set_progress_bar_config(disable=True)
    run = {"num_inference_steps": 2, "guidance_scale": 4.0}
    clip = tuple(part[:3, 8:40, :48] for part in clip)
    output = pipeline(*clip, "a face", generator=seeded(), frame_batch_size=2, **run).frames
    assert output.shape == clip[0].shape and np.isfinite(output).all()
    np.testing.assert_allclose(output, pipeline(*clip, "a face", generator=seeded(), **run).frames, atol=1e-4)
    text = backbone.get("text", True)
    assert pipeline.do_classifier_free_guidance == text
    other = pipeline(*clip, "a dog with a hat", generator=seeded(), **run).frames
    assert np.array_equal(other, pipeline(*clip, "a face", generator=seeded(), **run).frames) != text
    if not text:  # guidance comes back with a second embedding
        negative = torch.randn(1, 4, 32, generator=seeded())
        guided = pipeline(*clip, negative_prompt_embeds=negative, generator=seeded(), **run).frames
        assert pipeline.do_classifier_free_guidance and not np.allclose(guided, output, atol=1e-4)


def test_a_backbone_without_a_required_part(backbone_folder):
    partial = load(backbone_folder, parts=("vae", "unet", "text_encoder", "scheduler"))
    with pytest.raises(UsageError, match="needs the backbone's controlnet_inpaint"):
        VideoInpaintPipeline.from_backbone(partial)


def test_half_precision(tmp_path, clip, seeded):
    folder = tiny_backbone(tmp_path / "backbone", vae="tiny")  # it draws nothing, which would depend on the dtype
    noise = torch.randn(1, 4, 6, 8, generator=seeded())
    output = {}
    for dtype in ("float32", "bfloat16"):
        pipeline = VideoInpaintPipeline.from_backbone(load(folder, compute=ComputeDevice("cpu", dtype, False)))
        pipeline.set_progress_bar_config(disable=True)
        output[dtype] = pipeline(*clip, latents=noise, **FAST).frames
    assert output["bfloat16"].dtype == np.float32
    assert 0 < np.abs(output["bfloat16"] - output["float32"]).mean() < 0.02
    inverted = pipeline(*clip, generator=seeded(), **FAST).frames
    assert np.isfinite(inverted).all()


@pytest.mark.gpu
def test_on_a_gpu_with_offloading(backbone_folder, clip, seeded):
    def run(pipeline):
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(*clip, generator=seeded(), shared_noise="seed", frame_batch_size=2, **FAST).frames

    backbone = load(backbone_folder, compute=ComputeDevice("cpu", "float32", False))
    on_cpu = run(VideoInpaintPipeline.from_backbone(backbone))
    offloaded = VideoInpaintPipeline.from_backbone(backbone)
    offloaded.enable_model_cpu_offload()
    np.testing.assert_allclose(run(offloaded), on_cpu, atol=5e-3)
    assert offloaded.unet.device.type == "cpu"


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "diffusers", "transformers", "cv2")
    code = f"import sys, toolkit.diffusion as d; dir(d); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
