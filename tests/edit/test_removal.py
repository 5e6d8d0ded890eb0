"""A track goes through the removers: interruptions between any two files, second passes, the count of windows."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest

from attributes.stickers.generator import SkinMasker
from attributes.stickers.masker import StickerMasker
from toolkit.backbones.spec import PART_CLASSES
from toolkit.diffusion import VideoEditPipeline
from toolkit.edit import edit_video, masks
from toolkit.edit.removal import denoising, parts, removal
from toolkit.edit.removal.denoising import Networks
from toolkit.edit.removal.stretches import count_windows
from toolkit.edit.resolved import ResolvedDenoising, ResolvedMotion
from toolkit.errors import ToolkitError
from toolkit.video import read_frames


class StopError(Exception):
    pass


def pictures(path):
    return np.array([frame.image for frame in read_frames(path)])


def test_killed_while_intermediate_files_are_removed(video, settings, tmp_path, monkeypatch):
    """A half-deleted folder is not resumed in."""
    edit_video(video, tmp_path / "whole.mkv", settings())
    rmtree, killed = shutil.rmtree, []

    def half(path, *more, **options):
        if Path(path).name.startswith("denoising") and not killed:
            killed.append(path)
            (path / "latents-0").unlink()
            raise StopError
        rmtree(path, *more, **options)

    monkeypatch.setattr(shutil, "rmtree", half)
    with pytest.raises(StopError):
        edit_video(video, tmp_path / "out.mkv", settings())
    assert edit_video(video, tmp_path / "out.mkv", settings()).resumed
    assert killed and not (tmp_path / ".out.mkv.edit").exists()
    assert np.array_equal(pictures(tmp_path / "out.mkv"), pictures(tmp_path / "whole.mkv"))


@pytest.mark.parametrize("kind", ["search", "denoise", "weigh"])
def test_parts_that_were_done_before_a_run_was_killed_are_not_repeated(video, settings, tmp_path, monkeypatch, kind):
    config = settings(motion={"motion_layers": "none"})
    edit_video(video, tmp_path / "whole.mkv", config)
    for module, name in ((parts, "PART"), (masks, "LENGTH"), (removal, "CHUNK"), (denoising, "CHUNK")):
        monkeypatch.setattr(module, name, 8)
    monkeypatch.setattr(removal, "examine", lambda *_: Networks(alone=True, unit=16))
    function, worked, kills = getattr(removal, kind), [], [2]

    def counted(session, part, advance):
        if len(worked) in kills:
            kills.remove(len(worked))
            raise StopError
        worked.append((part.start, part.stop))
        return function(session, part, advance)

    monkeypatch.setattr(removal, kind, counted)
    with pytest.raises(StopError):
        edit_video(video, tmp_path / "out.mkv", config)
    assert edit_video(video, tmp_path / "out.mkv", config).resumed
    assert worked == [(0, 8), (8, 16), (16, 24)]
    assert np.array_equal(pictures(tmp_path / "out.mkv"), pictures(tmp_path / "whole.mkv"))


@pytest.mark.parametrize("name", PART_CLASSES["scheduler"])
@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (2, 0.5), (5, 0.5), (20, 0.3), (20, 1.0)])
def test_windows_are_counted_as_the_pipeline_runs_them(name, steps, strength):
    denoising = ResolvedDenoising(
        num_inference_steps=steps,
        strength=strength,
        guidance_scale=1,
        controlnet_conditioning_scale=1,
        scheduler=name,
        beta_schedule="linear",
    )
    motion = ResolvedMotion(
        motion_adapter=True,
        removed_motion_layers=(),
        context_length=4,
        context_overlap=1,
        shared_noise=False,
        reference_frames="self",
    )
    more = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    scheduler = getattr(diffusers, name)(**more)
    scheduler.set_timesteps(steps)
    pipeline = SimpleNamespace(scheduler=scheduler)
    timesteps, _ = diffusers.AnimateDiffVideoToVideoControlNetPipeline.get_timesteps(
        pipeline, steps, scheduler.timesteps, strength, "cpu"
    )
    assert count_windows(7, denoising, motion, passes=2) == 2 * 2 * len(timesteps)


def test_opaque_parts_are_filled_before_a_remover_sees_them(video, settings, tmp_path, monkeypatch):
    stream, shown = VideoEditPipeline.stream, {}

    def watched(self, chunks, **options):
        chunks = list(chunks)
        shown[len(shown)] = [np.concatenate(one) for one in zip(*((chunk.shown, chunk.frames) for chunk in chunks))]
        return stream(self, iter(chunks), **options)

    def box(self, clip):
        opaque = np.zeros(clip.frames.shape[:3], bool)
        opaque[:, 24:40, 20:44] = True
        return opaque

    monkeypatch.setattr(VideoEditPipeline, "stream", watched)
    monkeypatch.setattr(SkinMasker, "opaque", box, raising=False)
    for fill in (False, True):
        edit_video(video, tmp_path / f"{fill}.mkv", settings(masking={"fill_opaque": fill, "second_pass": "off"}))
    differs = (shown[0][0] != shown[1][0]).any(axis=-1)
    inside = differs[:, 24:40, 20:44]
    assert shown[0][0].shape[1] == 64 and inside.mean() > 0.9
    assert differs.sum() == inside.sum()
    assert np.array_equal(shown[0][1], shown[1][1]), "the frame itself is blended in"


def test_what_a_lossy_vae_changes_is_no_change(video, settings, tmp_path, monkeypatch):
    """The tiny VAE has random weights, so it changes far more than the smallest change to paste."""

    def coder(self, chunks, **options):
        for chunk in chunks:
            yield paler(self.coded(chunk.frames)) if pale else self.coded(chunk.frames)

    def paler(made):
        made[:, 30:36, 24:40] += 128  # modulo 256
        return made

    monkeypatch.setattr(VideoEditPipeline, "stream", coder)
    pale = False
    masking = {"second_pass": "off", "min_change": 0.1, "min_peak_change": 0.1}
    report = edit_video(video, tmp_path / "out.mkv", settings(masking=masking))
    assert not report.counts.get("edited")
    pale = True
    edit_video(video, tmp_path / "pale.mkv", settings(masking=masking))
    changed = (pictures(tmp_path / "pale.mkv") != pictures(video)).any(axis=(0, 3))
    assert changed.any() and changed.mean() < 0.3


def test_memory_that_is_full_is_said_with_the_stage_and_what_helps_there(video, settings, tmp_path, monkeypatch):
    for method, error, words in (
        ("encode", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "to encode .* with the VAE: choose --dtype"),
        ("decode", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "to decode .* with the VAE: choose --dtype"),
        ("_predict", "DefaultCPUAllocator: can't allocate memory", "to denoise a window .*: lower --context-length"),
    ):

        def full(*_, error=error, **__):
            raise RuntimeError(error)

        with monkeypatch.context() as patch, pytest.raises(ToolkitError, match=words) as raised:
            patch.setattr(VideoEditPipeline if method == "_predict" else diffusers.AutoencoderTiny, method, full)
            edit_video(video, tmp_path / "out.mkv", settings())
        assert ("context-length" in str(raised.value)) == (method == "_predict")


def shades(self, chunks, **options):
    """A remover that makes a rectangle paler."""
    for chunk in chunks:
        frames = chunk.shown
        shown.append(frames)
        made = frames.copy()
        made[:, 30:36, 24:40] = made[:, 30:36, 24:40] // 2 + 100
        yield made


shown = []


@pytest.mark.parametrize(
    ("wanted", "steps", "passes"), [("auto", 1, 2), ("auto", 2, 2), ("auto", 3, 1), ("off", 1, 1), ("on", 3, 2)]
)
def test_a_second_pass_is_shown_the_surroundings_of_what_the_first_removed(
    video, settings, tmp_path, monkeypatch, wanted, steps, passes
):
    shown.clear()
    monkeypatch.setattr(VideoEditPipeline, "stream", shades)
    monkeypatch.setattr(VideoEditPipeline, "lossless", True)
    config = settings(denoising={"num_inference_steps": steps}, masking={"second_pass": wanted, "min_change": 0})
    edit_video(video, tmp_path / "made.mkv", config)
    first, *rest = np.split(np.concatenate(shown), passes)
    assert len(rest) == passes - 1
    for second in rest:
        differs = (first != second).any(axis=(0, 3))
        assert differs[31:35, 25:39].mean() > 0.7
        differs[28:38, 22:42] = False
        assert not differs.any()


@pytest.mark.parametrize("wanted", ["on", "auto"])
def test_with_exact_masks_two_looks_are_averaged(video, settings, tmp_path, monkeypatch, wanted):
    """One at the frame, one at the frame with a fill; what is around the mask stays as it was."""
    looks, box = [], np.s_[:, 24:40, 20:44]

    def look(self, chunks, **options):
        looks.append([])
        for frames in (chunk.shown for chunk in chunks):
            looks[-1].append(frames)
            made = frames.copy()
            made[box] = (200, 100)[len(looks) - 1]
            yield made

    def found(self, clip):
        masks = np.zeros(clip.frames.shape[:3], bool)
        masks[box] = True
        return masks

    monkeypatch.setattr(VideoEditPipeline, "stream", look)
    monkeypatch.setattr(VideoEditPipeline, "lossless", True)
    monkeypatch.setattr(StickerMasker, "__init__", lambda self, options: None)
    monkeypatch.setattr(StickerMasker, "__call__", found)
    monkeypatch.setattr(StickerMasker, "opaque", found)
    config = settings(options={"stickers": {"masker": "embedded"}}, masking={"second_pass": wanted})
    report = edit_video(video, tmp_path / "out.mkv", config)
    assert report.resolved["removers"][0]["exact_masks"]
    seen = [np.concatenate(frames) for frames in looks]
    assert len(seen) == (2 if wanted == "on" else 1)
    if wanted == "on":
        differs = (seen[0] != seen[1]).any(axis=-1)
        assert differs[box].mean() > 0.9 and differs.sum() == differs[box].sum()
    after, shade = pictures(tmp_path / "out.mkv"), 150 if wanted == "on" else 200
    flat = (np.abs(after.astype(int) - shade) <= 2).all(axis=-1)
    assert (flat.mean(axis=(1, 2)) > 0.02).all()
    assert np.array_equal(after[:, :4], pictures(video)[:, :4])


def test_without_anything_removed_there_is_no_second_pass(video, settings, tmp_path, monkeypatch):
    seen = []

    def nothing(self, chunks, **options):
        for frames in (chunk.shown for chunk in chunks):
            seen.append(len(frames))
            yield frames

    monkeypatch.setattr(VideoEditPipeline, "stream", nothing)
    masking = {"second_pass": "on", "min_change": 0.1, "min_peak_change": 0.1}
    report = edit_video(video, tmp_path / "made.mkv", settings(masking=masking))
    assert sum(seen) == len(pictures(video)) and not report.counts.get("edited")


def test_killed_in_the_second_pass(video, settings, tmp_path, monkeypatch):
    config = settings(masking={"second_pass": "on", "min_peak_change": 0.02})
    edit_video(video, tmp_path / "whole.mkv", config)
    stream, calls = VideoEditPipeline.stream, []

    def stops(self, chunks, **options):
        calls.append(options["folder"].name)
        for number, made in enumerate(stream(self, chunks, **options)):
            if len(calls) == 2 and number:
                raise StopError
            yield made

    with monkeypatch.context() as patched:
        patched.setattr(VideoEditPipeline, "stream", stops)
        with pytest.raises(StopError):
            edit_video(video, tmp_path / "out.mkv", config)
    assert calls == ["denoising-0-0", "denoising-0-0-again"]
    assert edit_video(video, tmp_path / "out.mkv", config).resumed
    assert np.array_equal(pictures(tmp_path / "out.mkv"), pictures(tmp_path / "whole.mkv"))


@pytest.mark.parametrize(
    ("steps", "layers", "wanted", "shared"),
    [(2, "paper", "auto", False), (2, "none", "auto", True), (1, "paper", "auto", True), (1, "paper", "off", False)],
)
def test_frames_share_noise_where_motion_layers_cannot_help(
    video, settings, tmp_path, monkeypatch, steps, layers, wanted, shared
):
    stream, found = VideoEditPipeline.stream, []

    def watched(self, chunks, **options):
        found.append(options["settings"].shared_noise)
        return stream(self, chunks, **options)

    monkeypatch.setattr(VideoEditPipeline, "stream", watched)
    config = settings(
        denoising={"num_inference_steps": steps}, motion={"motion_layers": layers, "shared_noise": wanted}
    )
    edit_video(video, tmp_path / "made.mkv", config)
    assert set(found) == {shared}
