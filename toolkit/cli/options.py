"""Command-line options from pydantic models, so that a setting is declared once, as a field with a description."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from toolkit.cli.help import BRIEF, RARE, OptionRow, Parser, describe
from toolkit.cli.task_options import FIELD, add_task_option, explain_task_options, merge_task_options
from toolkit.cli.values import argument_of
from toolkit.errors import ContractError, InputError
from toolkit.files import read_json
from toolkit.validation import group_of, setting_paths, validated

__all__ = ["OptionRow", "Parser", "add_options", "add_settings", "describe", "flag", "read_settings"]

Model = TypeVar("Model", bound=BaseModel)


def flag(path: str) -> str:
    """The flag of a field: ``motion.context_length`` is ``--context-length``."""
    return "--" + path.rsplit(".", 1)[-1].replace("_", "-")


def add_settings(
    parser: Parser,
    model: type[BaseModel],
    argv: Sequence[str],
    *,
    common: Collection[str],
    exclude: Collection[str] = (),
) -> None:
    """Add ``--config FILE`` and one flag for each field of `model`; fields that are models are groups of flags.

    The options of tasks are given as ``--task-option NAME=VALUE``. Read all with `read_settings`.

    Args:
        argv: the words of the command; if they name a task and ask for help, its options are listed.
        common: names of the flags, without dashes, that ``--help`` shows; ``--help-all`` shows all.
        exclude: paths of fields without a flag, such as ``writing.preview``.

    Raises:
        ContractError: two fields have the same flag.
    """
    parser.settings = model
    exclude = [*exclude, FIELD] if _has_tasks(model) else exclude
    add_options(parser, model, common=common, exclude=exclude)
    if _has_tasks(model):
        add_task_option(parser, model)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="Settings in JSON, or a record that an earlier run saved. Flags win over the file.",
    )
    for name, title, group in groups_of(model):
        if name not in exclude:
            below = [path.removeprefix(f"{name}.") for path in exclude if path.startswith(f"{name}.")]
            add_options(parser, group, prefix=f"{name}.", title=title, common=common, exclude=below)
    if _has_tasks(model):
        explain_task_options(parser, argv)


def _has_tasks(model: type[BaseModel]) -> bool:
    return {"task", FIELD} <= model.model_fields.keys()


def groups_of(model: type[BaseModel]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """The fields of `model` that are models: name, heading and model."""
    for name, info in model.model_fields.items():
        group = group_of(info.annotation)
        if group is not None:
            yield name, info.title or info.description or name, group


def add_options(
    parser: argparse.ArgumentParser,
    model: type[BaseModel],
    *,
    prefix: str = "",
    title: str | None = None,
    common: Collection[str] | None = None,
    exclude: Collection[str] = (),
    positional: Collection[str] = (),
) -> None:
    """Add one kebab-case flag for each field of `model` that is not a model; required ones come first.

    A bool is ``--x/--no-x``, a list takes several words or one with commas, a nested value is JSON; ``none`` stands for
    None if the field allows it. `read_settings` checks the values; flags that are not given are left out of the
    namespace.

    Args:
        prefix: path of the model in the settings, ending in a dot.
        title: heading of the flags in the help.
        common: fields that ``--help`` shows; None shows all.
        exclude: fields without a flag.
        positional: fields that are arguments by position.

    Raises:
        ContractError: a flag is taken already.
    """
    group = parser.add_argument_group(title) if title else parser
    for row in sorted(describe(model), key=lambda row: row.default is not None):  # required ones first
        info = model.model_fields[row.name]
        if row.name in exclude or group_of(info.annotation) is not None:
            continue
        options: dict[str, Any] = {"help": row.text, "default": argparse.SUPPRESS}
        if info.annotation in (bool, bool | None):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= argument_of(info.annotation, row.name)
        if row.name in positional:
            names = [prefix + row.name]
            options.setdefault("metavar", row.name.upper())
        else:
            names = [flag(row.name)]
            options["dest"] = prefix + row.name
        try:
            action = group.add_argument(*names, **options)
        except argparse.ArgumentError as error:
            raise ContractError(
                f"{model.__module__}.{model.__qualname__} cannot have an option `{row.name}`: the command already has "
                f"a flag {flag(row.name)}; rename the option"
            ) from error
        setattr(action, RARE, common is not None and row.name not in common)
        setattr(action, BRIEF, row.brief)


def read_settings(model: type[Model], namespace: argparse.Namespace, **extra: Any) -> Model:
    """Build `model` from the flags and from the file of ``--config``; flags win over the file.

    Args:
        namespace: the result of the parser.
        extra: more values for fields of the model; they win over both.

    Raises:
        InputError: the file cannot be read.
        UsageError: one sentence per problem, such as "--size must be greater than 0, found '-1'".
    """
    file: Path | None = getattr(namespace, "config", None)
    values = {} if file is None else read_config(file, model)
    given = {path: value for path, value in vars(namespace).items() if path.split(".")[0] in model.model_fields}
    for path, value in (given | extra).items():
        _put(values, path.split("."), value)
    if _has_tasks(model):
        merge_task_options(model, values, namespace.task_option)

    def spell(path: str) -> str:
        stems = path.split(".")
        from_file = file is not None and path not in given and _has(values, stems)
        return f"{path!r} in {file}" if from_file else flag(path)

    return validated(model, values, spell)


def read_config(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """The values in a settings file, not validated.

    The file holds settings, or a record that a run saved, with the settings under ``config``. Entries of a record that
    are not settings are ignored. If the settings leave out the backbone, the record's name for it is used.

    Raises:
        InputError: the file cannot be read, or holds no settings.
    """
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"the settings {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"expected a JSON object with settings in {path}, found {type(values).__name__}")
    if not isinstance(values.get("config"), dict):
        return values
    record, values = values, {name: value for name, value in values["config"].items() if name in model.model_fields}
    for stems in (setting.split(".") for setting in setting_paths(model)):
        name = record["backbone"].get("name") if isinstance(record.get("backbone"), dict) else None
        if stems[-1] == "backbone" and name is not None and not _has(values, stems):
            _put(values, stems, name)
    return values


def _put(values: dict[str, Any], stems: list[str], value: Any) -> None:
    for stem in stems[:-1]:
        values = values.setdefault(stem, {})
        if not isinstance(values, dict):
            return  # the model refuses it, with a sentence
    values[stems[-1]] = value


def _has(values: Any, stems: list[str]) -> bool:
    for stem in stems:
        if not isinstance(values, dict) or stem not in values:
            return False
        values = values[stem]
    return True
