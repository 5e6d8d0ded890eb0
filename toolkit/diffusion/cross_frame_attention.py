"""Cross-frame attention: self-attention whose keys and values come from reference frames (V-LASIK, eq. 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0

from toolkit.errors import UsageError


class CrossFrameProcessor:
    """Attention processor of one layer: softmax(Q [K_1 .. K_k]^T / sqrt(d)) [V_1 .. V_k].

    A batch is ``groups`` runs of frames, such as the halves of classifier-free guidance, which never see each other.
    All else is as in `diffusers.models.attention_processor.AttnProcessor2_0`.
    """

    def __init__(self, control: CrossFrameAttention):
        self._control = control
        self._key: torch.Tensor | None = None
        self._value: torch.Tensor | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``[groups * frames, S, channels]``, or ``[.., channels, h, w]``, to the same shape.

        Raises:
            UsageError: the layer attends to something else than the frames, or nothing was recorded for this batch.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise UsageError("cross-frame attention takes the place of self-attention without a mask only")
        groups = self._control.groups
        if len(hidden_states) % groups:
            raise UsageError(f"expected a batch of {groups} equal groups of frames, found {len(hidden_states)} entries")

        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        shape = hidden_states.shape
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)

        if self._control.references:
            self._record(attn, hidden_states, groups)
        if self._key is None or len(self._key) != groups:
            raise UsageError("cross-frame attention needs a recorded pass of the reference frames, in the same groups")
        # The frames of a group share their keys, so their queries form one long sequence and no key is copied.
        query = self._heads(attn, attn.to_q(hidden_states), groups)
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        attended = F.scaled_dot_product_attention(query, self._key, self._value)
        hidden_states = attended.transpose(1, 2).reshape(*hidden_states.shape[:2], -1).to(query.dtype)

        hidden_states = attn.to_out[1](attn.to_out[0](hidden_states))
        if len(shape) == 4:
            hidden_states = hidden_states.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        return hidden_states / attn.rescale_output_factor

    def _record(self, attn: Attention, hidden_states: torch.Tensor, groups: int) -> None:
        """Keep the keys and values of the first frames of each group, ``[groups, heads, k * S, d]``."""
        frames = hidden_states.unflatten(0, (groups, -1))[:, : self._control.references].flatten(0, 1)
        key = self._heads(attn, attn.to_k(frames), groups)
        self._key = key if attn.norm_k is None else attn.norm_k(key)
        self._value = self._heads(attn, attn.to_v(frames), groups)

    @staticmethod
    def _heads(attn: Attention, projected: torch.Tensor, groups: int) -> torch.Tensor:
        """``[groups * n, S, heads * d]`` to ``[groups, heads, n * S, d]``."""
        return projected.reshape(groups, -1, attn.heads, projected.shape[-1] // attn.heads).transpose(1, 2)


class CrossFrameAttention:
    """Puts cross-frame attention in the place of every self-attention (``attn1``) of some models while it is entered.

    Motion modules, whose attention goes along time, keep theirs.

    In each denoising step the first batch of frames is recorded and the rest, in batches of any size, reuse what was
    recorded::

        with CrossFrameAttention(unet, controlnet) as attention:
            attention.record(references=2, groups=2)  # the first 2 frames of each group are the references
            unet(torch.cat([first_frames] * 2), ...)
            attention.reuse(groups=2)
            unet(torch.cat([more_frames] * 2), ...)

    The result is that of one batch of all frames; the keys and values of the references are computed once per step.

    Args:
        models: UNets and ControlNets of diffusers.

    Raises:
        UsageError: on entering: no model has self-attention, or a layer's processor is not the plain one.
    """

    def __init__(self, *models: torch.nn.Module):
        self._models = models
        self._originals: list[tuple[Attention, object]] = []
        self.groups = 1
        self.references = 0

    def __enter__(self) -> CrossFrameAttention:
        layers = [
            (f"{type(model).__name__}.{name}", layer)
            for model in self._models
            for name, layer in model.named_modules()
            if name.rpartition(".")[2] == "attn1" and ".motion_modules." not in name and isinstance(layer, Attention)
        ]
        if not layers:
            raise UsageError("cross-frame attention needs models with self-attention, found none; turn it off")
        for name, layer in layers:
            if type(layer.processor) not in (AttnProcessor, AttnProcessor2_0) or layer.fused_projections:
                raise UsageError(
                    f"cross-frame attention needs diffusers' plain attention, found {type(layer.processor).__name__} "
                    f"in {name}; undo fused projections, attention slicing or xformers first, or turn it off"
                )
        for _, layer in layers:
            self._originals.append((layer, layer.processor))
            layer.set_processor(CrossFrameProcessor(self))
        return self

    def __exit__(self, *error) -> None:
        for layer, processor in self._originals:
            layer.set_processor(processor)
        self._originals.clear()
        self.references = 0

    def record(self, references: int, groups: int = 1) -> None:
        """From now on the first `references` frames of each of the `groups` of a batch are kept as references."""
        self.references, self.groups = references, groups

    def reuse(self, groups: int = 1) -> None:
        """From now on frames attend to the references recorded last."""
        self.references, self.groups = 0, groups
