"""Two distributions offer one name: ``distribution:name`` works wherever a task is named."""

import json
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.finetune.recipes import list_recipes
from toolkit.remover import shipped_removers

OURS = "vlasik-toolkit:glasses"


@pytest.fixture
def clash(install, task_source, monkeypatch):
    """Another distribution that offers `glasses`."""
    install("acme-glasses", {"glasses": "acme_glasses:Task"}, {"acme_glasses": task_source("glasses", "Acme's.")})


@pytest.fixture
def face(tmp_path):
    from toolkit.testing.sample import write_sample_video

    return write_sample_video(tmp_path / "face.mp4", frames=8, size=160)


def test_bare_name_says_what_to_write(clash, tmp_path, capsys):
    assert main(["edit", str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), "--task", "glasses"]) == 2
    message = capsys.readouterr().err
    assert f"use acme-glasses:glasses or {OURS}" in message


def test_edit(clash, face, tmp_path, capsys):
    result = tmp_path / "out.mp4"
    words = ["--task", OURS, "--task-option", f"{OURS}.masker=embedded", str(face), str(result)]
    assert main(["edit", *words]) in (0, 3), capsys.readouterr().err
    report = json.loads((tmp_path / "out.mp4.json").read_text())
    assert report["resolved"]["removers"][0]["tasks"] == [OURS]
    assert report["resolved"]["options"]["glasses"]["masker"] == "embedded"


def test_options_may_name_the_task_either_way(clash):
    from toolkit.cli.edit import configure
    from toolkit.cli.options import Parser, read_settings
    from toolkit.edit.config import EditConfig
    from toolkit.edit.resolve import resolve

    for task in ("", "glasses.", f"{OURS}."):
        parser = Parser(prog="toolkit edit")
        words = ["in.mp4", "out.mp4", "--task", OURS, "--task-option", f"{task}masker=embedded"]
        configure(parser, words)
        config = read_settings(EditConfig, parser.parse_args(words))
        assert config.options == {OURS: {"masker": "embedded"}}
        assert resolve(config).tasks == ["glasses"]


def test_help_lists_the_options(clash, capsys):
    assert main(["build-dataset", "--task", OURS, "--help"]) == 0
    assert "masker" in capsys.readouterr().out


def test_other_distribution_is_meant_when_it_is_named(clash, face, tmp_path, capsys):
    assert main(["edit", "--task", "acme-glasses:glasses", str(face), str(tmp_path / "out.mp4")]) == 2
    assert "the task acme-glasses:glasses brings no remover" in capsys.readouterr().err


def test_inpainting_and_own_remover(clash):
    from toolkit.edit.removers import mask_task, removed_tasks

    assert removed_tasks(f"inpaint:{OURS}") == {"glasses"}
    with pytest.raises(ToolkitError, match="name the task with --task"):
        mask_task("glasses", {})


def test_removers(clash, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert any(one.task == OURS for one in shipped_removers())
    for name in ("glasses", OURS, "Vlasik_Toolkit:glasses"):
        assert main(["removers", "--card", name]) == 0, name
        assert "glasses" in capsys.readouterr().out
    assert main(["removers"]) == 0
    assert OURS in capsys.readouterr().out


def test_recipes(clash):
    assert any(recipe.task == OURS for recipe in list_recipes())


def test_records_of_a_dataset_name_the_distribution(clash, face, tmp_path, capsys):
    output = tmp_path / "dataset"
    words = ["build-dataset", "--task", OURS, "--videos", str(face), "--output", str(output)]
    words += ["--task-option", "pairs=render", "--clip-length", "8", "--resolution", "64", "--workers", "1"]
    assert main(words) == 0, capsys.readouterr().err
    record = json.loads(Path(output, "config.json").read_text())
    assert record["config"]["task"] == "glasses"
    assert "vlasik-toolkit" in record["versions"] and "acme-glasses" not in record["versions"]
    assert main(words) == 0
