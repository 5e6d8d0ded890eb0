"""Configurations from strangers whose models would take gigabytes or hours to build are refused before building."""

import json
import tracemalloc

import pytest

from toolkit.backbones import describe, load
from toolkit.errors import InputError


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("unet", {"block_out_channels": [2**21] * 2}),
        ("unet", {"layers_per_block": 10**6}),
        ("unet", {"layers_per_block": [10**6, 1]}),
        ("unet", {"cross_attention_dim": 2**40}),
        ("unet", {"down_block_types": ["DownBlock2D"] * 1000}),
        ("unet", {"norm_eps": float("nan")}),
        ("unet", {"norm_eps": float("inf")}),
        ("unet", {"in_channels": -(10**300)}),
        ("vae", {"latent_channels": 10**5000}),
        ("vae", {"block_out_channels": None}),
        ("vae", {"block_out_channels": []}),
        ("motion_adapter", {"motion_max_seq_length": 2**20}),
        ("text_encoder", {"vocab_size": 2**33}),
        ("text_encoder", {"num_hidden_layers": 10**5}),
        ("text_encoder", {"max_position_embeddings": 10**6}),
    ],
)
def test_absurd_numbers_are_refused_at_once(folder, part, changes, monkeypatch):
    def built(*args):
        raise AssertionError("a model was built")

    path = folder / part / "config.json"
    text = json.dumps(json.loads(path.read_text()) | {key: 0 for key in changes})
    for key, value in changes.items():  # Python refuses to write integers as long as these
        shown = "1" + "0" * 5000 if isinstance(value, int) and value > 10**4000 else json.dumps(value)
        text = text.replace(f'"{key}": 0', f'"{key}": {shown}')
    path.write_text(text)
    monkeypatch.setattr("toolkit.backbones.loading._from_pretrained", built)
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        load(describe(folder), parts=[part])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert peak < 50_000_000


def test_code_beside_a_configuration_is_not_run(folder):
    canary = folder / "ran"
    for part in ("unet", "text_encoder", "vae"):
        path = folder / part / "config.json"
        custom = {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}, "_name_or_path": "../../evil"}
        path.write_text(json.dumps(json.loads(path.read_text()) | custom))
        for name in ("evil.py", "__init__.py", "modeling.py"):
            (folder / part / name).write_text(f"open({str(canary)!r}, 'w')")
    load(describe(folder), parts=["unet", "text_encoder", "vae"])
    assert not canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\3\4" + bytes(100),
        b"\x80\x02cos\nsystem\n(S'touch ran'\ntR.",
        (2**62).to_bytes(8, "little") + b"{}",
        (10**9).to_bytes(8, "little") + b"{}",
        (99).to_bytes(8, "little") + b'{"a":' * 100_000,
    ],
    ids=["empty", "zip", "pickle", "huge header", "large header", "deep header"],
)
def test_weights_that_are_none(folder, data, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load(describe(folder), parts=["unet"])
    assert "\n" not in str(caught.value) and not (folder / "ran").exists()
