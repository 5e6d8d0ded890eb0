"""The docs speak of things that exist: links, imports, flags."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from toolkit.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def flags():
    """Every flag that the verbs print in their help."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        builds = ("build-dataset --task stickers", "build-dataset --task glasses")
        verbs = "ablate", "compare", "dataset show", "demo", "edit", "evaluate", "fetch", "finetune", "push"
        verbs += "make-people", "pretrain", "removers"
        for words in (*builds, *verbs):
            assert main([*words.split(), "--help"]) == 0
    return set(re.findall(r"--[a-z][a-z-]*", text.getvalue()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_resolve(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in ("toolkit", "attributes", "tasks"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "tutorial.md"], ids=lambda page: page.name)
def test_modules_of_the_reference_exist(page):
    for name in re.findall(r"`((?:toolkit|attributes)(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8")):
        importlib.import_module(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_are_known(page, flags):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text(encoding="utf-8")))
    if page.name == "tutorial.md":
        named -= {"--width"}  # the tutorial's own option
    assert named <= flags | {"--help"}, named - flags
