"""Each method of the paper, enabled on its own."""

import numpy as np
import pytest
import torch

from toolkit.diffusion import mask_to_latent

OFF = {"reference_frames": None, "blend_ratio": 0.0, "shared_noise": None}
CONSTANT = {"num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "latent"}


@pytest.fixture
def run(pipeline, clip, seeded):
    def call(frames=clip[0], masks=clip[1], **switches):
        arguments = {**CONSTANT, **OFF, "generator": seeded(5), **switches}
        return pipeline(frames, masks, "a face", "glasses", **arguments).frames

    return call


@pytest.mark.parametrize(
    "switches",
    [
        {"reference_frames": "first+middle"},
        {"reference_frames": "1,4,2"},
        {"blend_ratio": 0.9},
        {"shared_noise": "inversion"},
        {"shared_noise": "seed"},
        {"reference_frames": "uniform:3", "blend_ratio": 0.9, "shared_noise": "inversion"},
        {"reference_frames": "first+middle", "guidance_scale": 1.0, "blend_ratio": None},
    ],
)
def test_the_batch_size_changes_nothing(run, switches):
    whole = run(frame_batch_size=8, **switches)
    for size in (1, 3):
        assert abs(run(frame_batch_size=size, **switches) - whole).max() < 1e-4
    assert abs(run() - whole).max() > 1e-3


def test_blending_keeps_the_original_outside_and_leaves_the_inside_model_as_it_was(run, clip, pipeline):
    frames, masks = clip
    clean = {"strength": 0.5}  # one step, after which the inside has seen no blend yet
    mask = mask_to_latent(masks)
    outside, inside = (mask == 0).expand(-1, 4, -1, -1), (mask == 1).expand(-1, 4, -1, -1)
    off, on = run(**clean), run(blend_ratio=0.9, **clean)
    assert torch.equal(off[inside], on[inside])
    full = run(blend_ratio=1.0, **clean)
    with torch.no_grad():
        image = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 * 2 - 1
        dist = pipeline.vae.encode(image).latent_dist
        draw = torch.randn(dist.mean.shape, generator=torch.Generator().manual_seed(5))
    original = (dist.mean + dist.std * draw) * pipeline.vae.config.scaling_factor
    torch.testing.assert_close(full[outside], original[outside])
    torch.testing.assert_close(on[outside], (0.9 * original + 0.1 * off)[outside])


def test_what_is_kept_inside_the_mask_is_the_original_in_latents(run, clip):
    masks = clip[1]
    keep = np.zeros_like(masks)
    keep[:, 16:24, 16:24] = True  # one cell
    masks = masks & ~keep
    assert (mask_to_latent(masks)[:2, 0, 2, 2] == 1).all()
    swallowed, kept = (run(masks=masks, blend_ratio=1.0, keep=held) for held in (None, keep))
    original = run(masks=np.broadcast_to(np.arange(64) >= 60, masks.shape), blend_ratio=1.0)
    torch.testing.assert_close(kept[:2, :, 2, 2], original[:2, :, 2, 2])
    assert (abs(swallowed[:2, :, 2, 2] - original[:2, :, 2, 2]).amax(dim=1) > 1e-3).all()
    assert torch.equal(run(masks=masks, keep=keep), run(masks=masks))  # nothing is blended


def test_the_blend_source_changes_what_is_outside_and_not_where_an_edit_starts(run, clip):
    mask = mask_to_latent(clip[1])
    outside, inside = (mask == 0).expand(-1, 4, -1, -1), (mask == 1).expand(-1, 4, -1, -1)
    one_step = {"blend_ratio": 1.0, "strength": 0.5}
    frame, masked = run(**one_step), run(blend_source="masked", **one_step)
    assert abs(frame[outside] - masked[outside]).max() > 1e-3
    assert torch.equal(frame[inside], masked[inside])


def test_the_masked_frame_is_grey_where_it_is_masked(run, clip, pipeline):
    frames, masks = clip
    masked = run(blend_ratio=1.0, blend_source="masked", strength=0.5, shared_noise="seed")
    image = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 * 2 - 1
    image = image.masked_fill(torch.from_numpy(masks)[:, None], 0)
    with torch.no_grad():
        encoded = pipeline.vae.encode(image).latent_dist
    generator = torch.Generator().manual_seed(5)
    torch.randn(encoded.mean.shape, generator=generator)  # for the frames
    torch.randn(encoded.mean[:1].shape, generator=generator)  # the noise
    draw = torch.randn(encoded.mean.shape, generator=generator)
    wanted = (encoded.mean + encoded.std * draw) * pipeline.vae.config.scaling_factor
    outside = (mask_to_latent(masks) == 0).expand(-1, 4, -1, -1)
    torch.testing.assert_close(masked[outside], wanted[outside])


def test_no_blending_ignores_the_latent_mask_but_not_the_hint(run, clip, monkeypatch):
    import toolkit.diffusion.inpaint_pipeline as module

    before, blended = run(), run(blend_ratio=0.5)
    monkeypatch.setattr(module, "mask_to_latent", lambda *args: 0.5 * mask_to_latent(*args))
    assert torch.equal(run(), before) and not torch.allclose(run(blend_ratio=0.5), blended)
    smaller = clip[1].copy()
    smaller[:, ::2] = False
    assert abs(run(masks=smaller) - before).max() > 1e-3


def test_without_references_frames_are_alone_and_with_them_they_follow_the_references(run, clip):
    frames, _ = clip
    changed = frames.copy()
    changed[0] = 255 - changed[0]
    off, off_changed = run(), run(frames=changed)
    on, on_changed = (run(frames=f, reference_frames="first+middle") for f in (frames, changed))
    middle, others = 2, [1, 3, 4]
    torch.testing.assert_close(off[1:], off_changed[1:], atol=1e-5, rtol=1e-5)
    assert all(abs(on[t] - on_changed[t]).max() > 1e-4 for t in [middle, *others])
    changed = frames.copy()
    changed[3] = 255 - changed[3]  # not a reference: nobody looks at it
    on_changed = run(frames=changed, reference_frames="first+middle")
    rest = [0, 1, 2, 4]
    torch.testing.assert_close(on[rest], on_changed[rest], atol=1e-5, rtol=1e-5)


def test_a_frame_that_is_its_only_reference_is_not_changed_by_the_switch(run):
    off, on = run(), run(reference_frames="2")
    torch.testing.assert_close(on[2], off[2], atol=1e-5, rtol=1e-5)
    assert abs(on[0] - off[0]).max() > 1e-3


def first_latents(pipeline, arguments):
    """The UNet's input at the first step, recorded by a hook on the ControlNet."""
    seen = []
    hook = pipeline.controlnet.register_forward_hook(
        lambda module, args, output: seen.append(args[0].clone()), with_kwargs=False
    )
    arguments()
    hook.remove()
    return seen[0]


def test_shared_noise_starts_every_frame_from_the_same(pipeline, run):
    for mode, same in (("seed", True), ("inversion", True), (None, False)):
        start = first_latents(pipeline, lambda mode=mode: run(shared_noise=mode, guidance_scale=1.0))
        assert torch.equal(start, start[:1].expand_as(start)) == same


def test_the_inverted_noise_comes_from_the_first_reference(pipeline, run, clip):
    def start(reference_frames, frames=clip[0], **switches):
        return first_latents(
            pipeline,
            lambda: run(
                frames=frames,
                reference_frames=reference_frames,
                shared_noise="inversion",
                guidance_scale=1.0,
                **switches,
            ),
        )[0]

    changed = clip[0].copy()
    changed[3] = 255 - changed[3]
    assert torch.equal(start(None), start("first+middle"))
    assert not torch.allclose(start("3"), start("first"))
    assert torch.equal(start("first", changed), start("first"))
    assert not torch.allclose(start("3,0", changed), start("3,0"))
    assert not torch.allclose(start("first", inversion_steps=50), start("first"))


def test_equal_frames_with_shared_noise_stay_equal(run, clip):
    frames, masks = (np.repeat(part[:1], 4, axis=0) for part in clip)
    # A VAE draws its latents, so equal frames differ a little; the noise alone makes most of the difference.
    apart = [float(run(frames=frames, masks=masks, shared_noise=mode).std(dim=0).mean()) for mode in (None, "seed")]
    assert apart[1] < apart[0] / 5


def test_one_initial_latent_for_all_frames_is_shared_noise(run):
    noise = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(8))
    torch.testing.assert_close(run(latents=noise), run(latents=noise.expand(5, -1, -1, -1), shared_noise="inversion"))
