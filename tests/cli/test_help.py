"""The help of every verb: short enough to read, complete in --help-all, in words that people use."""

import re

import pytest

from toolkit.cli import VERBS, full_parser
from toolkit.cli.help import RARE
from toolkit.cli.options import flag
from toolkit.validation import setting_paths

LINES = 45
"""Of a verb's short help, in 100 columns."""

WITHOUT_FLAG = {
    "compare": {"writing", "measuring"},
    "ablate": {"writing", "measuring"},
}
"""Verb -> groups of which some settings have no flag, because they are another group's or useless there."""

STIFF = (r"\bnull\b", r"\bNone\b", r"at least 1 characters", r"\btrue\b", r"\bfalse\b", r" {2}", r"\bwithout it\b")


@pytest.fixture(scope="module")
def parsers():
    action = next(action for action in full_parser()._actions if isinstance(action.choices, dict))
    return action.choices


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def rows(parser, all):
    """Texts of the help by what they describe."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                for row, text in rows(inner, all):
                    yield f"{name} {row}", text
        elif action.help and (all or not getattr(action, RARE, False)):
            yield action.option_strings[-1] if action.option_strings else action.dest, action.help


@pytest.mark.parametrize("verb", VERBS)
def test_short_help_fits_on_a_screen(verb, parsers):
    assert len(parsers[verb].format_help().splitlines()) <= LINES


@pytest.mark.parametrize("verb", VERBS)
def test_help_all_lists_every_setting_once(verb, parsers):
    parser = parsers[verb]
    text = parser.format_help(all=True)
    listed = re.findall(r"^  (?:-h, )?(--\[no-\]|--)([a-z0-9-]+)", text, re.M)
    names = [name for _, name in listed]
    assert len(names) == len(set(names))
    if parser.settings is None:
        return
    for path in setting_paths(parser.settings):
        if path == "options":
            assert "task-option" in names
        elif path.split(".")[0] not in WITHOUT_FLAG.get(verb, ()):
            assert flag(path).removeprefix("--") in names, path


@pytest.mark.parametrize("verb", VERBS)
def test_texts_are_sentences(verb, parsers):
    for row, text in rows(parsers[verb], all=True):
        assert text.endswith("."), f"{verb} {row}: {text}"
        assert text[0].isupper() or re.match(r"[a-z]+\d|[A-Za-z]*[:/]|mediapipe|facer|`", text), f"{verb} {row}: {text}"
        for pattern in STIFF:
            assert not re.search(pattern, text), f"{verb} {row}: {text}"
    assert parsers[verb].description.endswith(".") and (parsers[verb].epilog or ".").endswith((".", "copied.", ")"))


@pytest.mark.parametrize("verb", VERBS)
def test_common_settings_exist(verb, parsers):
    from importlib import import_module

    common = getattr(import_module(VERBS[verb][0]), "COMMON", set())
    if parsers[verb].settings is not None:
        names = {path.rsplit(".", 1)[-1] for path in setting_paths(parsers[verb].settings)}
        assert set(common) <= names, set(common) - names
