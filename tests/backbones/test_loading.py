"""Loading a backbone, and errors for all kinds of damaged folders."""

import json

import pytest
import torch

from toolkit.backbones import describe, load
from toolkit.backbones.spec import PART_CLASSES
from toolkit.device import ComputeDevice
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.testing import tiny_backbone

CPU = ComputeDevice("cpu", "float32", True)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_all_parts(pristine, capfd):
    backbone = load(pristine, parts=tuple(PART_CLASSES), compute=CPU)
    for name, classes in PART_CLASSES.items():
        assert type(getattr(backbone, name)).__name__ in classes
    for name in ("vae", "unet", "text_encoder", "controlnet_inpaint", "controlnet_tile", "motion_adapter"):
        module = getattr(backbone, name)
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
    assert backbone.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert backbone.tokenizer("a face").input_ids[-1] == backbone.text_encoder.config.eos_token_id
    assert backbone.compute == CPU and backbone.spec == describe(pristine)
    assert capfd.readouterr().out == ""


def test_only_requested_parts_are_loaded_in_the_requested_dtype(pristine):
    backbone = load(pristine, parts=["unet"], compute=ComputeDevice("cpu", "bfloat16", False))
    assert backbone.vae is None and backbone.controlnet_inpaint is None
    assert {parameter.dtype for parameter in backbone.unet.parameters()} == {torch.bfloat16}


def test_constant_text_encoder_needs_no_tokenizer(tmp_path):
    backbone = load(tiny_backbone(tmp_path / "b", text=False), compute=CPU)
    assert backbone.tokenizer is None
    assert backbone.text_encoder()[0].shape == (1, 4, 32)


def test_unknown_and_missing_parts(folder):
    with pytest.raises(UsageError, match=r"no part 'unett', did you mean unet\?"):
        load(folder, parts=["unett"])
    (folder / "motion_adapter").rename(folder / "elsewhere")
    with pytest.raises(UsageError, match="has no motion_adapter; it has vae, unet"):
        load(folder, parts=["motion_adapter"])


@pytest.mark.parametrize(
    ("part", "file"), [("unet", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors")]
)
@pytest.mark.parametrize("kind", ["empty", "truncated", "garbage", "other weights"])
def test_damaged_weights(folder, part, file, kind):
    path = folder / part / file
    data = path.read_bytes()
    other = (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": data[: len(data) // 2], "garbage": b"\x93" * 500, "other weights": other}[kind]
    )
    with pytest.raises(InputError, match=f"as the {part} of the backbone .* damaged or do not match") as caught:
        load(folder, parts=[part], compute=CPU)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_not_replaced_by_random_ones(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "controlnet_inpaint" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("conv_in.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights are missing, the first is conv_in\.weight"):
        load(folder, parts=["controlnet_inpaint"], compute=CPU)


def test_device_without_memory(pristine, monkeypatch):
    def full(self, module):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(ComputeDevice, "prepare", full)
    with pytest.raises(ToolkitError, match="unet of the backbone backbone does not fit into the free memory of cpu"):
        load(pristine, parts=["unet"], compute=CPU)


def test_pickle_is_refused(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match="pickle"):
        load(folder, parts=["unet"], compute=CPU)


def test_built_in_part_that_has_only_a_bin_is_read_as_tensors(folder, tmp_path):
    """Like the tile ControlNet of sd15. A pickle with more than tensors is not executed."""
    from safetensors.torch import load_file

    spec = describe(folder)
    spec = spec.model_copy(
        update={"controlnet_tile": spec.controlnet_tile.model_copy(update={"weights_format": "bin"})}
    )
    safe = folder / "controlnet_tile" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(safe)
    safe.unlink()
    torch.save(tensors, safe.with_suffix(".bin"))
    loaded = load(spec, parts=["controlnet_tile"], compute=CPU).controlnet_tile
    assert torch.equal(loaded.conv_in.weight, tensors["conv_in.weight"])

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save(tensors | {"conv_in.bias": Evil()}, safe.with_suffix(".bin"))
    with pytest.raises(InputError, match="as the controlnet_tile"):
        load(spec, parts=["controlnet_tile"], compute=CPU)
    assert not (tmp_path / "ran").exists()


def test_damaged_tokenizer(folder):
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="expected a CLIPTokenizer as the tokenizer"):
        load(folder, parts=["tokenizer"], compute=CPU)


@pytest.mark.parametrize(
    ("file", "changes", "sentence"),
    [
        ("unet", {"cross_attention_dim": 1024}, "unet's cross_attention_dim is 1024, but the text_encoder's"),
        ("unet", {"in_channels": 9}, "unet's in_channels is 9, but the vae's latent_channels is 4"),
        ("unet", {"addition_embed_type": "text_time"}, "SDXL's extra conditions"),
        ("vae", {"latent_channels": 16}, "unet's in_channels is 4, but the vae's latent_channels is 16"),
        ("text_encoder", {"hidden_size": 768}, "the text_encoder's hidden_size is 768"),
        ("controlnet_inpaint", {"block_out_channels": [320, 640, 1280]}, r"block_out_channels is \[320, 640, 1280\]"),
        ("controlnet_inpaint", {"cross_attention_dim": 2048}, "controlnet_inpaint's cross_attention_dim is 2048"),
        ("controlnet_tile", {"conditioning_embedding_out_channels": [8, 8]}, "downscales its input 2 times"),
        ("motion_adapter", {"block_out_channels": [320, 640, 1280, 1280]}, "motion_adapter's block_out_channels"),
        ("motion_adapter", {"motion_layers_per_block": 2}, "motion_layers_per_block is 2, but the unet's"),
        ("motion_adapter", {"conv_in_channels": 9}, "has its own input layer"),
        ("unet", {"block_out_channels": 7, "in_channels": {}}, "unet's in_channels is {}"),
        ("vae", {"block_out_channels": 5}, "a value of the wrong type"),
    ],
)
def test_parts_that_do_not_fit_together(folder, file, changes, sentence):
    spec = describe(folder)
    edit(folder / file / "config.json", **changes)
    with pytest.raises(InputError, match=sentence):
        load(spec, parts=tuple(PART_CLASSES), compute=CPU)


def test_scheduler_must_predict_what_the_description_says(folder):
    spec = describe(folder)
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    with pytest.raises(InputError, match="prediction_type is v_prediction, but the description says epsilon"):
        load(spec, compute=CPU)
    assert describe(folder).prediction_type == "v_prediction"


def test_real_mixture_of_two_backbones(folder, tmp_path):
    other = tiny_backbone(tmp_path / "wide", cross_attention_dim=64)
    (folder / "controlnet_inpaint").rename(tmp_path / "old")
    (other / "controlnet_inpaint").rename(folder / "controlnet_inpaint")
    with pytest.raises(InputError, match=r"controlnet_inpaint's cross_attention_dim is 64, but the unet's .* is 32"):
        load(folder, compute=CPU)


def test_tokenizer_of_a_larger_vocabulary(folder):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.add_tokens(["glasses"])
    tokenizer.save_pretrained(folder / "tokenizer")
    with pytest.raises(InputError, match="the tokenizer has 191 tokens, but the text_encoder has embeddings for 190"):
        load(folder, compute=CPU)


def test_sharded_weights(folder):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="1MB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    loaded = load(folder, parts=["unet"], compute=CPU).unet
    assert torch.equal(loaded.conv_out.weight, unet.conv_out.weight)
    shards[0].unlink()
    with pytest.raises(InputError, match=f"names the weights file {shards[0].name}"):
        load(folder, parts=["unet"], compute=CPU)
