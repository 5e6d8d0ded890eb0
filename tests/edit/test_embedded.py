"""The embedded backbone and its removers are complete and work."""

import shutil

import cv2
import numpy as np
import pytest

from attributes.glasses.design import GlassesDesign
from attributes.glasses.drawing import GlassesDrawer
from toolkit.backbones import describe, load
from toolkit.backbones.describing import EMBEDDED
from toolkit.cli import main
from toolkit.dataset.reader import read_manifest, read_samples
from toolkit.edit import EditConfig, edit_video
from toolkit.errors import InputError
from toolkit.registry import load_task
from toolkit.remover import check_backbone, read_remover, shipped_remover, shipped_removers
from toolkit.testing.sample import sample_clip, sample_frames
from toolkit.video import VideoWriter, read_frames

LIMIT = 60e6
"""Bytes of all weights together."""

TASKS = ("glasses", "stickers")


def written(path, frames):
    with VideoWriter(path, fps=25, lossless=True) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def frames_of(path):
    return np.stack([frame.image for frame in read_frames(path)])


def psnr(one, other, where):
    return -10 * np.log10(np.mean(((one.astype(float) - other)[where] / 255) ** 2) + 1e-10)


@pytest.fixture(scope="module")
def bare():
    """Six frames of the sample face, with a margin around the crop of the sample clip."""
    return sample_clip(6)


@pytest.fixture(scope="module")
def worn(bare):
    """The same with dark plastic glasses."""
    return GlassesDrawer().draw(bare, GlassesDesign(), np.random.default_rng(0)).frames


def test_all_weights_together_are_small():
    folders = [EMBEDDED / "nano", *(shipped.folder for shipped in shipped_removers() if shipped.task in TASKS)]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".jpg", ".png"}


def test_the_backbone_is_complete():
    spec = describe("nano")
    assert {"controlnet_inpaint", "controlnet_tile", "motion_adapter"} <= set(spec.parts)
    assert all(part.sha256 for part in spec.parts.values())
    load(spec)  # compares the digests
    card = " ".join((EMBEDDED / "nano" / "README.md").read_text().split())  # lines may break anywhere
    assert all(word in card for word in ("Apache-2.0", "Face Research Lab London Set", "recipe", "Limits"))


@pytest.mark.parametrize("task", TASKS)
def test_removers_belong_to_the_backbone(task):
    remover = read_remover(shipped_remover(task, "nano"))
    check_backbone(remover, describe("nano"))
    assert remover.record.tasks == [task]
    assert remover.record.licence == "Apache-2.0"


def test_changed_weights_are_refused(tmp_path):
    folder = tmp_path / "nano"
    shutil.copytree(EMBEDDED / "nano", folder)
    path = folder / "controlnet_tile" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"controlnet_tile .* is damaged or was changed"):
        load(describe(folder), ("unet", "controlnet_tile"))


def test_glasses_are_removed(bare, worn, tmp_path):
    source = written(tmp_path / "in.mkv", worn)
    report = edit_video(source, tmp_path / "out.mkv", EditConfig(task=["glasses"], writing={"lossless": True}))
    assert report.outcome == "edited" and report.resolved["backbone"]["name"] == "nano"
    made, changed = frames_of(tmp_path / "out.mkv"), (worn != bare.frames).any(axis=-1)
    assert psnr(made, bare.frames, changed) > psnr(worn, bare.frames, changed) + 4
    far = np.ones(made.shape[1:3], bool)
    far[30:190] = False
    assert np.array_equal(made[:, far], frames_of(source)[:, far])


def test_both_attributes_in_order(bare, worn, tmp_path):
    both, sticker = worn.copy(), np.zeros(worn.shape[:3], bool)
    for pair in load_task("stickers").pair_generator()(bare, np.random.default_rng(3), None):
        sticker[pair.index] = pair.mask
        both[pair.index][pair.mask] = pair.conditioning_image[pair.mask]
    source = written(tmp_path / "in.mkv", both)
    config = EditConfig(task=["stickers", "glasses"], writing={"lossless": True})
    report = edit_video(source, tmp_path / "out.mkv", config)
    assert [remover["tasks"] for remover in report.resolved["removers"]] == [["stickers"], ["glasses"]]
    made = frames_of(tmp_path / "out.mkv")
    for changed in (sticker, (worn != bare.frames).any(axis=-1)):
        assert psnr(made, bare.frames, changed) > psnr(both, bare.frames, changed) + 2


@pytest.mark.parametrize("task", TASKS)
def test_a_face_without_attributes_stays_unchanged(task, tmp_path):
    frames = sample_frames(6, 400)
    source = written(tmp_path / "in.mkv", frames)
    edit_video(source, tmp_path / "out.mkv", EditConfig(task=[task], writing={"lossless": True}))
    before, made = frames_of(source), frames_of(tmp_path / "out.mkv")
    everywhere = np.ones(before.shape[1:3], bool)
    assert all(psnr(*pair, everywhere) >= 45 for pair in zip(made, before))


def test_pairs_by_inpainting_without_a_download(worn, tmp_path):
    """The paper's way to make pairs: inpainting invents the face under the glasses."""
    source = written(tmp_path / "worn.mkv", worn)
    words = ["build-dataset", "--task", "glasses", "--videos", str(source), "--output", str(tmp_path / "pairs")]
    assert main([*words, "--clip-length", "6", "--min-clip-length", "2", "--validation-fraction", "0"]) == 0
    samples = list(read_samples(tmp_path / "pairs", None, read_manifest(tmp_path / "pairs")))
    assert len(samples) == 6
    for sample in samples:
        made, given, mask = (sample.picture(name) for name in ("image", "conditioning_image", "mask"))
        assert mask.any() and made[mask].mean() > given[mask].mean() + 10, "the rims are dark"


def test_no_face_and_a_face_that_is_too_small(tmp_path, capsys):
    nobody = written(tmp_path / "nobody.mkv", np.full((4, 128, 128, 3), 90, np.uint8))
    tiny = np.full((4, 240, 320, 3), 90, np.uint8)
    small = [cv2.resize(frame, (48, 48), interpolation=cv2.INTER_AREA) for frame in sample_frames(4, 128)]
    tiny[:, 100:148, 100:148] = small
    for source in (nobody, written(tmp_path / "tiny.mkv", tiny)):
        out = tmp_path / f"out-{source.name}"
        assert main(["edit", str(source), str(out), "--task", "stickers"]) == 3
        assert np.array_equal(frames_of(out), frames_of(source))
    assert "no face" in capsys.readouterr().out
