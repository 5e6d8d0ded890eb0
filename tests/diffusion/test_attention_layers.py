"""Attention layers of diffusers, whatever their class, and the command that tests other versions of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from toolkit.diffusion import CrossFrameAttention
from toolkit.diffusion.attention_layers import AttentionLayer, self_attention

ROOT = Path(__file__).parents[2]


class NewLayer(torch.nn.Module):
    """Attention as other classes of diffusers build it: no norms, no residual, one projection out."""

    def __init__(self):
        super().__init__()
        self.heads = 3
        self.to_q, self.to_k, self.to_v = (torch.nn.Linear(24, 24, bias=False) for _ in range(3))
        self.to_out = torch.nn.ModuleList([torch.nn.Linear(24, 24)])
        self.processor = AttnProcessor2_0()

    def set_processor(self, processor):
        self.processor = processor

    def forward(self, hidden_states):
        return self.processor(self, hidden_states)


class Model(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.attn1 = layer


@torch.no_grad()
@pytest.mark.parametrize(
    "layer",
    [
        lambda: Attention(query_dim=24, heads=3, dim_head=8),
        lambda: Attention(query_dim=24, heads=3, dim_head=8, norm_num_groups=4, residual_connection=True),
        lambda: Attention(query_dim=24, heads=3, dim_head=8, qk_norm="layer_norm", rescale_output_factor=2.0),
    ],
)
@pytest.mark.parametrize("shape", [(2, 10, 24), (2, 24, 4, 5)])
def test_the_pieces_put_together_are_the_layer(layer, shape):
    torch.manual_seed(0)
    module = layer().eval()
    ((_, pieces),) = self_attention(Model(module))
    assert pieces.plain
    hidden = torch.randn(shape)
    entered = pieces.enter(hidden, None)
    query, key, value = (piece(entered, 2) for piece in (pieces.query, pieces.key, pieces.value))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    made = pieces.leave(attended.transpose(1, 2).reshape(2, -1, 24), hidden)
    assert torch.allclose(made, module(hidden), atol=1e-5)


@torch.no_grad()
def test_layers_of_another_class_attend_across_frames():
    torch.manual_seed(0)
    layer = NewLayer()
    hidden = torch.randn(3, 10, 24)
    model = Model(layer)
    with CrossFrameAttention(model) as attention:
        attention.record(references=1)
        made = model.attn1(hidden)
    query, key, value = (
        projection(x).unflatten(-1, (3, 8)).transpose(1, 2)
        for projection, x in ((layer.to_q, hidden), (layer.to_k, hidden[:1]), (layer.to_v, hidden[:1]))
    )
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key.expand_as(query), value.expand_as(query))
    assert torch.allclose(made, layer.to_out[0](wanted.transpose(1, 2).flatten(2)), atol=1e-5)
    assert type(layer.processor) is AttnProcessor2_0


def test_a_processor_of_somebody_else_is_not_plain():
    class AttnProcessor(AttnProcessor2_0):
        pass

    layer = NewLayer()
    assert AttentionLayer(layer).plain
    layer.set_processor(AttnProcessor())
    assert not AttentionLayer(layer).plain


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_tests_the_oldest_and_the_newest_diffusers():
    floor = re.search(r'"diffusers>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    said = subprocess.run(["make", "-n", "test-diffusers"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"for wanted in diffusers=={floor} diffusers;" in said
    tests = re.findall(r"\btests/\S+", said)
    assert tests and all((ROOT / test).exists() for test in tests)
