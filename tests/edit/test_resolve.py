"""Settings that are left open: backbone, removers, steps, and everything that is `auto`."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from toolkit.backbones import describe
from toolkit.cli import main
from toolkit.edit.config import EditConfig
from toolkit.edit.resolve import NUM_INFERENCE_STEPS, backbone_of, chosen_removers, resolve
from toolkit.errors import InputError, UsageError
from toolkit.registry import load_task_class
from toolkit.remover import read_remover, shipped_remover
from toolkit.testing import tiny_backbone, tiny_remover


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("backbones") / "tiny", text=False, vae="unshuffle", vae_scale_factor=4)


@pytest.fixture(scope="module")
def remover(tmp_path_factory, backbone):
    """A remover of stickers on the tiny backbone."""
    return tiny_remover(tmp_path_factory.mktemp("removers") / "mine", backbone)


@pytest.fixture
def shipped(monkeypatch, remover, tmp_path):
    """The task stickers comes with a remover for the tiny backbone."""
    folder = tmp_path / "shipped"
    shutil.copytree(remover, folder)
    monkeypatch.setattr(load_task_class("stickers"), "removers", {"tiny": folder})
    return folder


def resolved(**values):
    return resolve(EditConfig(device="cpu", **values))


def chosen(backbone, **values):
    return chosen_removers(EditConfig(**values), describe(backbone))


def test_a_task_comes_with_its_remover(shipped, backbone, remover):
    assert chosen(backbone, task=["stickers"]) == [shipped]
    assert resolved(task=["stickers"], backbone=str(backbone)).tasks == ["stickers"]
    assert chosen(backbone, task=["stickers"], remover=[remover]) == [remover]


def test_tasks_without_a_remover_for_the_backbone(backbone, shipped, remover):
    with pytest.raises(UsageError, match="the task glasses brings no remover for the backbone tiny; it has"):
        resolved(task=["glasses"], backbone=str(backbone))
    with pytest.raises(UsageError, match="the task stickers brings no remover for the backbone sd15"):
        resolved(task=["stickers"], backbone="sd15")
    with pytest.raises(UsageError, match="hats"):
        resolved(task=["hats"], backbone=str(backbone))
    with pytest.raises(UsageError, match="removes stickers, and --task names glasses"):
        resolved(task=["glasses"], remover=[remover], backbone=str(backbone))


def test_inpainting_instead_of_a_remover(backbone, shipped):
    found = chosen(backbone, task=["stickers", "glasses"], remover=["inpaint:glasses"])
    assert [str(name) for name in found] == [str(shipped), "inpaint:glasses"]


def test_the_backbone_is_the_one_that_the_remover_names(remover, tmp_path):
    with pytest.raises(UsageError, match=r"was trained on a backbone tiny, which is none of .*sd15"):
        resolved(remover=[remover])
    known = tmp_path / "known"
    shutil.copytree(remover, known)
    record = json.loads((known / "remover.json").read_text())
    record["backbone"]["name"] = "sd15"
    (known / "remover.json").write_text(json.dumps(record))
    assert backbone_of(EditConfig(remover=[known])) == "sd15"
    with pytest.raises(InputError, match="expected"):
        resolved(remover=[tmp_path / "nothing"])


def test_steps_are_those_that_the_backbone_was_made_for(remover, backbone, tmp_path):
    given = {"remover": [remover], "backbone": str(backbone)}
    assert resolved(**given).denoising.num_inference_steps == NUM_INFERENCE_STEPS
    few = tmp_path / "tiny"
    shutil.copytree(backbone, few)
    spec = describe(few).model_copy(update={"num_inference_steps": 2})
    values = spec.model_dump(mode="json")
    for part in values.values():
        if isinstance(part, dict):
            part["folder"] = str(part["folder"]).rpartition("/")[2]
    (few / "backbone.json").write_text(json.dumps(values))
    given["backbone"] = str(few)
    assert resolved(**given).denoising.num_inference_steps == 2
    assert resolved(**given, denoising={"num_inference_steps": 7}).denoising.num_inference_steps == 7
    with pytest.raises(UsageError, match="runs none of 2 num_inference_steps"):
        resolved(**given, denoising={"strength": 0.3})


def test_something_must_be_removed():
    with pytest.raises(ValidationError, match="name what to remove"):
        EditConfig()
    with pytest.raises(ValidationError, match="named twice"):
        EditConfig(task=["stickers", "stickers"])


def test_the_list_of_removers(shipped, tmp_path, remover, capsys):
    local = tmp_path / "runs" / "one"
    shutil.copytree(remover, local)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "remover.json").write_text("{")
    assert main(["removers", str(tmp_path)]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if " tiny " in line]
    assert len(rows) == 2 and any(str(shipped) in row for row in rows) and any(str(local) in row for row in rows)
    assert "broken" in said.err and said.err.startswith("warning: ")
    assert main(["removers", str(tmp_path), "--backbone", "sd15"]) == 0
    assert "no remover found" in capsys.readouterr().out


def test_cards(shipped, remover, capsys):
    for word in ("stickers", str(remover)):
        assert main(["removers", "--card", word]) == 0
        assert "# Remover of stickers" in capsys.readouterr().out
    assert main(["removers", "--card", "hats"]) == 2
    assert "neither a task with a remover nor the folder of one" in capsys.readouterr().err


def leaves(value):
    """All values in a tree of JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("masks", ["on", "off"])
def test_nothing_is_left_open(backbone, remover, masks):
    found = resolved(remover=[remover], backbone=str(backbone), masking={"masks": masks}).model_dump(mode="json")
    assert "auto" not in leaves(found)
    files = found["faces"]
    assert {files.pop(name) for name in ("model_file", "detector_file", "parser_file", "aligner_file")} == {None}
    assert None not in leaves({name: value for name, value in found.items() if name not in ("backbone", "options")})
    assert found["compute"] == {"device": "cpu", "dtype": "float32", "channels_last": True}
    assert str(backbone) not in json.dumps(found) and str(remover) not in json.dumps(found)


def test_rules_depend_on_whether_masks_are_exact(backbone, remover):
    def remover_of(name, masker="skin", **masking):
        options = {} if "inpaint" in str(name) else {"stickers": {"masker": masker}}
        given = {"remover": [name], "backbone": str(backbone), "masking": masking, "options": options}
        found = resolved(**given, denoising={"num_inference_steps": 2})
        return found.masking, found.removers[0]

    for masks, composite in (("on", "mask"), ("off", "crop")):
        for name in (remover, "inpaint:glasses"):
            masking, of_remover = remover_of(name, masks=masks)
            assert (masking.composite, of_remover.normalisation) == (composite, "none")
            for kind in ("ion", "ion-ring", "adain"):
                assert remover_of(name, masks=masks, normalisation=kind)[1].normalisation == kind
    for masker, masks in (("embedded", "on"), ("embedded", "off"), ("skin", "off")):
        found = remover_of(remover, masker, masks=masks)[1]
        exact = masker == "embedded"
        assert (found.exact_masks, found.second_pass, found.normalisation) == (exact, not exact, "none")
    assert not remover_of("inpaint:stickers", second_pass="on")[1].second_pass
    masking, chosen_by_hand = remover_of(remover, normalisation="ion", composite="crop")
    assert (masking.composite, masking.blend_original, chosen_by_hand.normalisation) == ("crop", True, "ion")
    blind = remover_of(remover, masks="off", normalisation="none", composite="crop")[0]
    assert not blind.finds_masks and remover_of(remover, masks="off", composite="crop")[0].finds_masks


@pytest.mark.parametrize(
    ("filled", "fills", "again"),
    [("none", False, False), ("thin", True, False), ("all", True, True), (None, True, True)],
)
def test_an_edit_shows_a_remover_what_it_was_trained_on(backbone, remover, tmp_path, filled, fills, again):
    folder = shutil.copytree(remover, tmp_path / "mine")
    record = json.loads((folder / "remover.json").read_text())
    assert record["filled"] is None
    (folder / "remover.json").write_text(json.dumps(record | {"filled": filled}))
    given = {"remover": [folder], "backbone": str(backbone), "denoising": {"num_inference_steps": 1}}
    given["options"] = {"stickers": {"masker": "skin"}}
    found = resolved(**given).removers[0]
    assert (found.fill_opaque, found.second_pass) == (fills, again)
    for chosen in (False, True):
        found = resolved(**given, masking={"fill_opaque": chosen, "second_pass": "on" if chosen else "off"})
        assert (found.removers[0].fill_opaque, found.removers[0].second_pass) == (chosen, chosen)


def test_the_shipped_removers_say_what_they_were_trained_on():
    for task, filled in (("glasses", "thin"), ("stickers", "all")):
        record = read_remover(shipped_remover(task, "nano"), verify=False).record
        assert (record.filled, record.config["augmentation"]["fill_parts"]) == (filled, filled)
        found = resolved(task=[task]).removers[0]
        assert (found.fill_opaque, found.second_pass) == (True, False)


def test_intermediate_files_lie_beside_the_output_or_where_the_user_says(backbone, remover, tmp_path):
    given = {"remover": [remover], "backbone": str(backbone)}
    assert tmp_path / resolved(**given).work_dir == tmp_path
    assert tmp_path / resolved(**given, work_dir=Path("/elsewhere")).work_dir == Path("/elsewhere")
