"""`--task-option`: the same on every verb, and one sentence for each problem."""

from typing import Any

import pytest
from pydantic import BaseModel, Field

from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.errors import UsageError


class One(BaseModel):
    task: str = Field(description="The task.")
    options: dict[str, Any] = Field(default={}, description="Options of the task.")


class Several(BaseModel):
    task: list[str] = Field(default=[], description="The tasks.")
    options: dict[str, dict[str, Any]] = Field(default={}, description="Options of the tasks.")


def options(*words, model=One):
    parser = Parser(prog="tool")
    add_settings(parser, model, list(words), common=())
    return read_settings(model, parser.parse_args(list(words))).options


@pytest.mark.parametrize(
    ("pair", "found"),
    [
        ("opacity=[0.2,0.3]", {"opacity": [0.2, 0.3]}),
        ("degradation=0.25", {"degradation": 0.25}),
        ("face_model=a=b.npz", {"face_model": "a=b.npz"}),
        ("face-model=none", {"face_model": None}),
        ("forbidden=eyes,mouth", {"forbidden": ["eyes", "mouth"]}),
        ("forbidden=[]", {"forbidden": []}),
        ("renderer=embree", {"renderer": "embree"}),
        ("stickers.renderer=embree", {"renderer": "embree"}),
    ],
)
def test_values(pair, found):
    assert options("--task", "stickers", "--task-option", pair) == found


def test_several_tasks_are_told_apart():
    words = ["--task", "glasses", "stickers", "--task-option", "glasses.masker=facer"]
    words += ["--task-option", "stickers.forbidden=mouth", "--task-option", "stickers.degradation=0"]
    wanted = {"glasses": {"masker": "facer"}, "stickers": {"forbidden": ["mouth"], "degradation": 0}}
    assert options(*words, model=Several) == wanted


def test_the_only_one_of_several_needs_no_name():
    found = options("--task", "glasses", "--task-option", "masker=facer", model=Several)
    assert found == {"glasses": {"masker": "facer"}}


def test_options_win_over_the_file_one_by_one(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"task": "stickers", "options": {"degradation": 0.1, "renderer": "embree"}}')
    found = options("--config", str(file), "--task-option", "degradation=0.3")
    assert found == {"degradation": 0.3, "renderer": "embree"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task", "stickers", "--task-option", "degradatoin=1"], "did you mean --task-option stickers.degradation?"),
        (["--task", "stickers", "--task-option", "degradation=2"], "stickers.degradation must be less than or equal"),
        (["--task", "stickers", "--task-option", "degradation"], "--task-option must be NAME=VALUE"),
        (["--task", "stickers", "--task-option", "=1"], "--task-option must be NAME=VALUE"),
        (["--task", "stickers", "--task-option", "glasses.masker=facer"], "names the task 'glasses'"),
        (["--task-option", "degradation=1"], "must name its task"),
    ],
)
def test_problem_is_one_sentence(words, sentence):
    with pytest.raises(UsageError) as raised:
        options(*words)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_ambiguous_option_names_the_tasks():
    with pytest.raises(UsageError, match=r"write TASK\.masker=facer, TASK being one of glasses, stickers"):
        options("--task", "glasses", "stickers", "--task-option", "masker=facer", model=Several)


def test_help_lists_the_options_of_the_named_task():
    parser = Parser(prog="tool")
    add_settings(parser, One, ["--task", "stickers", "--help"], common={"task"})
    text = parser.format_help()
    assert "Options of the task stickers" in text and "forbidden" in text
    plain = Parser(prog="tool")
    add_settings(plain, One, ["--task", "stickers"], common={"task"})
    assert "forbidden" not in plain.format_help()
