"""A learned constant in the place of a text encoder, for backbones whose prompt never changes."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from transformers.modeling_outputs import BaseModelOutput


class ConstantTextEncoder(ModelMixin, ConfigMixin):
    """Gives the same hidden states for every prompt, so that a backbone needs neither text encoder nor tokenizer.

    Args:
        num_tokens: length N of the constant sequence.
        hidden_size: width D, which must equal the UNet's `cross_attention_dim`.
    """

    @register_to_config
    def __init__(self, num_tokens: int = 1, hidden_size: int = 768):
        super().__init__()
        self.hidden_states = torch.nn.Parameter(torch.zeros(1, num_tokens, hidden_size))

    def forward(self, input_ids: torch.Tensor | None = None, **_) -> BaseModelOutput:
        """The constant, ``[B, N, D]``; B is the number of rows of `input_ids`, or 1 without them.

        The output's first item and its `last_hidden_state` are the constant, as with `CLIPTextModel`. What else a
        pipeline hands to a text encoder, such as an attention mask, has no meaning here.
        """
        batch = 1 if input_ids is None else len(input_ids)
        return BaseModelOutput(last_hidden_state=self.hidden_states.expand(batch, -1, -1))
