"""``toolkit tasks``: list, show, check and create tasks."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from toolkit.cli.console import err, out, print_table
from toolkit.cli.help import Parser
from toolkit.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # `AttributeTask` allows these names

_TEMPLATES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "{package}/__init__.py": "__init__.py.tmpl",
    "{package}/task.py": "task.py.tmpl",
    "tests/test_{package}.py": "test_task.py.tmpl",
}
"""File of the new package -> template in ``scaffold/``."""


def configure(parser: Parser, argv: list[str]) -> None:
    """`list`, `show NAME`, `check NAME` and `new NAME [--output DIR]`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="List the installed tasks and whether they can be used.").set_defaults(action=_list)
    show = actions.add_parser("show", help="Describe a task and its options.")
    show.set_defaults(action=_show)
    check = actions.add_parser("check", help="Check that a task keeps the plugin contract. Exit code 1 if it does not.")
    check.set_defaults(action=_check)
    for one in (show, check):
        one.add_argument("name", metavar="NAME", help="Name of the task, or DISTRIBUTION:NAME if two tasks share it.")
    new = actions.add_parser("new", help="Write a package with a new task and its tests.")
    new.add_argument("name", metavar="NAME", help="Name of the new task: lower-case words joined by hyphens.")
    new.add_argument("--output", type=Path, metavar="DIR", help="Folder of the package. If omitted, toolkit-NAME.")
    new.set_defaults(action=_new)


def run(args: argparse.Namespace) -> int:
    """Run the chosen action.

    Raises:
        ToolkitError: the task is unknown, ambiguous or broken, or a new one has an invalid name or folder.
    """
    return args.action(args)


def _list(args: argparse.Namespace) -> int:
    from toolkit.registry import list_tasks

    entries = list_tasks()
    if not entries:
        err.print("no tasks are installed")
    print_table(
        ("task", "status", "distribution", "description"),
        [(e.name, e.status, f"{e.distribution} {e.version}".rstrip(), e.reason or e.description) for e in entries],
    )
    return 0


def _show(args: argparse.Namespace) -> int:
    from toolkit.cli.help import describe
    from toolkit.registry import entry, load_task_class

    task, offer = load_task_class(args.name), entry(args.name)
    rows = [
        ("task", task.name),
        ("description", task.description),
        ("distribution", f"{offer.distribution} {offer.version}".rstrip()),
        ("class", offer.value),
        ("prompt", task.prompt),
        ("negative prompt", task.negative_prompt or "none"),
        ("needs", f"pip install 'vlasik-toolkit[{task.extra}]'" if task.extra else "no extra"),
        ("removers", ", ".join(sorted(task.removers)) or "none"),
        ("recipes", ", ".join(sorted(task.recipes)) or "none"),
    ]
    for label, value in rows:
        out.print(f"{label + ':':<17}{value}", soft_wrap=True)
    out.print()
    options = [(row.name, row.type, row.default or "", row.bounds, row.description) for row in describe(task.Options)]
    if options:
        print_table(("option", "type", "default", "range", "description"), options)
        out.print(f"Set one with --task-option {options[0][0]}=VALUE.")
    else:
        out.print("It has no options.")
    return 0


def _check(args: argparse.Namespace) -> int:
    from toolkit.registry import load_task_class
    from toolkit.testing import check_task

    results = check_task(load_task_class(args.name))
    rows = [(result.name, "ok" if result.ok else "failed", result.detail) for result in results]
    print_table(("check", "result", "detail"), rows)
    failed = sum(not result.ok for result in results)
    if failed:
        err.print(f"{args.name} breaks the contract: {failed} of {len(results)} checks failed", soft_wrap=True)
        return 1
    out.print(f"{args.name} keeps the contract: {len(results)} checks passed", soft_wrap=True)
    return 0


def _new(args: argparse.Namespace) -> int:
    name = args.name
    _refuse_bad_name(name)
    folder = args.output or Path(f"toolkit-{name}")
    files = _render(name)
    _write(folder, files)
    path = str(folder)
    out.print(f"wrote {path}: {', '.join(files)}", soft_wrap=True)
    out.print("next:")
    for words in (
        ["pip", "install", "-e", f"{path}[dev]"],
        ["toolkit", "tasks", "check", name],
        ["python", "-m", "pytest", path],
    ):
        out.print(" ", shlex.join(words), soft_wrap=True)
    return 0


def _refuse_bad_name(name: str) -> None:
    from toolkit.registry import list_tasks

    if not _NAME.fullmatch(name):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
        near = re.sub(r"[^a-z0-9]+", "-", words).strip("-").lstrip("-0123456789")
        hint = f", did you mean {near}?" if _NAME.fullmatch(near) else ""
        raise UsageError(
            f"the name of a task must be lower-case words joined by hyphens, such as face-paint, found {name!r}{hint}"
        )
    owners = [entry.distribution for entry in list_tasks() if entry.name == name]
    if owners:
        raise UsageError(f"{' and '.join(owners)} already offers a task {name!r}; choose another name")


def _render(name: str) -> dict[str, str]:
    """The files of the package, by their paths in it."""
    from importlib.resources import files
    from string import Template

    from toolkit import __version__

    package = "toolkit_" + name.replace("-", "_")
    words = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "distribution": f"toolkit-{name}",
        "package": package,
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "toolkit_version": __version__,
    }
    source = files("toolkit.cli") / "scaffold"
    return {
        path.format(package=package): Template((source / template).read_text(encoding="utf-8")).substitute(words)
        for path, template in _TEMPLATES.items()
    }


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write all files into a new or empty folder, or none of them."""
    from tempfile import TemporaryDirectory

    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"the folder {folder} must be new or empty; choose another --output")
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".") as staging:
            for path, text in files.items():
                target = Path(staging, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            for part in Path(staging).iterdir():
                part.rename(folder / part.name)
    except OSError as error:
        raise UsageError(
            f"the package cannot be written to {folder} ({error.strerror}); choose another --output"
        ) from error
