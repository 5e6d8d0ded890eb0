"""Backbones are the same if their weights are, wherever and however these are stored."""

import hashlib
import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from toolkit.backbones import BackboneSpec, Part, content, describe, identity, is_same_part, provenance
from toolkit.remover import check_backbone, read_remover
from toolkit.remover.shipped import shipped_removers

WEIGHTS = "diffusion_pytorch_model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def weights_of(folder):
    return {name: part.get("weights") for name, part in identity(describe(folder))["parts"].items()}


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A specification of the parts in `folder` as a snapshot in the Hub's cache, in which files are links to blobs."""
    root = tmp_path / "hub" / "models--some--one"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    (root / "blobs").mkdir()
    for path in sorted(folder.rglob("*.*")):
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        link = root / "snapshots" / COMMIT / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    local = describe(folder)
    parts = {
        name: Part(class_name=part.class_name, repository="some/one", subfolder=name)
        for name, part in local.parts.items()
        if name != "tokenizer"
    }
    return BackboneSpec(name="hub", resolution=local.resolution, tokenizer=local.tokenizer, **parts)


def test_hub_and_folder_agree(folder, hub):
    assert identity(hub)["parts"] == identity(describe(folder))["parts"]
    unet = provenance(hub, ["unet"])["parts"]["unet"]
    assert (unet["repository"], unet["revision"]) == ("some/one", COMMIT)
    assert is_same_part(describe(folder), "unet", unet)
    old = {key: unet[key] for key in ("class_name", "repository", "subfolder", "revision", "variant")}
    assert is_same_part(hub, "unet", old) and not is_same_part(hub, "unet", old | {"revision": "f" * 40})
    assert not is_same_part(describe(folder), "unet", old)  # a record without a digest says nothing of a folder


def test_saving_again_in_other_files_keeps_the_identity(folder):
    before = weights_of(folder)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    config = folder / "unet" / "config.json"
    values = {name: value for name, value in json.loads(config.read_text()).items() if name != "norm_eps"}
    config.write_text(json.dumps(values | {"_diffusers_version": "0.6.0"}))
    assert weights_of(folder) == before


def test_names_of_older_releases_keep_the_identity(folder):
    before = weights_of(folder)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = folder / "vae" / WEIGHTS
    old = {}
    for name, value in load_file(vae).items():
        for new, former in names.items() if "attentions" in name else ():
            name = name.replace(f".{new}.", f".{former}.")
        old[name] = value
    save_file(old, vae, metadata={"format": "pt", "made": "long ago"})
    assert any(".query." in name for name in old)
    AutoencoderKL.from_pretrained(folder / "vae")  # diffusers still reads them
    text = folder / "text_encoder" / "model.safetensors"
    older = {f"text_model.{name}": value for name, value in load_file(text).items()}
    save_file(older | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, text, metadata={"format": "pt"})
    assert weights_of(folder) == before


@pytest.mark.parametrize("change", ["weight", "heads"])
def test_other_models_differ(folder, change):
    before = weights_of(folder)
    if change == "weight":
        tensors = load_file(folder / "unet" / WEIGHTS)
        tensors["conv_in.bias"][0] += 1e-3
        save_file(tensors, folder / "unet" / WEIGHTS, metadata={"format": "pt"})
    else:
        path = folder / "unet" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"attention_head_dim": 8}))
    after = weights_of(folder)
    assert [name for name in before if before[name] != after[name]] == ["unet"]


def test_large_files_are_read_once(folder, monkeypatch):
    reads = []
    read = content._read
    monkeypatch.setattr(content, "_read", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(content, "_LARGE", 0)
    before = weights_of(folder)
    count = len(reads)
    assert count == len([name for name in before if before[name]])
    content._known.cache_clear()  # as in another process
    assert weights_of(folder) == before and len(reads) == count
    tensors = load_file(folder / "unet" / WEIGHTS)
    tensors["conv_in.bias"][0] += 1
    save_file(tensors, folder / "unet" / WEIGHTS, metadata={"format": "pt"})
    assert weights_of(folder) != before and len(reads) == count + 1


def test_a_pickle_has_the_digest_of_its_tensors(folder):
    tensors = load_file(folder / "controlnet_tile" / WEIGHTS)
    torch.save(tensors, folder / "x.bin")
    files = ([folder / "controlnet_tile" / WEIGHTS], [folder / "x.bin"])
    one, other = (content.weights_digest("ControlNetModel", {}, names) for names in files)
    assert one == other


def test_shipped_removers_fit_their_backbone():
    """Their records have the digests of files that earlier releases wrote."""
    found = shipped_removers()
    assert found
    for shipped in found:
        remover = read_remover(shipped.folder)
        check_backbone(remover, describe(shipped.backbone))
