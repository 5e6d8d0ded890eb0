"""Recipes: settings that tasks bring; the user's settings win over them."""

import json
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.errors import ContractError, InputError, UsageError
from toolkit.finetune import finetune, recipes
from toolkit.finetune.config import FinetuneConfig, LossConfig
from toolkit.finetune.recipes import Recipe, find_recipe, list_recipes
from toolkit.remover import read_remover, shipped_remover
from toolkit.task import AttributeTask

PLACES = {"data": ["d"], "output": "o"}


@pytest.fixture
def brought(monkeypatch, tmp_path):
    """A function that replaces the recipes of the installed tasks."""

    def bring(**files):
        found = []
        for name, content in files.items():
            path = tmp_path / f"{name}.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            found += [Recipe(task, name, path) for task in ("hats", "masks")[: 1 + (name == "both")]]
        monkeypatch.setattr(recipes, "list_recipes", lambda: found)

    return bring


def test_the_shipped_recipes():
    assert [str(recipe) for recipe in list_recipes()] == ["glasses/glasses", "stickers/stickers"]
    for recipe in list_recipes():
        config = FinetuneConfig(recipe=recipe.name, **PLACES)
        assert config.recipe == str(recipe) == str(find_recipe(str(recipe)))
        assert config.loss.ema_decay >= 0.99 and config.save_dtype == "float16"
    assert FinetuneConfig(recipe="stickers", **PLACES).region == (128, 128)


@pytest.mark.parametrize("task", ["glasses", "stickers"])
def test_the_shipped_removers_were_trained_with_these_values(task):
    record = json.loads((shipped_remover(task, "nano") / "remover.json").read_text())

    def compare(settings, trained):
        for name, value in settings.items():
            if isinstance(value, dict):
                compare(value, trained[name])
            elif name in trained:  # the patience decides nothing that was trained
                assert trained[name] == value, name
            else:
                assert name == "patience"

    compare(find_recipe(task).read(), record["config"])


def test_the_users_settings_win(brought):
    brought(quick={"max_train_steps": 7, "loss": {"mask_weight": 4, "use_ema": True}})
    plain = FinetuneConfig(recipe="quick", **PLACES)
    assert (plain.max_train_steps, plain.loss.mask_weight, plain.loss.use_ema) == (7, 4, True)
    for loss in ({"mask_weight": 2}, LossConfig(mask_weight=2)):
        config = FinetuneConfig(recipe="quick", max_train_steps=9, loss=loss, **PLACES)
        assert (config.max_train_steps, config.loss.mask_weight, config.loss.use_ema) == (9, 2, True)
    assert FinetuneConfig.model_validate(plain.model_dump()) == plain
    assert (
        FinetuneConfig(recipe="quick", **PLACES).content()
        == FinetuneConfig(max_train_steps=7, loss={"mask_weight": 4, "use_ema": True}, **PLACES).content()
    )


def test_flags_win_over_the_file_and_both_over_the_recipe(brought, tmp_path, monkeypatch):
    brought(quick={"max_train_steps": 7, "checkpointing_steps": 5, "loss": {"mask_weight": 4, "ema_decay": 0.5}})
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"recipe": "quick", "max_train_steps": 8, "loss": {"mask_weight": 3}}))
    seen = []
    monkeypatch.setattr("toolkit.finetune.finetuning.finetune", lambda config, observer: seen.append(config))
    assert main(["finetune", "--data", "d", "--output", "o", "--config", str(file), "--mask-weight", "2"]) == 0
    config = seen[0]
    assert (config.max_train_steps, config.checkpointing_steps) == (8, 5)
    assert (config.loss.mask_weight, config.loss.ema_decay) == (2, 0.5)


def test_an_unknown_or_ambiguous_recipe_is_an_error(brought, capsys):
    assert main(["finetune", "--data", "d", "--output", "o", "--recipe", "glases"]) == 2
    assert "there is no recipe 'glases', did you mean glasses?" in capsys.readouterr().err
    brought(both={}, quick={})
    with pytest.raises(UsageError, match="several tasks bring a recipe 'both': use hats/both or masks/both"):
        find_recipe("both")
    assert find_recipe("masks/both").task == "masks"
    with pytest.raises(UsageError, match="no recipe 'zzzzzz'; known are hats/both, masks/both, hats/quick"):
        find_recipe("zzzzzz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"max_train_stepz": 1}, "is not valid: .*max_train_stepz"),
        ({"loss": {"mask_weight": -1}}, "is not valid: .*mask_weight"),
        ({"output": "somewhere"}, "must not set 'output'"),
        ("[1]", "must be a JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_broken_recipe_is_named(brought, content, message):
    brought(broken=content)
    with pytest.raises(InputError, match=rf"the recipe hats/broken in .*broken\.json {message}"):
        FinetuneConfig(recipe="broken", **PLACES)


@pytest.mark.parametrize("wrong", [{"a/b": Path("x.json")}, {"a": "x.json"}, ["a"]])
def test_the_contract_wants_names_and_files(wrong):
    with pytest.raises(ContractError, match="`recipes` must map names without a slash to JSON files"):
        type("Hats", (AttributeTask,), {
            "name": "hats", "description": "Hats.", "api_version": 1, "prompt": "a face", "recipes": wrong,
            "masker": lambda self: None, "pair_generator": lambda self: None,
        })  # fmt: skip


def test_record_and_card_name_the_recipe(brought, settings):
    brought(quick={"validation": {"patience": 7}})
    report = finetune(settings(recipe="quick", max_train_steps=1))
    record = read_remover(report.output).record
    assert (record.config["recipe"], record.config["max_train_steps"]) == ("hats/quick", 1)
    assert "| recipe | hats/quick |" in (report.output / "README.md").read_text()
