"""A learned constant that replaces the text encoder in backbones with a single prompt."""

from __future__ import annotations

from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from toolkit.libraries import ConfigMixin, ModelMixin, register_to_config


class ConstantTextEncoder(ModelMixin, ConfigMixin):
    """Returns the same hidden states for every prompt, so the backbone needs no tokenizer.

    Args:
        num_tokens: length N of the constant sequence.
        hidden_size: width D, equal to the UNet's `cross_attention_dim`.
    """

    @register_to_config
    def __init__(self, num_tokens: int = 1, hidden_size: int = 768):
        super().__init__()
        self.hidden_states = torch.nn.Parameter(torch.zeros(1, num_tokens, hidden_size))

    def forward(self, input_ids: torch.Tensor | None = None, **_: Any) -> BaseModelOutput:
        """Return the constant as ``[B, N, D]``. B is the number of rows of `input_ids`, or 1 if None.

        As with `CLIPTextModel`, it is the first item of the output and its `last_hidden_state`. Other arguments, such
        as an attention mask, are ignored.
        """
        batch = 1 if input_ids is None else len(input_ids)
        return BaseModelOutput(last_hidden_state=self.hidden_states.expand(batch, -1, -1))
