"""The docs name things that exist: links, imports, modules, commands with their options."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from toolkit.cli import full_parser
from toolkit.cli.options import read_settings
from toolkit.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_OTHERS = {"tutorial.md": {"width"}}
"""Task options of a plugin that the page writes, and that is not installed."""

WRONG_ON_PURPOSE = {"--strenght", "--denoising"}
"""Flags that the record on command-line options shows as mistakes, or as another library's."""


def verbs():
    action = next(action for action in full_parser()._actions if hasattr(action, "choices") and action.choices)
    return action.choices


@pytest.fixture(scope="module")
def parsers():
    return verbs()


@pytest.fixture(scope="module")
def flags(parsers):
    """Every flag of every verb and action."""

    def of(parser):
        for action in parser._actions:
            yield from action.option_strings
            if isinstance(action.choices, dict):
                for inner in action.choices.values():
                    yield from of(inner)

    return {flag for parser in parsers.values() for flag in of(parser)} | {"--version"}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page):
    """The words of each `toolkit ...` line of the console blocks; an ellipsis stands for what is left out."""
    for block in blocks(page, "(?:console|shell|bash|sh)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if "toolkit" in words and (words[0] == "toolkit" or words[:2] == ["accelerate", "launch"]):
                yield words[words.index("toolkit") + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile_and_their_imports_resolve(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in ("toolkit", "attributes", "tasks"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "tutorial.md"], ids=lambda page: page.name)
def test_modules_that_are_named_exist(page):
    for name in re.findall(r"`((?:toolkit|attributes)(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8")):
        if name != "toolkit.tasks":  # the group of entry points
            importlib.import_module(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_are_known(page, flags):
    text = page.read_text(encoding="utf-8")
    # Flags of other programs, in blocks and in code that begins with the program's name.
    text = re.sub(
        r"(?:`|^\$ )(?:pip|python|git|make|accelerate|ffmpeg|bash|tensorboard)\b[^`\n]*", "", text, flags=re.M
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))
    assert named - WRONG_ON_PURPOSE <= flags, named - WRONG_ON_PURPOSE - flags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_valid(page, parsers):
    for words in commands(page):
        if not words or words[0].startswith("-") or words[0].isupper():
            continue
        assert words[0] in parsers, f"{page.name}: toolkit {shlex.join(words)}"
        given = [word for word in words[1:] if word != "..."]
        if {"--help", "--help-all"} & set(given) or "NAME" in given:
            continue
        parser = parsers[words[0]]
        try:
            namespace = parser.parse_args(given)
            if parser.settings is not None and namespace.config is None and "..." not in words:
                foreign = OF_OTHERS.get(page.name, set())
                namespace.task_option = [
                    pair for pair in getattr(namespace, "task_option", []) if pair.partition("=")[0] not in foreign
                ]
                read_settings(parser.settings, namespace)
        except UsageError as error:
            pytest.fail(f"{page.name}: toolkit {shlex.join(words)}\n{error}")
