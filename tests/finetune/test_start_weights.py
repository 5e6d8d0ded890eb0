"""The ControlNet in training starts from the exact weights of its file, whatever the number format of the rest."""

import pytest
import torch
from safetensors.torch import load_file

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.finetune.plan import FROZEN, make_plan
from toolkit.finetune.setup import make_controlnet


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_frozen_models_do_not_narrow_the_start(settings, backbone, dtype):
    plan = make_plan(settings())
    frozen = load(plan.spec, FROZEN, ComputeDevice("cpu", dtype, True))
    assert frozen.unet.dtype == getattr(torch, dtype)
    state = make_controlnet(plan, frozen).state_dict()
    kept = load_file(backbone / "controlnet_tile" / "diffusion_pytorch_model.safetensors")
    assert state.keys() == kept.keys()
    assert all(state[name].dtype == torch.float32 and torch.equal(state[name], kept[name]) for name in kept)
