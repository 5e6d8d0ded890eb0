"""Reading a remover, and errors for all kinds of damaged folders."""

import json
import os
import shutil
import threading
import time

import pytest

from toolkit.backbones import describe
from toolkit.errors import InputError
from toolkit.remover import Remover, RemoverRecord, check_backbone, is_remover, read_remover
from toolkit.remover.layout import RECORD, WRITTEN
from toolkit.testing import tiny_backbone

WEIGHTS = "controlnet/diffusion_pytorch_model.safetensors"


def change(folder, **values):
    """Rewrite the record with other values. None removes a key."""
    document = json.loads((folder / RECORD).read_text())
    document.update(values)
    (folder / RECORD).write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


def files_of(folder):
    return json.loads((folder / RECORD).read_text())["files"]


def test_intact_remover(remover):
    found = read_remover(str(remover))
    assert found.folder == remover and found.controlnet == remover / "controlnet"
    assert is_remover(remover)


def test_the_card_may_be_edited(remover):
    (remover / "README.md").write_text("mine")
    assert read_remover(remover)
    (remover / "README.md").unlink()
    with pytest.raises(InputError, match=r"README\.md is missing"):
        read_remover(remover)


def test_other_files_in_the_folder_are_ignored(remover):
    (remover / ".gitattributes").write_text("")
    (remover / "images" / "other.png").write_bytes(b"")
    assert read_remover(remover)


def test_no_remover(tmp_path, remover):
    with pytest.raises(InputError, match="found nothing at"):
        read_remover(tmp_path / "nowhere")
    with pytest.raises(InputError, match="found a file at"):
        read_remover(remover / RECORD)
    (remover / RECORD).unlink()
    assert not is_remover(remover)
    with pytest.raises(InputError, match=r"expected a remover with a remover\.json in .*has not written one yet"):
        read_remover(remover)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"schema_version": "new"}',
        b'["\\ud800"]',
    ],
)
def test_damaged_record(remover, data):
    (remover / RECORD).write_bytes(data)
    with pytest.raises(InputError, match=r"remover\.json is damaged: "):
        read_remover(remover)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"step": None}, "step: Field required"),
        ({"step": -1}, "step: "),
        ({"tasks": []}, "tasks: "),
        ({"prompts": {"glasses": "x"}}, "one prompt for each of"),
        ({"backbone": {"name": "x", "parts": {"unet": {}}}}, "backbone.parts must describe the vae"),
        ({"backbone": {"parts": 3}}, "backbone.parts must describe the unet"),
        ({"colour": "red"}, "colour: Extra"),
        ({"held_out": {"removal": float("nan")}}, "held_out.removal: "),
        ({"prediction_type": "flow"}, "prediction_type: "),
        ({"files": [1]}, "files: "),
    ],
)
def test_record_with_bad_values(remover, values, where):
    change(remover, **values)
    with pytest.raises(InputError, match="damaged: ") as caught:
        read_remover(remover)
    assert where in str(caught.value)


def test_newer_format(remover):
    change(remover, schema_version=2, something="new")
    with pytest.raises(InputError, match="has version 2 of the format, but this toolkit supports up to 1: update it"):
        read_remover(remover)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.safetensors", "/etc/passwd", "controlnet/../../x", "controlnet\\x", "C:/x", "", "controlnet//x"),
        *("./README.md", "checkpoint-10/training.json", "controlnet", "remover.json", "images/", "controlnet/a\0b"),
    ],
)
def test_unsafe_path(remover, name):
    change(remover, files=files_of(remover) | {name: "0" * 64})
    with pytest.raises(InputError, match="which is no safe path in a remover; do not trust"):
        read_remover(remover, verify=False)


@pytest.mark.parametrize("name", [WEIGHTS, "controlnet/config.json"])
def test_no_controlnet_among_the_files(remover, name):
    files = files_of(remover)
    del files[name]
    change(remover, files=files)
    with pytest.raises(InputError, match=r"names no controlnet/config\.json with safetensors beside it"):
        read_remover(remover)


@pytest.mark.parametrize("name", [WEIGHTS, "controlnet/config.json", "images/grid.jpg"])
def test_missing_or_changed_file(remover, name):
    data = (remover / name).read_bytes()
    (remover / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{name} is damaged or was changed"):
        read_remover(remover)
    assert isinstance(read_remover(remover, verify=False), Remover)
    (remover / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_remover(remover, verify=False)
    (remover / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_remover(remover, verify=False)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "extra/x.PT", "a.ckpt", "b.pkl"])
def test_pickle(remover, name):
    path = remover / "controlnet" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="is a pickle, which could run code"):
        read_remover(remover, verify=False)
    path.unlink()
    change(remover, files=files_of(remover) | {f"controlnet/{name}": "0" * 64})
    with pytest.raises(InputError, match="a pickle, which could run code; only safetensors are loaded"):
        read_remover(remover, verify=False)


def test_unlisted_file_in_the_controlnet(remover):
    (remover / "controlnet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is not part of the remover"):
        read_remover(remover)


def test_what_file_managers_leave_is_ignored(remover):
    for folder in (remover, remover / "controlnet", remover / "images"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._config.json", "._weights.bin"):
            (folder / name).write_bytes(b"\0")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._config.json").write_bytes(b"\0")
    assert read_remover(remover).folder == remover


@pytest.mark.parametrize("name", [WEIGHTS, "controlnet", "images", RECORD, "controlnet/elsewhere"])
def test_link(remover, tmp_path, name):
    path = remover / name
    if path.exists():
        shutil.move(path, tmp_path / "target")
    else:
        (tmp_path / "target").mkdir()
    path.symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"is a link|is not part of the remover"):
        read_remover(remover)


def test_folder_may_be_reached_by_a_link(remover, tmp_path):
    (tmp_path / "latest").symlink_to(remover)
    assert read_remover(tmp_path / "latest")


def test_unreadable_file(remover, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("toolkit.remover.reading.sha256_of", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_remover(remover)


def test_reader_waits_while_it_is_being_replaced(remover):
    """Between two renames, the folder holds files of two removers."""
    weights = (remover / WEIGHTS).read_bytes()
    (remover / WRITTEN).mkdir()
    (remover / WEIGHTS).write_bytes(b"of the next remover")

    def go_on():
        time.sleep(0.15)
        (remover / WEIGHTS).write_bytes(weights)
        os.rmdir(remover / WRITTEN)

    other = threading.Thread(target=go_on)
    other.start()
    try:
        assert read_remover(remover).record.step == 750
    finally:
        other.join()


def test_backbone_of_the_training(remover, backbone, tmp_path):
    found = read_remover(remover)
    check_backbone(found, describe(backbone))
    moved = shutil.copytree(backbone, tmp_path / "under another name")
    check_backbone(found, describe(moved))
    shutil.rmtree(moved / "motion_adapter")
    check_backbone(found, describe(moved))


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_backbone_with_another_part(remover, backbone, tmp_path, part):
    other = shutil.copytree(backbone, tmp_path / "other")
    seeded = tiny_backbone(tmp_path / "seeded", seed=1, text=False, vae="tiny")
    shutil.copy(seeded / part / "diffusion_pytorch_model.safetensors", other / part)
    with pytest.raises(InputError, match=f"trained on the backbone tiny, but other is different: its {part} is the"):
        check_backbone(read_remover(remover), describe(other))


def test_backbone_with_another_prediction_type(remover, backbone):
    spec = describe(backbone).model_copy(update={"prediction_type": "v_prediction"})
    with pytest.raises(InputError, match="its prediction_type is v_prediction, not epsilon"):
        check_backbone(read_remover(remover), spec)


def test_backbone_of_a_repository(remover, backbone, record):
    """A record of an earlier release names the repository only, with which a folder cannot be compared."""
    part = {
        "class_name": "UNet2DConditionModel",
        "repository": "some/one",
        "subfolder": "unet",
        "revision": "0123456789abcdef",
        "variant": "fp16",
    }
    parts = record.backbone["parts"] | {"unet": part}
    change(remover, backbone={"name": "sd15", "parts": parts})
    with pytest.raises(InputError, match=r"unet is the UNet2D.* not some/one/unet at 0123456789ab \(fp16\); select"):
        check_backbone(read_remover(remover), describe(backbone))


def test_record_refuses_what_json_cannot_hold(record):
    values = record.model_dump() | {"held_out": {"removal": float("inf")}}
    with pytest.raises(ValueError, match="finite number"):
        RemoverRecord.model_validate(values)
