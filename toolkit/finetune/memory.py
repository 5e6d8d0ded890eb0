"""Computes the memory that training needs, from the shapes of the models, without a GPU and without weights.

One step runs on torch's meta device, where tensors have shapes but no content, and every tensor that lives is counted.
What a GPU takes beyond that is not counted: the CUDA context, the caches of cuDNN, and gaps between tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

GIB = 1 << 30

MARGIN = 1.1, 1.0
"""A GPU's memory beyond the live tensors: a factor, and GiB for the CUDA context. A guess, as no GPU was measured."""

_WIDE = (F.group_norm, F.layer_norm, F.mse_loss, F.softmax)
_NARROW = (F.linear, F.conv2d)
"""Operations that autocast runs in float32, and in 16 bits."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of the tensors that live during a training.

    Attributes:
        models: weights of the UNet and of the ControlNet.
        learning: gradients, and the two moments of AdamW.
        step: the most that one step adds, for example what is kept for the gradients.
    """

    models: int
    learning: int
    step: int

    @property
    def total(self) -> int:
        """All of them, in bytes."""
        return self.models + self.learning + self.step


def training_memory(
    unet: Mapping[str, Any],
    controlnet: Mapping[str, Any],
    *,
    batch: int,
    latents: tuple[int, int, int],
    tokens: int,
    dtype: torch.dtype,
    checkpointing: bool,
    lora_rank: int | None = None,
) -> TrainingMemory:
    """Count the tensors of a training with AdamW whose cache holds the encoded pictures.

    Args:
        unet, controlnet: configurations of the models.
        batch: pairs in a step.
        latents: channels, height and width of the latents.
        tokens: length of the encoded prompts.
        dtype: number format of the frozen UNet, and of what autocast runs in 16 bits.
        checkpointing: whether activations are computed again instead of kept.
        lora_rank: rank of the low-rank layers; None if the whole ControlNet is trained.
    """
    from diffusers import ControlNetModel, UNet2DConditionModel

    from toolkit.finetune.lora import attach_lora, trained_parameters

    live = _Live()
    with torch.device("meta"):
        # diffusers' own `to` warns of casts.
        frozen = torch.nn.Module.to(UNet2DConditionModel.from_config(dict(unet)), dtype).requires_grad_(False)
        trained = ControlNetModel.from_config(dict(controlnet))
        if lora_rank is not None:
            attach_lora(trained, lora_rank, 0)
        autocast = None if dtype == torch.float32 else _Autocast(dtype, {})
        for model, mode in ((frozen, None), (trained, autocast)):
            model.set_attn_processor(_FusedAttention())
            if checkpointing:
                model.enable_gradient_checkpointing(_checkpoint(mode))
            model.train()
        models, moving = _bytes([*frozen.parameters(), *trained.parameters()]), _bytes(trained_parameters(trained))
        channels, height, width = latents
        cell = 2 ** (len(trained.config.conditioning_embedding_out_channels) - 1)
        noisy = torch.empty(batch, channels, height, width, dtype=dtype)
        hint = torch.empty(batch, trained.config.conditioning_channels, cell * height, cell * width, dtype=dtype)
        states = torch.empty(batch, tokens, frozen.config.cross_attention_dim, dtype=dtype)
        times = torch.zeros(batch, dtype=torch.long)
        live.leave_out(*frozen.parameters(), *trained.parameters(), noisy, hint, states, times)
        for parameter in trained_parameters(trained):  # the gradients are counted once, beside the step
            parameter.register_post_accumulate_grad_hook(lambda one: live.leave_out(one.grad))
        with live:
            _step(frozen, trained, noisy, times, states, hint, autocast)
    return TrainingMemory(models, 3 * moving, live.peak)


def memory_advice(needed: float, with_checkpointing: float, free: float, checkpointing: bool) -> str | None:
    """What to change so that a training fits a GPU; None if it fits.

    Args:
        needed, with_checkpointing: GiB of live tensors, with the settings as they are and with gradient checkpointing.
        free: GiB of the GPU's memory that are free.
        checkpointing: whether the settings have gradient checkpointing.
    """
    needed, with_checkpointing = (MARGIN[0] * value + MARGIN[1] for value in (needed, with_checkpointing))
    if needed <= free:
        return None
    sentence = f"this training needs about {needed:.1f} GiB of memory, but the GPU has {free:.1f} GiB free"
    if not checkpointing and with_checkpointing <= free:
        return f"{sentence}; with --gradient-checkpointing it needs {with_checkpointing:.1f} GiB"
    first = "" if checkpointing else "--gradient-checkpointing and "
    return (
        f"{sentence}; use {first}a lower --train-batch-size with a higher --gradient-accumulation-steps, or --lora-rank"
    )


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _step(
    unet: Any,
    controlnet: Any,
    noisy: torch.Tensor,
    times: torch.Tensor,
    states: torch.Tensor,
    hint: torch.Tensor,
    autocast: _Autocast | None,
) -> None:
    dtype = noisy.dtype
    with nullcontext() if autocast is None else autocast:
        down, mid = controlnet(noisy, times, states, controlnet_cond=hint, return_dict=False)
        down, mid = [value.float() for value in down], mid.float()  # accelerate widens what a model returns
    found = unet(
        noisy,
        times,
        states,
        down_block_additional_residuals=[value.to(dtype) for value in down],
        mid_block_additional_residual=mid.to(dtype),
        return_dict=False,
    )[0]
    ((found.float() - torch.empty_like(found, dtype=torch.float32)) ** 2).mean().backward()


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that were made and still live; `peak` is the largest number so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._note, result)
        return result

    def leave_out(self, *tensors: torch.Tensor) -> None:
        """Do not count these tensors, or no longer."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            self.now -= self._sizes.get(key, 0)
            self._sizes[key] = 0

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, storage._cdata)
        return tensor

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


class _Autocast(TorchFunctionMode):
    """What autocast does on a GPU; torch's own does not know the meta device. Narrow copies of weights are kept.

    Args:
        copies: of the weights, by the weight's `id`.
    """

    def __init__(self, dtype: torch.dtype, copies: dict[int, torch.Tensor]):
        super().__init__()
        self._dtype, self._copies = dtype, copies

    def again(self) -> _Autocast:
        """The same for a part that is computed a second time."""
        return _Autocast(self._dtype, self._copies)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _NARROW:
            args, kwargs = tree_map_only(torch.Tensor, self._narrow, (args, kwargs))
        elif func in _WIDE:
            args, kwargs = tree_map_only(torch.Tensor, torch.Tensor.float, (args, kwargs))
        return func(*args, **kwargs)

    def _narrow(self, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            return tensor.to(self._dtype)
        if id(tensor) not in self._copies:
            self._copies[id(tensor)] = tensor.to(self._dtype)
        return self._copies[id(tensor)]


class _Fused(torch.autograd.Function):
    """The shapes of fused attention, which keeps its inputs and its output but no matrix of weights."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


class _FusedAttention:
    """A processor of diffusers' attention layers with these shapes."""

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, *_: Any, **__: Any) -> Any:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        found = _Fused.apply(attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        return attn.to_out[1](attn.to_out[0](found))


def _checkpoint(autocast: _Autocast | None) -> Any:
    """Gradient checkpointing as diffusers does it; a part that is computed again is cast as at first."""

    def contexts() -> tuple[Any, Any]:
        return nullcontext(), nullcontext() if autocast is None else autocast.again()

    def run(module: Any, *inputs: Any) -> Any:
        return checkpoint(module.__call__, *inputs, use_reentrant=False, context_fn=contexts)

    return run
