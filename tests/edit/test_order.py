"""The modules of an edit import only from those before them, in the order that the package's docstring lists."""

import ast
import re
from pathlib import Path

import pytest

import toolkit.edit

ROOT = Path(toolkit.edit.__file__).parent
ORDER = re.findall(r"^    (\w+)  +\S", toolkit.edit.__doc__, re.M)


def room(path):
    """The module or sub-package of `toolkit.edit` that a source belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def rooms_imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("toolkit.edit."):
            yield node.module.split(".")[2]


SOURCES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def test_the_docstring_lists_every_module_once():
    assert sorted(ORDER) == sorted({room(path) for path in SOURCES})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_those_before_it(path):
    position = ORDER.index(room(path))
    late = [name for name in rooms_imported(path) if ORDER.index(name) > position]
    assert not late, f"{path.name} imports {late}"
