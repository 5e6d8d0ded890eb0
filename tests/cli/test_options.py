"""Flags from pydantic models: names, help, values, and one sentence for each problem."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.cli.options import Parser, add_arguments, describe, flag, from_arguments, read_grouped
from toolkit.errors import ContractError, UsageError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clip_length: int = Field(40, ge=1, le=512, description="frames of a clip")
    share: float = Field(0.5, gt=0, lt=1, description="share, 100% at most")
    videos: list[Path] = Field(default=[], description="files")
    output: Path | None = Field(None, description="folder")
    mode: Literal["fast", "slow", 3] = Field("fast", description="how")
    colour: Colour = Field(Colour.RED, description="which")
    shade: Colour | None = Field(None, description="another")
    loud: bool = Field(False, description="whether")
    size: tuple[float, float] = Field((0.2, 0.6), description="smallest and largest")
    names: tuple[str, ...] = Field(("a",), description="some")
    limit: Annotated[int, Field(ge=2)] | None = Field(None, description="at most")
    extra: dict[str, int] = Field(default={}, description="more")

    @model_validator(mode="after")
    def _ordered(self):
        if self.size[0] > self.size[1]:
            raise ValueError("size must be in order")
        return self


class Needs(BaseModel):
    source: Path = Field(description="what to read")
    output: Path = Field(description="where to write")


def parse(*words, model=Settings, **kwargs):
    parser = Parser(prog="tool")
    add_arguments(parser, model, **kwargs)
    return from_arguments(model, parser.parse_args(list(words)))


def test_nothing_given_is_the_defaults():
    assert parse() == Settings()
    assert parse().model_fields_set == set()


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--clip-length", "7"], "clip_length", 7),
        (["--clip-length=7"], "clip_length", 7),
        (["--share", "0.25"], "share", 0.25),
        (["--videos", "a.mp4", "b c.mp4"], "videos", [Path("a.mp4"), Path("b c.mp4")]),
        (["--output", "x/y"], "output", Path("x/y")),
        (["--output", "none"], "output", None),
        (["--mode", "slow"], "mode", "slow"),
        (["--mode", "3"], "mode", 3),
        (["--colour", "blue"], "colour", Colour.BLUE),
        (["--shade", "red"], "shade", Colour.RED),
        (["--loud"], "loud", True),
        (["--no-loud"], "loud", False),
        (["--size", "0.1", "0.3"], "size", (0.1, 0.3)),
        (["--names", "x", "y", "z"], "names", ("x", "y", "z")),
        (["--names"], "names", ()),
        (["--limit", "2"], "limit", 2),
        (["--limit", "None"], "limit", None),
        (["--extra", '{"a": 1}'], "extra", {"a": 1}),
    ],
)
def test_value_of_a_flag(words, field, value):
    settings = parse(*words)
    assert getattr(settings, field) == value
    assert settings.model_fields_set == {field}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--clip-length", "0"], "--clip-length must be greater than or equal to 1, found '0'"),
        (["--clip-length", "x"], "--clip-length must be a valid integer, found 'x'"),
        (["--clip-length", "2.5"], "--clip-length must be a valid integer, found '2.5'"),
        (["--share", "1"], "--share must be less than 1, found '1'"),
        (["--share", "nan"], "--share must be"),
        (["--mode", "quick"], "--mode must be 'fast', 'slow' or 3, found 'quick'"),
        (["--colour", "green"], "--colour must be 'red' or 'blue', found 'green'"),
        (["--size", "0.5", "0.1"], "size must be in order"),
        (["--size", "a", "1"], "--size[0] must be a valid number, found 'a'"),
        (["--limit", "1"], "--limit must be greater than or equal to 2, found '1'"),
        (["--extra", "words"], "--extra must be a valid dictionary, found 'words'"),
        (["--size", "1"], "expected 2 arguments"),
        (["--clip-len", "3"], "unknown option --clip-len, did you mean --clip-length?"),
        (["--cliplength=3"], "unknown option --cliplength, did you mean --clip-length?"),
        (["stray"], "unknown argument stray"),
    ],
)
def test_problem_is_one_sentence(words, sentence):
    with pytest.raises(UsageError) as raised:
        parse(*words)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value) and "pydantic" not in str(raised.value)


def test_every_problem_is_named():
    with pytest.raises(UsageError) as raised:
        parse("--clip-length", "0", "--share", "2")
    assert "--clip-length must be" in str(raised.value) and "--share must be" in str(raised.value)


def test_required_fields_and_positions():
    with pytest.raises(UsageError, match="--source is required; --output is required"):
        parse(model=Needs)
    found = parse("in.mp4", "--output", "o", model=Needs, positional=("source",))
    assert (found.source, found.output) == (Path("in.mp4"), Path("o"))


def test_excluded_field_has_no_flag():
    with pytest.raises(UsageError, match="unknown option --extra"):
        parse("--extra", "{}", exclude=("extra",))


def test_given_flags_win_over_the_base():
    parser = Parser(prog="tool")
    add_arguments(parser, Settings)
    base = Settings(clip_length=3, loud=True)
    found = from_arguments(Settings, parser.parse_args(["--clip-length", "9"]), base)
    assert (found.clip_length, found.loud, found.share) == (9, True, 0.5)


class Motion(BaseModel):
    model_config = ConfigDict(extra="forbid")

    motion: bool = Field(True, description="whether")


class Grouped(BaseModel):
    motion: Motion = Field(Motion(), description="a group with a field of its own name")
    seed: int = Field(0, description="which")


def test_a_flag_of_a_group_may_have_its_name():
    parser = Parser(prog="tool")
    add_arguments(parser, Grouped, exclude=("motion",))
    add_arguments(parser, Motion)
    for word, wanted in (("--motion", True), ("--no-motion", False)):
        given = parser.parse_args([word, "--seed", "3"])
        given.config = None
        found = read_grouped(Grouped, {"motion": (Motion, "motion")}, given)
        assert (found.motion.motion, found.seed) == (wanted, 3)


def test_help_has_flag_description_bounds_and_default():
    parser = Parser(prog="tool")
    add_arguments(parser, Settings, title="the settings")
    text = " ".join(parser.format_help().split())
    assert "the settings" in text
    assert "--clip-length INT frames of a clip (at least 1, at most 512; default: 40)" in text
    assert "share, 100% at most (over 0, under 1; default: 0.5)" in text
    assert "--loud, --no-loud whether" in text
    assert "--mode {fast,slow,3}" in text and "--colour {red,blue}" in text


def test_described_rows():
    rows = {row.name: row for row in describe(Settings)}
    assert list(rows) == list(Settings.model_fields)
    assert (rows["clip_length"].type, rows["clip_length"].default) == ("int", "40")
    assert (rows["limit"].type, rows["limit"].bounds) == ("int | none", "at least 2")
    assert rows["size"].type == "list of float, float" and rows["size"].bounds == ""
    assert rows["colour"].type == "red | blue" and rows["colour"].default == "red"
    assert describe(Needs)[0].default is None


def test_flag_that_is_taken_is_a_fault_of_the_model():
    parser = Parser(prog="tool")
    parser.add_argument("--share")
    with pytest.raises(ContractError, match="cannot have an option `share`"):
        add_arguments(parser, Settings)


def test_flag_spelling():
    assert flag("min_clip_length") == "--min-clip-length"
