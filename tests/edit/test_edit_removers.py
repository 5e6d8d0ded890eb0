"""Values of --remover: folders, and a backbone's own inpainting."""

import shutil

import numpy as np
import pytest

from toolkit.backbones import describe
from toolkit.edit import edit_video
from toolkit.edit.removers import edit_remover
from toolkit.errors import InputError, UsageError
from toolkit.testing import tiny_backbone
from toolkit.video import read_frames


def test_a_folder_and_the_backbones_own_inpainting(remover, backbone):
    spec = describe(backbone)
    trained, own = edit_remover(remover, spec, {}), edit_remover("inpaint:glasses", spec, {})
    assert (trained.name, trained.tasks, trained.hint) == ("stickers", ("stickers",), "frame")
    assert (own.name, own.tasks, own.hint) == ("inpaint:glasses", ("glasses",), "masked")
    assert own.controlnet.folder == spec.controlnet_inpaint.folder and len(own.origin["weights"]) == 64


@pytest.mark.parametrize("masks", ["on", "off"])
def test_inpainting_edits_within_the_masks(tmp_path, video, settings, masks):
    groups = {"masking": {"masks": masks, "composite": "mask", "normalisation": "none"}, "writing": {"lossless": True}}
    report = edit_video(video, tmp_path / "out.mkv", settings(remover=["inpaint:stickers"], **groups))
    assert report.outcome == "edited" and report.resolved["removers"][0]["name"] == "inpaint:stickers"
    before, after = (np.stack([frame.image for frame in read_frames(path)]) for path in (video, tmp_path / "out.mkv"))
    changed = (before != after).any(axis=(0, 3))
    assert changed.any() and not changed[:8].any() and not changed[:, :8].any()


def test_impossible_inpainting_is_refused(tmp_path, settings):
    bare = tiny_backbone(tmp_path / "tiny", text=False, vae="tiny")
    shutil.rmtree(bare / "controlnet_inpaint")
    with pytest.raises(UsageError, match="no ControlNet inpaint"):
        edit_remover("inpaint:glasses", describe(bare), {})
    with pytest.raises(UsageError, match="glases"):
        edit_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings(remover=["inpaint:glases"]))
    with pytest.raises(InputError, match="folder of a remover"):
        edit_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings(remover=["inpaint"]))


@pytest.mark.parametrize(("policy", "sentence"), [("0,7", "shots differ in length"), ("last", "unknown choice")])
def test_reference_frames_are_checked_before_anything_is_loaded(tmp_path, settings, video, policy, sentence):
    with pytest.raises(UsageError, match=sentence):
        edit_video(video, tmp_path / "out.mp4", settings(motion={"reference_frames": policy}))
