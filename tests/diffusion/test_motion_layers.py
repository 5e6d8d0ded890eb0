"""Removing motion layers of a real UNetMotionModel."""

import pytest
import torch
from diffusers import UNetMotionModel

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion.motion_layers import (
    PAPER,
    NoMotion,
    motion_layer_names,
    named_motion_layers,
    remove_motion_layers,
    restore_motion_layers,
)
from toolkit.errors import InputError, UsageError


@pytest.fixture
def unet(backbone_folder):
    backbone = load(backbone_folder, ("unet", "motion_adapter"), ComputeDevice("cpu", "float32", channels_last=False))
    return UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter).eval()


def output(unet, frames=4):
    torch.manual_seed(0)
    with torch.no_grad():
        return unet(torch.randn(1, 4, frames, 8, 8), 10, torch.randn(frames, 77, 32)).sample


def test_names_are_found_in_order(unet):
    names = motion_layer_names(unet)
    assert names[0] == "down_blocks.0.motion_modules.0"
    assert "up_blocks.0.motion_modules.1" in names
    assert all(type(unet.get_submodule(name)).__name__ == "AnimateDiffTransformer3D" for name in names)


def test_without_motion_layers_frames_are_independent(unet):
    before = output(unet)
    removed = remove_motion_layers(unet, motion_layer_names(unet))
    after = output(unet)
    assert not torch.allclose(before, after, atol=1e-3)
    torch.manual_seed(0)
    sample, states = torch.randn(1, 4, 4, 8, 8), torch.randn(4, 77, 32)
    with torch.no_grad():
        alone = unet(sample[:, :, 2:3], 10, states[2:3]).sample
    assert torch.allclose(alone, after[:, :, 2:3], atol=1e-5)
    restore_motion_layers(unet, removed)
    assert torch.equal(output(unet), before)


def test_removed_layer_is_the_identity(unet, monkeypatch):
    name = "up_blocks.0.motion_modules.1"
    layer = unet.get_submodule(name)
    monkeypatch.setattr(layer, "forward", lambda hidden_states, *_, **__: hidden_states)
    expected = output(unet)
    monkeypatch.undo()
    remove_motion_layers(unet, [name])
    assert torch.equal(output(unet), expected)
    assert isinstance(unet.get_submodule(name), NoMotion)
    assert len(unet.get_submodule(name).transformer_blocks) == 0


def test_an_unknown_name_is_refused_and_nothing_removed(unet):
    before = output(unet)
    with pytest.raises(UsageError, match=r"no motion layer 'up_blocks\.0\.motion_modules\.9', did you mean"):
        remove_motion_layers(unet, ["up_blocks.0.motion_modules.0", "up_blocks.0.motion_modules.9"])
    assert torch.equal(output(unet), before)


def test_the_papers_five_exist_in_the_shape_of_sd15():
    with torch.device("meta"):
        unet = UNetMotionModel(cross_attention_dim=768, block_out_channels=(32, 64, 64, 64), norm_num_groups=8)
    assert len(remove_motion_layers(unet)) == len(PAPER) == 5


@pytest.mark.parametrize("layers", [[], [1], ["x", 1], None])
def test_an_adapter_that_does_not_say_how_many_layers_it_has_is_refused(layers):
    unet = {"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"]}
    with pytest.raises(InputError, match="found motion_layers_per_block"):
        named_motion_layers(unet, {"motion_layers_per_block": layers})
