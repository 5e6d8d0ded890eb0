"""The command that trains what ships with nano."""

import time
from pathlib import Path

import pytest

from benchmarks import train_nano
from benchmarks.train_nano import SIDES, TASKS, TRIAL, WARM_UP, WHOLE_CROPS, Training, affordable
from toolkit.finetune.recipes import find_recipe
from toolkit.pretrain.recipe import RECIPES, read_recipe


def training(**changed):
    values = {"portraits": Path("faces"), "manifest": None, "only": None, "work": Path("work"), "clips": 2}
    return Training(**values | {"minutes": None, "device": "cpu"} | changed)


def test_time_is_shared_by_the_removers_and_unlimited_unless_given():
    assert training().seconds is None
    assert training(minutes=12).seconds * len(TASKS) == 12 * 60


def test_portraits_are_named_to_each_command():
    assert training().sources == ["--portraits", "faces"]
    named = training(manifest=Path("list.csv"), only="train: yes").sources
    assert named[2:] == ["--manifest", "list.csv", "--only", "train: yes"]


def test_datasets_have_the_resolution_of_their_recipes():
    assert {find_recipe(name).read()["resolution"] for name in TASKS} == {SIDES[0]}
    recipe = read_recipe(RECIPES / "nano.json")
    assert recipe.stages["regions"].resolution == SIDES[0]
    assert {recipe.stages[name].resolution or recipe.shape.resolution for name in WHOLE_CROPS} == {SIDES[1]}


@pytest.mark.parametrize("seconds_per_step", [0.5, 4.0])
def test_steps_follow_from_the_speed_of_a_trial(monkeypatch, tmp_path, seconds_per_step):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def tried(config, watch):
        config.output.mkdir()
        for step in range(1, config.max_train_steps + 1):
            clock[0] += 100.0 if step <= WARM_UP else seconds_per_step  # the first steps are slow
            watch.advance(step)

    monkeypatch.setattr(train_nano, "finetune", tried)
    steps = affordable({"recipe": "glasses", "data": [tmp_path]}, tmp_path / "trial", 600)
    assert steps == int(0.9 * 600 / seconds_per_step) and TRIAL > WARM_UP
    assert not (tmp_path / "trial").exists()
