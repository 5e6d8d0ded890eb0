"""The command that trains what ships with nano."""

import time
from pathlib import Path

import pytest

from benchmarks import train_nano
from benchmarks.train_nano import RECIPES, TASKS, TRIAL, WARM_UP, Training, affordable
from toolkit.finetune.recipes import find_recipe


def training(**changed):
    values = {"portraits": Path("faces"), "manifest": None, "only": None, "work": Path("work"), "clips": 2}
    return Training(**values | {"minutes": None, "device": "cpu"} | changed)


def test_time_is_shared_by_the_removers_and_unlimited_unless_given():
    assert training().seconds is None
    assert training(minutes=12).seconds * sum(map(len, RECIPES.values())) == 12 * 60


def test_portraits_are_named_to_each_command():
    assert training().sources == ["--portraits", "faces"]
    named = training(manifest=Path("list.csv"), only="train: yes").sources
    assert named[2:] == ["--manifest", "list.csv", "--only", "train: yes"]


def test_datasets_have_the_resolution_of_their_recipes():
    for task, names in RECIPES.items():
        side = TASKS[task][TASKS[task].index("--resolution") + 1]
        assert {str(find_recipe(name).read().get("resolution", 256)) for name in names} == {side}


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
