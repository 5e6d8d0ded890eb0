"""The only place that knows how diffusers builds attention layers: its classes change from version to version.

A layer is told by its parts and not by its class. Parts that only some classes have, such as norms, are optional.
`make test-diffusers` runs the tests with the oldest version of diffusers that is supported, and with the newest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

PARTS = ("to_q", "to_k", "to_v", "to_out", "heads", "processor", "set_processor")
"""What every attention layer has."""

PLAIN = ("AttnProcessor", "AttnProcessor2_0")
"""Processors that do nothing but attend."""


def self_attention(model: torch.nn.Module) -> Iterator[tuple[str, AttentionLayer]]:
    """The names and layers of a model's spatial self-attention (``attn1``); not that of motion modules, along time."""
    for name, layer in model.named_modules():
        if name.rpartition(".")[2] != "attn1" or ".motion_modules." in name:
            continue
        if all(hasattr(layer, part) for part in PARTS):
            yield f"{type(model).__name__}.{name}", AttentionLayer(layer)


class AttentionLayer:
    """One attention layer of diffusers.

    Args:
        layer: the module.
    """

    def __init__(self, layer: Any):
        self._layer = layer

    @property
    def processor(self) -> Any:
        """What runs when the layer is called: ``processor(layer, hidden_states, ...)``."""
        return self._layer.processor

    @processor.setter
    def processor(self, processor: Any) -> None:
        self._layer.set_processor(processor)

    @property
    def plain(self) -> bool:
        """Whether it does nothing but attend: no slices, no other library, no joined projections."""
        kind = type(self._layer.processor)
        known = kind.__name__ in PLAIN and kind.__module__.partition(".")[0] == "diffusers"
        return known and not self._optional("fused_projections", False)

    def enter(self, hidden_states: torch.Tensor, temb: torch.Tensor | None) -> torch.Tensor:
        """The normalised input as ``[B, S, channels]``, of ``[B, S, channels]`` or ``[B, channels, h, w]``."""
        if (norm := self._optional("spatial_norm")) is not None:
            hidden_states = norm(hidden_states, temb)
        if hidden_states.ndim == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if (norm := self._optional("group_norm")) is not None:
            hidden_states = norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        return hidden_states

    def query(self, hidden_states: torch.Tensor, groups: int) -> torch.Tensor:
        """Queries ``[groups, heads, n * S, d]`` of ``[groups * n, S, channels]``."""
        return self._normed("norm_q", self._heads(self._layer.to_q(hidden_states), groups))

    def key(self, hidden_states: torch.Tensor, groups: int) -> torch.Tensor:
        """Keys, in the shape of queries."""
        return self._normed("norm_k", self._heads(self._layer.to_k(hidden_states), groups))

    def value(self, hidden_states: torch.Tensor, groups: int) -> torch.Tensor:
        """Values, in the shape of queries."""
        return self._heads(self._layer.to_v(hidden_states), groups)

    def leave(self, attended: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """The layer's output, in the shape of its input.

        Args:
            attended: ``[B, S, channels]``.
            residual: the layer's input.
        """
        hidden_states = attended
        for part in self._layer.to_out:  # a projection, and dropout where there is one
            hidden_states = part(hidden_states)
        if residual.ndim == 4:
            hidden_states = hidden_states.transpose(1, 2).reshape(residual.shape)
        if self._optional("residual_connection", False):
            hidden_states = hidden_states + residual
        return hidden_states / self._optional("rescale_output_factor", 1.0)

    def _heads(self, projected: torch.Tensor, groups: int) -> torch.Tensor:
        heads = self._layer.heads
        return projected.reshape(groups, -1, heads, projected.shape[-1] // heads).transpose(1, 2)

    def _normed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        norm = self._optional(name)
        return values if norm is None else norm(values)

    def _optional(self, name: str, default: Any = None) -> Any:
        return getattr(self._layer, name, default)
