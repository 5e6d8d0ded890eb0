"""Describing a backbone by name or folder, and errors."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.backbones import BACKBONES, backbone_names, describe, describing, identity, part_folder
from toolkit.backbones.locations import in_cache
from toolkit.backbones.spec import PART_CLASSES, BackboneSpec, Part
from toolkit.errors import InputError, MissingExtra, UsageError


def write_spec(folder, **changes):
    """A `backbone.json` that describes the folder's own parts."""
    (folder / "backbone.json").unlink(missing_ok=True)
    spec = describe(folder)
    values = json.loads(spec.model_dump_json(exclude_none=True))
    for name in spec.parts:
        values[name]["folder"] = Path(values[name]["folder"]).name
    (folder / "backbone.json").write_text(json.dumps(values | changes))
    return folder


def test_importing_and_describing_loads_no_heavy_library(pristine):
    code = (
        "import sys; from toolkit.backbones import describe, identity;"
        "from toolkit.backbones.locations import in_cache;"
        f"in_cache(describe('sd15')); identity(describe({str(pristine)!r}));"
        "sys.exit(', '.join({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_sd15_is_pinned_and_complete():
    spec = describe("sd15")
    assert set(spec.parts) == set(PART_CLASSES)
    assert spec.resolution == 512 and spec.prediction_type == "epsilon"
    for part in spec.parts.values():
        assert len(part.revision) == 40 and part.repository
    assert spec.unet.files == ("config.json", "diffusion_pytorch_model.fp16.safetensors")
    assert spec.text_encoder.weights == "model.fp16.safetensors"
    assert spec.scheduler.files == ("scheduler_config.json",)


def test_weights_that_are_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not any(in_cache(BACKBONES["sd15"]).values())
    with pytest.raises(MissingExtra, match=r"`sd15` is not in the cache .*run `toolkit fetch sd15`.*--backbone"):
        part_folder(describe("sd15"), "unet")


def test_pipeline_folder(pristine):
    spec = describe(pristine)
    assert set(spec.parts) == set(PART_CLASSES)
    assert spec.name == "backbone" and spec.resolution == 64 and spec.prediction_type == "epsilon"
    assert spec.controlnet_inpaint.folder == pristine / "controlnet_inpaint"
    assert describe(str(pristine)) == spec
    assert spec.vae.variant is None


def test_controlnet_folder_of_a_diffusers_pipeline_is_the_inpaint_one(folder):
    (folder / "controlnet_inpaint").rename(folder / "controlnet")
    assert describe(folder).controlnet_inpaint.folder == folder / "controlnet"


def test_weights_that_exist_as_a_variant_only(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    spec = describe(folder)
    assert spec.unet.variant == "fp16"
    assert part_folder(spec, "unet") == folder / "unet"


def test_unknown_name():
    with pytest.raises(UsageError, match=r"'sd1\.5' is neither .* nor a folder, did you mean sd15\?; known are sd15"):
        describe("sd1.5")


def test_file_instead_of_a_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        describe(tmp_path / "model.safetensors")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder", "tokenizer", "scheduler"])
def test_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(InputError, match=f"expected a backbone in .*has no folder {part}/; it has .*controlnet"):
        describe(folder)


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="it has none of a backbone's parts"):
        describe(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff"])
def test_damaged_configuration(folder, text):
    (folder / "unet" / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"the configuration of the unet must be .*config\.json"):
        describe(folder)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("text_encoder", {"architectures": 5}),
        ("text_encoder", {"architectures": []}),
        ("unet", {"sample_size": {"a": 1}}),
        ("unet", {"sample_size": -3}),
        ("unet", {"_class_name": ["UNet2DConditionModel"]}),
        ("vae", {"block_out_channels": 5}),
        ("scheduler", {"prediction_type": "magic"}),
    ],
)
def test_values_of_the_wrong_type(folder, part, changes):
    path = next((folder / part).glob("*config.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError) as caught:
        describe(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_part_of_another_class(folder):
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "Transformer2DModel"}))
    with pytest.raises(InputError, match=r"expected a UNet2DConditionModel as the unet, .* says Transformer2DModel"):
        describe(folder)


def test_missing_weights_and_a_pickle(folder):
    spec = describe(folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    pickle = weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match=r"pickle diffusion_pytorch_model\.bin, which could run code"):
        part_folder(spec, "vae")
    pickle.unlink()
    with pytest.raises(InputError, match=r"\(AutoencoderKL\) in .*vae, but there is no diffusion_pytorch_model"):
        part_folder(spec, "vae")


def test_spec_file(folder):
    spec = describe(write_spec(folder, name="mine", resolution=128))
    assert spec.name == "mine" and spec.resolution == 128
    assert spec.unet.folder == folder / "unet"


def test_spec_file_stays_inside(folder):
    outside = json.loads((write_spec(folder) / "backbone.json").read_text())["vae"]
    for path in ("../elsewhere", "/etc", "vae/../../other"):
        write_spec(folder, vae=outside | {"folder": path})
        with pytest.raises(InputError, match="the folder of the vae must be inside"):
            describe(folder)
    write_spec(folder, vae=outside | {"folder": "a\0b"})
    with pytest.raises(InputError, match="is not a valid path"):
        describe(folder)
    (folder / "link").symlink_to("/etc")
    write_spec(folder, vae=outside | {"folder": "link"})
    with pytest.raises(InputError, match="must be inside"):
        describe(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resolution": 0}, "resolution: Input should be greater than 0"),
        ({"color": "red"}, "color: Extra inputs are not permitted"),
        ({"unet": {"class_name": "UNet2DConditionModel"}}, "either in a repository or in a folder"),
        ({"unet": {"class_name": "Evil", "folder": "unet"}}, "the unet is a Evil, but it must be one of UNet2D"),
        (
            {"unet": {"class_name": "UNet2DConditionModel", "folder": "unet", "weights_format": "bin"}},
            "must be safetensors, because a pickle could run code",
        ),
        ({"unet": {"class_name": "UNet2DConditionModel", "repository": "a/b", "subfolder": "../x"}}, "unet.subfolder"),
    ],
)
def test_spec_file_with_bad_values(folder, changes, sentence):
    write_spec(folder, **changes)
    with pytest.raises(InputError, match=r"backbone\.json") as caught:
        describe(folder)
    assert sentence in str(caught.value)


def test_clip_needs_its_tokenizer():
    part = {"folder": "x"}
    with pytest.raises(ValueError, match="needs a tokenizer: add one"):
        BackboneSpec(
            name="x",
            resolution=64,
            vae=Part(class_name="AutoencoderKL", **part),
            unet=Part(class_name="UNet2DConditionModel", **part),
            text_encoder=Part(class_name="CLIPTextModel", **part),
            scheduler=Part(class_name="DDIMScheduler", **part),
        )


def test_embedded_backbone(folder, monkeypatch):
    write_spec(folder, name="nano")
    folder.rename(folder.parent / "nano")
    monkeypatch.setattr(describing, "EMBEDDED", folder.parent)
    assert backbone_names() == ["sd15", "sd15-lcm", "nano"]
    assert describe("nano").unet.folder == folder.parent / "nano" / "unet"


def test_identity_depends_on_content_only(pristine, folder, tmp_path):
    first, second = identity(describe(pristine)), identity(describe(folder))
    assert first == second and set(first["parts"]) == set(PART_CLASSES)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    third = identity(describe(folder))
    assert [name for name in PART_CLASSES if third["parts"][name] != first["parts"][name]] == ["scheduler"]
    assert set(identity(describe(folder), ["vae", "unet"])["parts"]) == {"vae", "unet"}
    json.dumps(first)
