"""``--task-option NAME=VALUE``: the options of tasks, given in the same way on every command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from toolkit.cli.help import Parser, describe
from toolkit.cli.values import convert
from toolkit.cli.words import HELP, told_apart
from toolkit.errors import UsageError
from toolkit.registry import bare_name

FLAG = "--task-option"
FIELD = "options"
"""The field of the settings that holds them."""


def add_task_option(parser: Parser, model: type[BaseModel]) -> None:
    """Add the flag."""
    several = _by_task(model)
    parser.add_argument(
        FLAG,
        action="append",
        default=[],
        metavar="[TASK.]NAME=VALUE" if several else "NAME=VALUE",
        help="Option of the task; `toolkit tasks show TASK` lists them. Repeat the flag for more options."
        + (" Name the TASK if there are several." if several else ""),
    )


def explain_task_options(parser: Parser, argv: Sequence[str]) -> None:
    """List the options of the tasks in the help if `argv` names some and asks for help.

    Raises:
        ToolkitError: a named task is unknown or broken.
    """
    if not HELP & set(argv):
        return
    words = told_apart(parser, argv)
    single = [word.removeprefix("--task=") for word in words.options if word.startswith("--task=")]
    for name in words.values_of("--task") or single[-1:]:
        from toolkit.registry import load_task_class

        rows = [(row.name, row.text) for row in describe(load_task_class(name).Options)]
        parser.sections.append((f"options of the task {name}, for {FLAG}", rows or [("", "It has none.")]))


def merge_task_options(model: type[BaseModel], values: dict[str, Any], pairs: Iterable[str]) -> None:
    """Put ``NAME=VALUE`` pairs into the settings `values`, over what a file says.

    Raises:
        UsageError: a pair is malformed, or it is unclear or unknown which task and option it means, or a value is bad.
        ToolkitError: a task is unknown or broken.
    """
    pairs = list(pairs)
    if not pairs:
        return
    named = values.get("task") or []
    tasks = [named] if isinstance(named, str) else list(named)
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        task, name, text = _split(pair, tasks)
        found.setdefault(task, {})[name] = _value(task, name, text)
    options = dict(values.get(FIELD) or {})
    if _by_task(model):
        spelt = {bare_name(task): task for task in found}
        options = {spelt.get(bare_name(task), task): given for task, given in options.items()}
    for task, given in found.items():
        before = options.get(task, {}) if _by_task(model) else options
        merged = {**before, **given} if isinstance(before, Mapping) else given
        _check(task, merged)
        options = {**options, task: merged} if _by_task(model) else merged
    values[FIELD] = options


def _by_task(model: type[BaseModel]) -> bool:
    """Whether the settings are for several tasks, with the options of each by its name."""
    return model.model_fields["task"].annotation is not str


def _split(pair: str, tasks: Sequence[str]) -> tuple[str, str, str]:
    left, equals, text = pair.partition("=")
    task, _, name = left.rpartition(".")
    if not equals or not name:
        raise UsageError(f"{FLAG} must be NAME=VALUE, such as count=3, found {pair!r}")
    if not task:
        if len(tasks) != 1:
            which = f"one of {', '.join(tasks)}" if tasks else "such as glasses"
            raise UsageError(f"{FLAG} {pair} must name its task: write TASK.{pair}, TASK being {which}")
        task = tasks[0]
    elif tasks:
        same = [one for one in tasks if one == task or bare_name(one) == task or one == bare_name(task)]
        if not same:
            raise UsageError(f"{FLAG} {pair} names the task {task!r}, and the tasks are {', '.join(tasks)}")
        task = max(task, same[0], key=len)  # the one with a distribution says more
    return task, name.replace("-", "_"), text


def _value(task: str, name: str, text: str) -> Any:
    from toolkit.registry import load_task_class

    field = load_task_class(task).Options.model_fields.get(name)
    return text if field is None else convert(field.annotation, text)


def _check(task: str, options: Mapping[str, Any]) -> None:
    from toolkit.registry import load_task_class
    from toolkit.validation import validated

    validated(load_task_class(task).Options, options, lambda path: f"{FLAG} {task}.{path}")
