"""Flags from pydantic models: names, help, values, and one sentence for each problem."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from toolkit.cli.help import bounds_of
from toolkit.cli.options import Parser, add_options, add_settings, describe, flag, read_settings
from toolkit.errors import ContractError, ToolkitError, UsageError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clip_length: int = Field(40, ge=1, le=512, description="Frames of a clip. More words.")
    share: float = Field(0.5, gt=0, lt=1, description="Share, 100% at most.")
    videos: list[Path] = Field(default=[], description="Files.")
    output: Path | None = Field(None, description="Folder.")
    mode: Literal["fast", "slow", 3] = Field("fast", description="How.")
    colour: Colour = Field(Colour.RED, description="Which.")
    shade: Colour | None = Field(None, description="Another.")
    loud: bool = Field(False, description="Whether.")
    size: tuple[float, float] = Field((0.2, 0.6), description="Smallest and largest.")
    names: tuple[str, ...] = Field(("a",), description="Some.")
    limit: Annotated[int, Field(ge=2)] | None = Field(None, description="At most.")
    extra: dict[str, int] = Field(default={}, description="More.")

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
    add_options(parser, model, **kwargs)
    return read_settings(model, parser.parse_args(list(words)))


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


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"clip_length": 3, "loud": true}')
    parser = Parser(prog="tool")
    add_settings(parser, Settings, [], common=())
    found = read_settings(Settings, parser.parse_args(["--clip-length", "9", "--config", str(file)]))
    assert (found.clip_length, found.loud, found.share) == (9, True, 0.5)


class Motion(BaseModel):
    model_config = ConfigDict(extra="forbid")

    motion: bool = Field(True, description="Whether.")


class Grouped(BaseModel):
    model_config = ConfigDict(extra="forbid")

    motion: Motion = Field(Motion(), description="A group with a field of its own name.")
    settings: Settings = Field(Settings(), title="the settings")
    seed: int = Field(0, description="Which.")


def grouped(*words, exclude=()):
    parser = Parser(prog="tool")
    add_settings(parser, Grouped, [], common={"seed", "share"}, exclude=exclude)
    return read_settings(Grouped, parser.parse_args(list(words)))


def test_a_flag_of_a_group_may_have_its_name():
    for word, wanted in (("--motion", True), ("--no-motion", False)):
        found = grouped(word, "--seed", "3")
        assert (found.motion.motion, found.seed) == (wanted, 3)


def test_settings_of_a_group_from_file_and_flags(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"settings": {"clip_length": 3, "share": 0.25}, "seed": 1}')
    found = grouped("--config", str(file), "--share", "0.75", "--no-motion")
    assert found.settings.model_dump(exclude_unset=True) == {"clip_length": 3, "share": 0.75}
    assert (found.seed, found.motion.motion) == (1, False)


def test_a_saved_record_is_a_file_of_settings(tmp_path):
    file = tmp_path / "report.json"
    file.write_text('{"schema_version": 1, "config": {"seed": 4}}')
    assert grouped("--config", str(file)).seed == 4


def test_of_a_saved_record_only_the_settings_are_taken(tmp_path):
    class Backed(Grouped):
        backbone: str = Field("nano", description="Which.")

    file = tmp_path / "remover.json"
    file.write_text('{"config": {"seed": 4, "processes": 2}, "backbone": {"name": "sd15", "sha256": "0a"}}')
    parser = Parser(prog="tool")
    add_settings(parser, Backed, [], common=())
    words = ["--config", str(file)]
    assert read_settings(Backed, parser.parse_args(words)).backbone == "sd15"
    assert read_settings(Backed, parser.parse_args([*words, "--backbone", "other"])).backbone == "other"


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ('{"seed": "x"}', [], "'seed' in {file} must be a valid integer, found 'x'"),
        ('{"settings": {"share": 2}}', [], "'settings.share' in {file} must be less than 1, found 2"),
        ('{"settings": {"share": 2}}', ["--share", "3"], "--share must be less than 1, found '3'"),
        (
            '{"settings": {"shared": 1}}',
            [],
            "unknown option 'settings.shared' in {file}, did you mean 'settings.share'?",
        ),
        ('{"sead": 1}', [], "unknown option 'sead' in {file}, did you mean 'seed'?"),
        ('{"settings": {"size": [0.5, 0.1]}}', [], "size must be in order"),
        ('{"settings": 3}', ["--share", "0.5"], "'settings' in {file} must be a valid dictionary"),
        ("[1]", [], "expected a JSON object with settings in {file}, found list"),
        ("{", [], "the settings {file} cannot be read"),
        (None, [], "the settings {file} cannot be read"),
    ],
)
def test_problem_in_a_file_is_one_sentence(tmp_path, text, words, sentence):
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ToolkitError) as raised:
        grouped("--config", str(file), *words)
    assert sentence.format(file=file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_excluded_field_of_a_group_has_no_flag():
    with pytest.raises(UsageError, match="unknown option --share"):
        grouped("--share", "0.5", exclude=["settings.share"])


def help_of(all):
    parser = Parser(prog="tool")
    add_settings(parser, Grouped, [], common={"seed", "share", "loud"})
    return " ".join(parser.format_help(all).split())


def test_help_has_flag_description_bounds_and_default():
    text = help_of(all=True)
    assert "The settings: --clip-length N" in text
    assert "--clip-length N Frames of a clip. More words. 1 to 512, default 40." in text
    assert "--share NUMBER Share, 100% at most. Between 0 and 1, default 0.5." in text
    assert "--[no-]loud Whether. Off by default." in text
    assert "--[no-]motion Whether. On by default." in text
    assert "--mode fast|slow|3" in text and "--colour red|blue" in text
    assert "--limit LIMIT" not in text and "--limit N At most. 2 or more." in text
    assert "--videos PATH ... Files. --output PATH Folder." in text


def test_help_has_two_tiers():
    text = help_of(all=False)
    assert "--seed N Which. Default 0." in text and "--share NUMBER" in text and "--config FILE" in text
    assert "--clip-length" not in text and "--motion" not in text
    assert "`tool --help-all` shows all options." in text
    assert "--help-all" not in help_of(all=True)


def test_short_help_is_the_first_sentence():
    parser = Parser(prog="tool")
    add_options(parser, Settings)
    assert "Frames of a clip. 1 to 512, default 40." in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"ge": 1, "le": 32}, "1 to 32"),
        ({"gt": 0, "le": 1}, "above 0, up to 1"),
        ({"gt": 0, "lt": 1}, "between 0 and 1"),
        ({"ge": 0, "lt": 1}, "0 to below 1"),
        ({"ge": 0}, "0 or more"),
        ({"gt": 0}, "above 0"),
        ({"le": 5}, "up to 5"),
        ({"ge": 0, "lt": 2**63}, "0 or more"),
        ({"ge": 64, "le": 2048, "multiple_of": 8}, "64 to 2048, a multiple of 8"),
    ],
)
def test_bounds_as_people_write_them(limits, words):
    annotation = Annotated[int, Field(**limits)]
    assert bounds_of(TypeAdapter(annotation).json_schema()) == words


def test_described_rows():
    rows = {row.name: row for row in describe(Settings)}
    assert list(rows) == list(Settings.model_fields)
    assert (rows["clip_length"].type, rows["clip_length"].default) == ("int", "40")
    assert (rows["limit"].type, rows["limit"].bounds) == ("int | none", "2 or more")
    assert rows["size"].type == "list of float, float" and rows["size"].bounds == ""
    assert rows["colour"].type == "red | blue" and rows["colour"].default == "red"
    assert describe(Needs)[0].default is None


def test_flag_that_is_taken_is_a_fault_of_the_model():
    parser = Parser(prog="tool")
    parser.add_argument("--share")
    with pytest.raises(ContractError, match="cannot have an option `share`"):
        add_options(parser, Settings)


def test_flag_spelling():
    assert flag("min_clip_length") == "--min-clip-length"
