"""The glasses task keeps the contract; from videos to datasets, by inpainting and by rendering."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from attributes.glasses.design import GlassesDesign, LensDesign
from attributes.glasses.example import face_with_glasses
from attributes.glasses.eyes import BOTH, eye_holes
from tasks.glasses import GlassesOptions, GlassesTask
from toolkit.backbones import describe
from toolkit.cli import main
from toolkit.dataset.reader import read_samples
from toolkit.errors import InputError
from toolkit.synthesis.build import build_dataset
from toolkit.synthesis.config import BuildConfig, InpaintConfig
from toolkit.synthesis.inpainter import BackboneInpainter
from toolkit.testing import assert_conforms, tiny_backbone, tools

NUMBERS = {"eye_visibility", "mask_fraction", "change_outside", "sharpness"}
ANYTHING = {"max_change_outside": 255, "min_sharpness": 0}
"""Random weights paint noise: the limits would refuse it."""


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def build(backbone):
    def run(video, output, inpainting=None, **options):
        config = BuildConfig(
            task="glasses",
            options=options,
            videos=[video],
            output=output,
            resolution=64 if options.get("pairs") != "render" else 128,
            clip_length=8,
            min_clip_length=4,
            validation_fraction=0,
            workers=1,
            device="cpu",
            inpainting=InpaintConfig(backbone=str(backbone), num_inference_steps=2, **inpainting or {}),
        )
        return build_dataset(config)

    return run


@pytest.fixture(scope="module")
def worn(worn_video):
    return worn_video(GlassesDesign())


@pytest.fixture(scope="module")
def inpainted(build, worn, tmp_path_factory):
    return build(worn, tmp_path_factory.mktemp("inpainted") / "d", **ANYTHING)


@pytest.mark.parametrize("pairs", ["inpaint", "render"])
def test_conforms(pairs):
    assert_conforms(GlassesTask(GlassesOptions(pairs=pairs)))


def test_inpainted_pairs_differ_in_the_mask_only(inpainted):
    samples = list(read_samples(inpainted.output, split="train"))
    assert len(samples) == 16
    for sample in samples:
        image, worn, mask = (sample.picture(name) for name in ("image", "conditioning_image", "mask"))
        assert np.array_equal(image[~mask], worn[~mask])
        assert np.abs(image[mask].astype(int) - worn[mask]).mean() > 5
        assert sample.row.keys() >= NUMBERS
        assert sample.row["mask_fraction"] == pytest.approx(mask.mean(), abs=1e-4)


@pytest.mark.parametrize("side", [256, 512])
def test_closed_eyes_stay_as_they_are_in_inpainted_pairs(backbone, side):
    clip = face_with_glasses().select(range(2))
    scale = side // 256
    landmarks = clip.landmarks * np.float32(scale)
    for eye in BOTH:  # the lids meet where the eye's middle was
        points = landmarks[:, clip.topology.regions[eye], 1]
        landmarks[:, clip.topology.regions[eye], 1] = points.mean(axis=1, keepdims=True)
    frames = np.stack([cv2.resize(frame, (side, side)) for frame in clip.frames])
    clip = replace(clip, frames=frames, landmarks=landmarks)
    config = InpaintConfig(backbone=str(backbone), num_inference_steps=1, guidance_scale=1)
    helpers = tools()
    helpers.inpainter = lambda: BackboneInpainter(config.resolved(describe(str(backbone)), "cpu"), "cpu")
    pairs = list(GlassesTask().pair_generator()(clip, np.random.default_rng(0), helpers))
    assert len(pairs) == 2
    for pair, holes in zip(pairs, eye_holes(clip)):
        assert holes.sum() > 100 * scale
        assert np.array_equal(pair.image[holes], pair.conditioning_image[holes]) and not pair.mask[holes].any()
        assert np.abs(pair.image[pair.mask].astype(int) - pair.conditioning_image[pair.mask]).mean() > 5


def test_an_inpainted_dataset_is_whole_and_says_how_it_was_made(inpainted, backbone, capsys):
    assert main(["dataset", "check", str(inpainted.output)]) == 0
    config = json.loads((inpainted.output / "config.json").read_text())
    assert config["config"]["inpainting"]["blend_ratio"] == 0.9
    assert str(backbone) not in json.dumps(config)
    assert config["backbone"]


def test_the_same_build_gives_the_same_pictures(inpainted, build, worn, tmp_path):
    again = build(worn, tmp_path / "d", **ANYTHING)
    assert [shard.sha256 for shard in again.manifest.shards] == [shard.sha256 for shard in inpainted.manifest.shards]


def test_another_setting_of_the_inpainter_gives_others(inpainted, build, worn, tmp_path):
    other = build(worn, tmp_path / "d", {"reference_frames": None}, **ANYTHING)
    assert [shard.sha256 for shard in other.manifest.shards] != [shard.sha256 for shard in inpainted.manifest.shards]


def test_pairs_beyond_a_limit_are_left_out_and_counted(build, worn, tmp_path):
    with pytest.raises(InputError, match=r"sharpness under 9 \(16\)"):
        build(worn, tmp_path / "d", max_change_outside=255, min_sharpness=9)


def test_without_glasses_there_is_nothing_to_inpaint(build, bare_video, tmp_path):
    with pytest.raises(InputError, match=r"clip without glasses \(2\)"):
        build(bare_video, tmp_path / "d")


def test_hidden_eyes_are_left_out_unless_asked_for(build, worn_video, tmp_path):
    dark = worn_video(
        GlassesDesign(lens=LensDesign(tint=(0.02, 0.02, 0.02), transmission_top=0.03, transmission_bottom=0.03))
    )
    with pytest.raises(InputError, match=r"clip whose eyes are hidden \(2\)"):
        build(dark, tmp_path / "d", **ANYTHING)
    report = build(dark, tmp_path / "kept", **ANYTHING, min_eye_visibility=0)
    assert report.manifest.pairs == 16


def test_rendered_pairs_keep_the_frame_as_the_target(build, bare_video, tmp_path):
    report = build(bare_video, tmp_path / "d", pairs="render")
    samples = list(read_samples(report.output, split="train"))
    assert len(samples) == 16
    for sample in samples:
        image, worn, mask = (sample.picture(name) for name in ("image", "conditioning_image", "mask"))
        assert np.array_equal((image != worn).any(axis=-1), mask)
        assert sample.row.keys() >= NUMBERS | {"style", "rim", "material"}
    assert "inpainting" not in json.loads((report.output / "config.json").read_text())["config"]


def test_no_second_pair_of_glasses_is_rendered(build, worn, tmp_path):
    with pytest.raises(InputError, match=r"clip that already shows glasses \(2\)"):
        build(worn, tmp_path / "d", pairs="render")


def test_a_backbone_that_is_not_there_is_one_sentence_and_claims_no_folder(worn, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    words = ["build-dataset", "--task", "glasses", "--videos", str(worn), "--output", str(tmp_path / "d")]
    assert main([*words, "--backbone", "sd15"]) != 0
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "toolkit fetch sd15" in message
    assert not (tmp_path / "d").exists()


def test_a_frame_whose_face_is_hidden_gives_no_pair(worn_clip):
    clip = worn_clip(GlassesDesign())
    landmarks = clip.landmarks.copy()
    landmarks[3] = np.nan
    from dataclasses import replace

    generate = GlassesTask().pair_generator()
    made = list(generate(replace(clip, landmarks=landmarks), np.random.default_rng(0), tools()))
    assert [pair.index for pair in made] == [k for k in range(16) if k != 3]
