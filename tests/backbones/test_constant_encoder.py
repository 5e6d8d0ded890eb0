"""A learned constant that replaces a text encoder."""

import torch

from toolkit.backbones import ConstantTextEncoder


def test_every_prompt_gives_the_constant():
    encoder = ConstantTextEncoder(num_tokens=3, hidden_size=5)
    torch.nn.init.normal_(encoder.hidden_states)
    assert encoder()[0].shape == (1, 3, 5)
    output = encoder(torch.randint(0, 9, (4, 77)), attention_mask=None)
    assert output[0].shape == (4, 3, 5)
    assert torch.equal(output.last_hidden_state, encoder.hidden_states.expand(4, -1, -1))


def test_it_learns():
    encoder = ConstantTextEncoder(1, 2)
    (encoder(torch.zeros(3, 7, dtype=torch.long))[0] - 1).square().sum().backward()
    assert torch.equal(encoder.hidden_states.grad, torch.full((1, 1, 2), -6.0))


def test_saved_and_loaded(tmp_path):
    encoder = ConstantTextEncoder(2, 4)
    torch.nn.init.normal_(encoder.hidden_states)
    encoder.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    loaded = ConstantTextEncoder.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert loaded()[0].dtype == torch.bfloat16
    assert torch.equal(loaded()[0], encoder()[0].bfloat16())
