"""The number format that a GPU gets, and what training needs of its memory. No GPU is used."""

import pytest
import torch

from toolkit.device import tensor_float_32
from toolkit.finetune.memory import GIB, memory_advice, training_memory
from toolkit.finetune.plan import make_plan
from toolkit.finetune.setup import compute_device_of

SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8}


@pytest.fixture
def gpu(monkeypatch):
    """A function that pretends a GPU of a compute capability."""

    def pretend(*capability):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    return pretend


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "no")],
)
def test_number_format_fits_the_gpu(settings, gpu, capability, precision):
    gpu(*capability)
    plan = make_plan(settings(cpu=False))
    assert plan.config.optimisation.mixed_precision == precision
    assert plan.document["config"]["optimisation"]["mixed_precision"] == precision
    assert make_plan(settings(cpu=True)).config.optimisation.mixed_precision == "no"


def test_who_decides_the_number_format(settings, gpu, monkeypatch):
    gpu(8, 6)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert make_plan(settings(cpu=False)).config.optimisation.mixed_precision == "no"
    own = settings(cpu=False, optimisation={"mixed_precision": "fp16"})
    assert make_plan(own).config.optimisation.mixed_precision == "fp16"


def test_tensor_float_32_only_on_cuda_and_only_inside():
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    with tensor_float_32("cuda:0"):
        assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
    assert [place.fp32_precision for place in places] == before
    with tensor_float_32("cpu"):
        assert [place.fp32_precision for place in places] == before


def small(**changed):
    """The memory of a training of small models."""
    shape = {"block_out_channels": (32, 64), "norm_num_groups": 8, "cross_attention_dim": 32, "attention_head_dim": 4}
    down = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    hint = {"conditioning_embedding_out_channels": (8, 16, 16, 32)}
    unet = shape | down | {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    values = {"batch": 2, "latents": (4, 16, 16), "tokens": 7, "dtype": torch.float32, "checkpointing": False}
    return training_memory(unet, shape | down | hint, **values | changed)


def test_memory_grows_with_the_batch_and_shrinks_with_each_measure():
    base = small()
    assert small(batch=4).step > 1.8 * base.step and small(batch=4).models == base.models
    assert small(checkpointing=True).step < 0.8 * base.step
    assert small(dtype=torch.bfloat16).total < base.total
    low = small(lora_rank=2)
    assert low.learning < 0.5 * base.learning


def test_the_step_counts_what_a_real_step_keeps():
    """Against the bytes that autograd keeps for the gradients, in a real step on the CPU."""
    import gc

    from diffusers import ControlNetModel

    shape = {"block_out_channels": (32, 64), "norm_num_groups": 8, "cross_attention_dim": 32, "attention_head_dim": 4}
    controlnet = ControlNetModel(
        **shape,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        conditioning_embedding_out_channels=(8, 16, 16, 32),
    )
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in controlnet.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = controlnet(
            torch.randn(2, 4, 16, 16),
            torch.zeros(2, dtype=torch.long),
            torch.randn(2, 7, 32),
            controlnet_cond=torch.rand(2, 3, 128, 128),
            return_dict=False,
        )
    gc.collect()
    assert result and small().step > sum(kept.values())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "checkpointing", "least"), [(torch.float32, False, 18), (torch.bfloat16, True, 7)])
def test_sd15_at_a_batch_of_eight(dtype, checkpointing, least):
    """Within the bounds of an independent computation of the live tensors."""
    found = training_memory(
        SD15, SD15, batch=8, latents=(4, 64, 64), tokens=77, dtype=dtype, checkpointing=checkpointing
    )
    assert least < found.total / GIB < 1.4 * least


def test_advice():
    assert memory_advice(9, 5, 24, False) is None
    assert "with --gradient-checkpointing it needs 15" in memory_advice(22.4, 12.7, 16, False)
    assert "--gradient-checkpointing and a lower --train-batch-size" in memory_advice(22.4, 12.7, 8, False)
    again = memory_advice(12.7, 12.7, 8, True)
    assert "15.0 GiB of memory, but the GPU has 8.0 GiB free" in again and "use a lower --train-batch-size" in again


def test_frozen_models_take_the_format_of_the_training():
    class Accelerator:
        mixed_precision, device = "bf16", torch.device("cuda:0")

    compute = compute_device_of(Accelerator())
    assert (compute.dtype, compute.channels_last) == ("bfloat16", True)
