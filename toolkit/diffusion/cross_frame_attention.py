"""Cross-frame attention: self-attention with keys and values of reference frames (V-LASIK, eq. 1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from toolkit.diffusion.attention_layers import AttentionLayer, self_attention
from toolkit.errors import UsageError


class CrossFrameProcessor:
    """Attention processor of one layer: softmax(Q [K_1 .. K_k]^T / sqrt(d)) [V_1 .. V_k].

    A batch consists of equal groups of frames, such as the two halves of classifier-free guidance, which never attend
    to each other. Otherwise it works like `diffusers.models.attention_processor.AttnProcessor2_0`.
    """

    def __init__(self, control: CrossFrameAttention):
        self._control = control
        self._key: torch.Tensor | None = None
        self._value: torch.Tensor | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend to the reference frames.

        Args:
            hidden_states: ``[groups * frames, S, channels]`` or ``[groups * frames, channels, h, w]``.

        Returns:
            The same shape as `hidden_states`.

        Raises:
            UsageError: the layer is not plain self-attention, or no references were recorded for this batch.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise UsageError("cross-frame attention can only replace self-attention without a mask")
        groups = self._control.groups
        if len(hidden_states) % groups:
            raise UsageError(f"expected a batch of {groups} equal groups of frames, found {len(hidden_states)} frames")

        layer = AttentionLayer(attn)
        entered = layer.enter(hidden_states, temb)
        if self._control.references:
            frames = entered.unflatten(0, (groups, -1))[:, : self._control.references].flatten(0, 1)
            self._key, self._value = layer.key(frames, groups), layer.value(frames, groups)
        if self._key is None or len(self._key) != groups:
            raise UsageError("cross-frame attention needs a recorded pass of the reference frames, in the same groups")
        # Frames of a group share keys. Joining their queries into one sequence avoids copying the keys.
        query = layer.query(entered, groups)
        attended = F.scaled_dot_product_attention(query, self._key, self._value)
        attended = attended.transpose(1, 2).reshape(*entered.shape[:2], -1).to(query.dtype)
        return layer.leave(attended, hidden_states)


class CrossFrameAttention:
    """Replaces every self-attention (``attn1``) of the models by cross-frame attention inside a ``with`` block.

    Motion modules keep their attention, because it runs along time.

    In each denoising step, record the references with the first batch of frames, then reuse them for the rest in
    batches of any size::

        with CrossFrameAttention(unet, controlnet) as attention:
            attention.record(references=2, groups=2)  # the first 2 frames of each group are the references
            unet(torch.cat([first_frames] * 2), ...)
            attention.reuse(groups=2)
            unet(torch.cat([more_frames] * 2), ...)

    The result is the same as with all frames in one batch. Keys and values of the references are computed once a step.

    Args:
        models: UNets and ControlNets of diffusers.

    Raises:
        UsageError: on entering, if no model has self-attention, or if a layer does not use the plain processor.
    """

    def __init__(self, *models: torch.nn.Module):
        self._models = models
        self._originals: list[tuple[AttentionLayer, object]] = []
        self.groups = 1
        self.references = 0

    def __enter__(self) -> CrossFrameAttention:
        layers = [found for model in self._models for found in self_attention(model)]
        if not layers:
            raise UsageError("cross-frame attention needs models with self-attention, found none; disable it")
        for name, layer in layers:
            if not layer.plain:
                raise UsageError(
                    f"cross-frame attention needs diffusers' plain attention, found {type(layer.processor).__name__} "
                    f"in {name}; undo fused projections, attention slicing or xformers first, or disable it"
                )
        for _, layer in layers:
            self._originals.append((layer, layer.processor))
            layer.processor = CrossFrameProcessor(self)
        return self

    def __exit__(self, *error: object) -> None:
        for layer, processor in self._originals:
            layer.processor = processor
        self._originals.clear()
        self.references = 0

    def record(self, references: int, groups: int = 1) -> None:
        """Make the first `references` frames of each group in a batch the references."""
        self.references, self.groups = references, groups

    def reuse(self, groups: int = 1) -> None:
        """Let frames attend to the references recorded last."""
        self.references, self.groups = 0, groups
