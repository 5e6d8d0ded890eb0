"""Rules about imports and dependencies, checked on the source text."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("toolkit", "attributes", "tasks")
STAGES = ("synthesis", "finetune", "edit", "evaluate")
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "mediapipe", "cv2", "scipy", "av", "trimesh", "skimage"}
IN_NO_EXTRA = {"pytorch3d", "bitsandbytes"}
"""Optional backends that the user installs for the machine: one has no wheel, the other wants a GPU."""
FOR_DIFFUSERS = {"accelerate"}
"""What diffusers imports itself, for offloading and for loading large models."""

SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Absolute names of everything that a source imports.

    Imports inside functions, those for types alone, `import_module("...")` and the lazy names of a package count too.
    """
    module = module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
            "import_module",
            "__import__",
        }:
            found |= {
                word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)
            }
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
            found |= {f"{package}.{home}" for home in ast.literal_eval(node.value).values()}
    return found


def inside(name, package):
    return name == package or name.startswith(package + ".")


def requirement_names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def third_party():
    """Top-level name of every foreign module that is imported, with the sources that do."""
    users = {}
    for path in SOURCES:
        for name in imports(path):
            top = name.split(".")[0]
            if top and top not in sys.stdlib_module_names and top not in PACKAGES:
                users.setdefault(top, set()).add(path.relative_to(ROOT).as_posix())
    return users


@cache
def packages_distributions():
    return metadata.packages_distributions()


def owners(top):
    return {name.lower().replace("_", "-") for name in packages_distributions().get(top, ())}


def test_reader_of_imports_sees_what_it_should(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "toolkit" / "edit" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\n"
        "def h():\n    import i\n    from importlib import import_module\n    import_module('j.k')\n"
        "if TYPE_CHECKING:\n    from l import m\n_HOMES = {'Name': 'module'}\n"
    )
    wanted = {"a.b", "c.d", "toolkit.edit.e", "toolkit.f.g", "i", "j.k", "l.m", "toolkit.edit.module"}
    assert wanted <= imports(path)


CIRCULAR: set[tuple[str, str]] = set()
"""Imports that still close a circle. Delete an entry as soon as its import is gone; the set must become empty."""


def modules_imported():
    """For each module, the modules of this project that it imports."""
    known = {module_name(path): path for path in SOURCES}

    def module_of(name):
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    return {module: {module_of(name) for name in imports(path)} - {"", module} for module, path in known.items()}


def circle_in(graph):
    """A circle of imports as ``a imports b imports a``; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == ""
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) in (
        "a imports b imports c imports a",
        "b imports c imports a imports b",
        "c imports a imports b imports c",
    )


def test_modules_form_no_circle():
    circle = circle_in(
        {
            module: {name for name in names if (module, name) not in CIRCULAR}
            for module, names in modules_imported().items()
        }
    )
    assert not circle, f"move what both need into a module that imports neither: {circle}"


def test_packages_form_no_circle():
    """A package that imports another stands above it, so the other cannot import it back."""
    graph = {}
    for module, names in modules_imported().items():
        package = ".".join(module.split(".")[:2])
        graph.setdefault(package, set()).update({".".join(name.split(".")[:2]) for name in names} - {package})
    circle = circle_in(graph)
    assert not circle, f"an import runs up: {circle}"


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("attributes", "tasks"),
        ("toolkit.fetch", "toolkit.faces"),
        ("attributes.rendering", "attributes.glasses"),
        ("attributes.segmenting", "attributes.stickers"),
    ],
)
def test_no_import_runs_up(lower, upper):
    up = [(m, n) for m, names in modules_imported().items() if inside(m, lower) for n in names if inside(n, upper)]
    assert not up, f"{lower} stands below {upper} and must not import it: {up}"


def test_no_attribute_imports_another():
    """They share `attributes.rendering` and `attributes.segmenting`, which import none of them."""
    for module, names in modules_imported().items():
        if inside(module, "attributes"):
            own = (".".join(module.split(".")[:2]), "attributes.rendering", "attributes.segmenting")
            others = [name for name in names if inside(name, "attributes") and not any(inside(name, o) for o in own)]
            assert not others, (
                f"{module} imports {others}; move what both need to attributes.rendering or attributes.segmenting"
            )


@pytest.mark.parametrize("path", [path for path in SOURCES if path.is_relative_to(ROOT / "toolkit")], ids=module_name)
def test_core_knows_no_attribute(path):
    outside = {name for name in imports(path) if inside(name, "attributes") or inside(name, "tasks")}
    assert not outside, f"{path.relative_to(ROOT)} imports {outside}"


def test_stages_do_not_import_each_other():
    for path in SOURCES:
        home = next((stage for stage in STAGES if inside(module_name(path), f"toolkit.{stage}")), None)
        if home:
            others = [f"toolkit.{stage}" for stage in STAGES if stage != home]
            crossed = [name for name in imports(path) for other in others if inside(name, other)]
            assert not crossed, f"{path.relative_to(ROOT)} imports {crossed}"


def test_stages_do_not_import_the_command_line():
    for path in SOURCES:
        if not inside(module_name(path), "toolkit.cli") and path.name != "__main__.py":
            crossed = [name for name in imports(path) if inside(name, "toolkit.cli")]
            assert not crossed, f"{path.relative_to(ROOT)} imports {crossed}"


@pytest.mark.parametrize("package", ["toolkit.compare", "toolkit.pretrain"])
def test_only_the_command_line_imports_what_stands_above_the_stages(package):
    for path in SOURCES:
        if not inside(module_name(path), "toolkit.cli") and not inside(module_name(path), package):
            crossed = [name for name in imports(path) if inside(name, package)]
            assert not crossed, f"{path.relative_to(ROOT)} imports {crossed}"


def test_no_file_is_over_600_lines():
    long = {path: len(path.read_text().splitlines()) for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]}
    assert not {path: lines for path, lines in long.items() if lines > 600}


def test_every_library_that_is_imported_is_declared():
    extras = PROJECT["optional-dependencies"]
    declared = requirement_names(PROJECT["dependencies"])
    declared |= {name for extra, needs in extras.items() if extra != "dev" for name in requirement_names(needs)}
    for top, users in third_party().items():
        if top not in IN_NO_EXTRA:
            assert owners(top) & declared, f"{top}, imported by {sorted(users)}, is not declared in pyproject.toml"


def test_every_base_dependency_is_imported():
    imported = {owner for top in third_party() for owner in owners(top)}
    unused = requirement_names(PROJECT["dependencies"]) - imported - FOR_DIFFUSERS
    assert not unused, f"declared in pyproject.toml and imported nowhere: {unused}"


def test_entry_points_resolve():
    points = {**PROJECT["scripts"], **PROJECT["entry-points"]["toolkit.tasks"]}
    for value in points.values():
        module, _, attribute = value.partition(":")
        assert callable(getattr(import_module(module), attribute)), value


def test_installed_metadata_is_that_of_this_checkout():
    installed = {point.name: point.value for point in metadata.entry_points(group="toolkit.tasks")}
    for name, value in PROJECT["entry-points"]["toolkit.tasks"].items():
        assert installed.get(name) == value, "install the checkout again: pip install -e ."


def test_every_package_is_listed_and_has_an_init():
    folders = {path.parent for path in SOURCES if "scaffold" not in path.parts}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["--help"],
            ["tasks", "list"],
            ["tasks", "show", "stickers"],
            ["tasks", "show", "glasses"],
            ["fetch", "--help"],
            ["finetune", "--help"],
            ["push", "--help"],
            ["pretrain", "nano", "--help"],
            ["removers", "--help"],
        ),
        *(["build-dataset", "--task", task, "--help"] for task in ("stickers", "glasses")),
    ],
    ids=" ".join,
)
def test_light_verbs_import_nothing_heavy(words):
    script = (
        "import sys; from toolkit.cli import main; code = main(sys.argv[1:]);"
        "print('heavy:', *sorted(set(sys.modules) & " + repr(HEAVY) + ")); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    "module",
    [
        *("toolkit.task", "toolkit.faces", "toolkit.video", "toolkit.testing", "toolkit.registry", "tasks.stickers"),
        *("toolkit.backbones", "toolkit.diffusion", "toolkit.portraits", "toolkit.fetch", "tasks.glasses"),
        *("toolkit.finetune", "toolkit.remover", "toolkit.pretrain"),
    ],
)
def test_light_modules_import_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == ""
