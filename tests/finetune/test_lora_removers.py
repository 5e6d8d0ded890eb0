"""Low-rank removers: small files, that edits, resumed trainings, diffusers and peft read alike."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file

from toolkit.backbones import describe, load
from toolkit.errors import InputError, UsageError
from toolkit.finetune import finetune
from toolkit.finetune.lora import attach_lora, load_trained, merged_copy, save_trained, trained_parameters
from toolkit.remover import check_backbone, read_remover
from toolkit.remover.layout import LORA_WEIGHTS


@pytest.fixture(scope="module")
def finished(make_settings, tmp_path_factory):
    """A finished low-rank training of 4 steps; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "remover"
    finetune(make_settings(folder, lora_rank=2, loss={"use_ema": True}))
    return folder


def inputs():
    torch.manual_seed(0)
    return torch.randn(1, 4, 8, 8), 5, torch.randn(1, 77, 32), torch.rand(1, 3, 64, 64)


def outputs(controlnet):
    noisy, t, states, hint = inputs()
    with torch.no_grad():
        down, mid = controlnet.eval()(noisy, t, states, controlnet_cond=hint, return_dict=False)
    return torch.cat([value.flatten() for value in (*down, mid)])


def trained(controlnet, rank=2):
    """Low-rank layers that change something."""
    attach_lora(controlnet, rank, 0)
    for number, parameter in enumerate(trained_parameters(controlnet)):
        torch.manual_seed(number)
        torch.nn.init.normal_(parameter, std=0.05)
    return controlnet


def test_layers_start_without_effect_and_are_all_that_is_trained(backbone):
    plain = ControlNetModel.from_pretrained(backbone / "controlnet_tile")
    before = outputs(plain)
    model = attach_lora(plain, 2, 0)
    assert torch.equal(outputs(model), before)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names and all(".lora_A." in name or ".lora_B." in name for name in names)
    outputs_with_gradient = model(*inputs()[:3], controlnet_cond=inputs()[3], return_dict=False)[1]
    outputs_with_gradient.sum().backward()
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name not in names)


def test_saved_layers_and_merged_weights_compute_the_same(backbone, tmp_path):
    model = trained(ControlNetModel.from_pretrained(backbone / "controlnet_tile"))
    wanted = outputs(model)
    save_trained(model, tmp_path)
    other = attach_lora(ControlNetModel.from_pretrained(backbone / "controlnet_tile"), 2, 1)
    assert not torch.allclose(outputs(other), wanted, atol=1e-3)
    load_trained(other, tmp_path)
    assert torch.equal(outputs(other), wanted)
    assert torch.allclose(outputs(merged_copy(model)), wanted, atol=1e-4)


@pytest.fixture(scope="module")
def learned(finished, backbone, tmp_path_factory):
    """A remover whose low-rank layers change much, and the ControlNet with them; 4 steps of training change little."""
    folder = tmp_path_factory.mktemp("learned") / "remover"
    shutil.copytree(finished, folder)
    model = trained(ControlNetModel.from_pretrained(backbone / "controlnet_tile"))
    save_trained(model, folder / "controlnet")
    return read_remover(folder, verify=False), model


def merged(remover, backbone):
    """The remover's ControlNet as an edit loads it."""
    spec = describe(backbone)
    return load(spec.model_copy(update={"controlnet_tile": remover.part(spec)}), ("controlnet_tile",)).controlnet_tile


def test_remover_is_small_and_fits_its_backbone(finished, backbone):
    remover = read_remover(finished)
    assert remover.record.lora_rank == 2
    assert sorted(path.name for path in remover.controlnet.iterdir()) == ["config.json", LORA_WEIGHTS]
    tile = (Path(backbone) / "controlnet_tile" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert (remover.controlnet / LORA_WEIGHTS).stat().st_size < 0.4 * tile
    check_backbone(remover, describe(backbone))
    moved = load_file(finished / "checkpoint-4" / "controlnet" / LORA_WEIGHTS)
    assert all(value.any() for name, value in moved.items() if ".lora_B." in name)
    assert "load_lora_adapter" in (finished / "README.md").read_text()


def test_an_edit_merges_the_layers(learned, backbone):
    remover, model = learned
    found, wanted = outputs(merged(remover, backbone)), outputs(model)
    assert torch.allclose(found, wanted, atol=1e-4)
    plain = ControlNetModel.from_pretrained(backbone / "controlnet_tile")
    assert not torch.allclose(found, outputs(plain), atol=1e-2)


def test_diffusers_with_peft_computes_the_same(learned, backbone):
    pytest.importorskip("peft", reason="the package peft is not installed")
    remover, model = learned
    plain = ControlNetModel.from_pretrained(backbone / "controlnet_tile")
    plain.load_lora_adapter(remover.controlnet, weight_name=LORA_WEIGHTS, prefix=None)
    assert torch.allclose(outputs(plain), outputs(model), atol=1e-4)
    plain.fuse_lora()
    assert torch.allclose(outputs(plain), outputs(model), atol=1e-4)


def test_resumed_training_is_the_same(make_settings, finished, tmp_path):
    config = make_settings(tmp_path / "parted", lora_rank=2, loss={"use_ema": True}, max_train_steps=2)
    finetune(config)
    finetune(config.model_copy(update={"max_train_steps": 4, "resume_from_checkpoint": "latest"}))
    one, other = (load_file(folder / "checkpoint-4/controlnet" / LORA_WEIGHTS) for folder in (finished, config.output))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_trainings_that_start_from_a_low_rank_remover(make_settings, finished, tmp_path):
    on = {"init": str(finished), "max_train_steps": 1}
    small = finetune(make_settings(tmp_path / "small", lora_rank=2, **on))
    assert read_remover(small.output).record.lora_rank == 2
    whole = finetune(make_settings(tmp_path / "whole", save_dtype="float16", **on))
    record = read_remover(whole.output).record
    assert record.lora_rank is None and "controlnet_tile" in record.backbone["parts"]
    with pytest.raises(UsageError, match=r"--lora-rank 3 needs --init tile or a remover .* has the rank 2"):
        finetune(make_settings(tmp_path / "other", lora_rank=3, **on))
    with pytest.raises(UsageError, match="--lora-rank needs --init tile"):
        finetune(make_settings(tmp_path / "unet", lora_rank=3, init="unet"))


def test_halved_file(make_settings, tmp_path):
    report = finetune(make_settings(tmp_path / "half", lora_rank=2, save_dtype="float16", max_train_steps=1))
    tensors = load_file(report.output / "controlnet" / LORA_WEIGHTS)
    assert {value.dtype for value in tensors.values()} == {torch.float16}


def test_another_tile_controlnet_is_refused(finished, backbone, tmp_path):
    other = shutil.copytree(backbone, tmp_path / "other")
    model = ControlNetModel.from_pretrained(other / "controlnet_tile")
    with torch.no_grad():
        model.conv_in.bias += 1
    model.save_pretrained(other / "controlnet_tile")
    with pytest.raises(InputError, match="its controlnet_tile is"):
        check_backbone(read_remover(finished), describe(other))
    shutil.rmtree(other / "controlnet_tile")
    with pytest.raises(InputError, match="it has no controlnet_tile"):
        check_backbone(read_remover(finished), describe(other))


def test_size_for_sd15():
    """The real layout, without memory: a rank of 8 takes a few MB in 16 bits, where the whole ControlNet takes 723."""
    with torch.device("meta"):
        model = ControlNetModel(cross_attention_dim=768)
        whole = sum(parameter.numel() for parameter in model.parameters())
        attach_lora(model, 8, 0)
    small = sum(parameter.numel() for parameter in trained_parameters(model))
    assert 2 * whole > 700e6 and 7e6 < 2 * small < 8e6
