"""LoRAs are added to the weights of a part: their names, their formats, and `sd15-lcm`."""

import json

import pytest
import torch
from diffusers import ControlNetModel, LCMScheduler, MotionAdapter, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from toolkit.backbones import BACKBONES, Lora, describe, identity, is_same_part, load
from toolkit.backbones.lora import LowRank, add_lora, read_lora
from toolkit.errors import InputError

SD15_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8}
"""The settings of SD 1.5's UNet that differ from the defaults of its class."""


def kohya(model, rank, alpha=None, seed=0, skip=()):
    """A LoRA of all linear layers and convolutions as kohya names them, as that of AnimateLCM has."""
    torch.manual_seed(seed)
    made = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) or name.split(".")[0] in skip:
            continue
        outputs, *inputs = layer.weight.shape
        stem, kernel = f"lora_unet_{name.replace('.', '_')}", (1,) * (len(inputs) - 1)
        made[f"{stem}.lora_down.weight"] = torch.randn(rank, *inputs, device=layer.weight.device)
        made[f"{stem}.lora_up.weight"] = torch.randn(outputs, rank, *kernel, device=layer.weight.device)
        if alpha is not None:
            made[f"{stem}.alpha"] = torch.tensor(float(alpha))
    return made


@pytest.fixture
def unet(folder):
    return UNet2DConditionModel.from_pretrained(folder / "unet")


def test_kohya_names_and_alpha(unet, tmp_path):
    tensors = kohya(unet, 2, alpha=1)
    save_file(tensors | {"lora_te_text_model_x.lora_down.weight": torch.ones(2, 2)}, tmp_path / "x.safetensors")
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    add_lora(unet, read_lora(tmp_path / "x.safetensors", unet), 0.8)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    stem = "lora_unet_" + name.replace(".", "_")
    change = 0.8 * 0.5 * tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"]
    assert torch.allclose(unet.state_dict()[f"{name}.weight"], before[f"{name}.weight"] + change, atol=1e-5)
    same = [key for key, value in unet.state_dict().items() if torch.equal(value, before[key])]
    assert same and all("norm" in key or key.endswith("bias") for key in same)


def test_convolutions_equal_two_layers_in_a_row(unet):
    layer = unet.down_blocks[0].resnets[0].conv1
    torch.manual_seed(0)
    down, up = torch.randn(3, layer.in_channels, 3, 3), torch.randn(layer.out_channels, 3, 1, 1)
    pictures = torch.randn(1, layer.in_channels, 8, 8)
    with torch.no_grad():
        plain = layer(pictures)
        middle = torch.nn.functional.conv2d(pictures, down, padding=1)
        wanted = plain + torch.nn.functional.conv2d(middle, up) / 3
        add_lora(unet, {"down_blocks.0.resnets.0.conv1": LowRank(down, up, 1 / 3)})
        assert torch.allclose(layer(pictures), wanted, atol=1e-4)


@pytest.mark.parametrize(
    "names",
    [
        "unet.{}.lora_A.weight unet.{}.lora_B.weight",
        "base_model.model.{}.lora_A.weight base_model.model.{}.lora_B.weight",
        "{}.lora_A.default.weight {}.lora_B.default.weight",
        "unet.{}.lora.down.weight unet.{}.lora.up.weight",
    ],
)
def test_names_of_diffusers_and_peft(unet, tmp_path, names):
    layer = "mid_block.attentions.0.proj_in"
    width = unet.get_submodule(layer).weight.shape[0]
    down, up = (name.format(layer) for name in names.split())
    save_file({down: torch.ones(1, width, 1, 1), up: torch.ones(width, 1, 1, 1)}, tmp_path / "x.safetensors")
    found = read_lora(tmp_path / "x.safetensors", unet)
    assert list(found) == [layer] and torch.equal(found[layer].change(), torch.ones(width, width, 1, 1))


def test_linear_weights_for_a_convolution_of_one_pixel(unet, tmp_path):
    save_file(
        {
            "lora_unet_conv_shortcut.lora_down.weight": torch.ones(1, 32),
            "lora_unet_conv_shortcut.lora_up.weight": torch.ones(64, 1),
        },
        tmp_path / "x.safetensors",
    )
    model = torch.nn.ModuleDict({"conv_shortcut": torch.nn.Conv2d(32, 64, 1)})
    assert read_lora(tmp_path / "x.safetensors", model)["conv_shortcut"].change().shape == (64, 32, 1, 1)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"lora_unet_nowhere.lora_down.weight": torch.ones(1, 1)}, "no layer for 'lora_unet_nowhere"),
        ({"conv_in.weight": torch.ones(1, 1)}, "no layer for 'conv_in.weight'"),
        ({"lora_unet_conv_in.lora_down.weight": torch.ones(1, 4, 3, 3)}, "one half of conv_in"),
        (
            {
                "lora_unet_conv_in.lora_down.weight": torch.ones(1, 9, 3, 3),
                "lora_unet_conv_in.lora_up.weight": torch.ones(32, 1, 1, 1),
            },
            "conv_in has the shape",
        ),
        ({"lora_te_x.lora_down.weight": torch.ones(1, 1)}, "has no layer for a UNet2DConditionModel"),
    ],
)
def test_files_that_do_not_fit(unet, tmp_path, tensors, sentence):
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=sentence):
        read_lora(tmp_path / "x.safetensors", unet)


def test_damaged_file(unet, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"x\.safetensors is damaged"):
        read_lora(tmp_path / "x.safetensors", unet)


def test_part_with_a_lora_is_loaded_with_it_and_stays_the_same_part(folder, unet, tmp_path):
    save_file(kohya(unet, 2, alpha=2), folder / "unet" / "fast.safetensors")
    plain = describe(folder)
    lora = Lora(folder=folder / "unet", file="fast.safetensors", weight=0.5)
    spec = plain.model_copy(update={"unet": plain.unet.model_copy(update={"loras": (lora,)})})
    add_lora(unet, read_lora(folder / "unet" / "fast.safetensors", unet), 0.5)
    loaded = load(spec, ("unet",)).unet.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in unet.state_dict().items())
    one, other = (identity(each, ("unet",))["parts"]["unet"] for each in (plain, spec))
    assert one["weights"] == other["weights"] and other["loras"][0]["weight"] == 0.5 and "loras" not in one
    assert is_same_part(spec, "unet", one) and is_same_part(plain, "unet", other)


def test_description_in_a_file(folder):
    spec = describe(folder).model_dump(mode="json", exclude_defaults=True)
    for name in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        spec[name]["folder"] = name
    spec = {name: value for name, value in spec.items() if "controlnet" not in name and name != "motion_adapter"}
    spec["unet"]["loras"] = [{"folder": "unet", "file": "fast.safetensors"}]
    (folder / "backbone.json").write_text(json.dumps(spec))
    assert describe(folder).unet.loras[0].folder == folder / "unet"
    spec["unet"]["loras"][0]["folder"] = "../elsewhere"
    (folder / "backbone.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match="must be inside"):
        describe(folder)


def test_sd15_lcm_is_sd15_with_another_motion_adapter_scheduler_and_a_lora():
    plain, fast = BACKBONES["sd15"], BACKBONES["sd15-lcm"]
    differing = {name for name in plain.parts if plain.parts[name] != fast.parts[name]}
    assert differing == {"unet", "scheduler", "motion_adapter"}
    assert fast.unet.model_copy(update={"loras": ()}) == plain.unet
    assert 4 <= fast.num_inference_steps <= 8
    assert (fast.unet.loras[0].file, fast.unet.loras[0].weight) == ("AnimateLCM_sd15_t2v_lora.safetensors", 0.8)
    assert fast.motion_adapter.repository == fast.unet.loras[0].repository == "wangfuyun/AnimateLCM"
    assert fast.motion_beta_schedule == "linear"


def test_lora_of_animate_lcm_fits_the_layout_of_sd15():
    """The real layout, without memory: rank 64 in 16 bits gives the 135 MB that the repository lists."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD15_UNET)
        tensors = kohya(unet, 64, skip=("conv_in", "conv_out", "time_embedding"))
    size = sum(value.numel() * 2 for value in tensors.values())
    assert 134e6 < size < 136e6
    layers = {name.replace(".", "_") for name, _ in unet.named_modules()}
    assert all(key.removeprefix("lora_unet_").split(".")[0] in layers for key in tensors)


def test_steps_of_lcm_with_random_weights(folder):
    """The edit's pieces work together: a UNet with a LoRA and motion layers, four steps of LCM."""
    from diffusers import UNetMotionModel

    save_file(kohya(UNet2DConditionModel.from_pretrained(folder / "unet"), 2), folder / "unet" / "fast.safetensors")
    plain = describe(folder)
    lora = Lora(folder=folder / "unet", file="fast.safetensors", weight=0.01)
    spec = plain.model_copy(
        update={
            "unet": plain.unet.model_copy(update={"loras": (lora,)}),
            "scheduler": plain.scheduler.model_copy(update={"class_name": "LCMScheduler"}),
        }
    )
    loaded = load(spec, ("unet", "scheduler", "motion_adapter", "controlnet_tile"))
    assert isinstance(loaded.scheduler, LCMScheduler) and isinstance(loaded.motion_adapter, MotionAdapter)
    unet = UNetMotionModel.from_unet2d(loaded.unet, loaded.motion_adapter).eval()
    scheduler = LCMScheduler.from_config(loaded.scheduler.config, beta_schedule="linear")
    scheduler.set_timesteps(4)
    latents, states = torch.randn(1, 4, 2, 8, 8), torch.zeros(2, 77, 32)
    with torch.no_grad():
        for t in scheduler.timesteps:
            found = unet(latents, t, encoder_hidden_states=states, return_dict=False)[0]
            latents = scheduler.step(found, t, latents, return_dict=False)[0]
    assert torch.isfinite(latents).all() and isinstance(loaded.controlnet_tile, ControlNetModel)
    assert load_file(folder / "unet" / "fast.safetensors")
