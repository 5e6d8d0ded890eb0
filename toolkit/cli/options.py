"""Command-line options from pydantic models, so that a setting is declared once, as a field with a description."""

from __future__ import annotations

import argparse
import json
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from toolkit.cli.help import BRIEF, RARE, OptionRow, Parser, describe
from toolkit.cli.task_options import FIELD, add_task_option, merge_task_options
from toolkit.errors import ContractError, InputError
from toolkit.files import read_json
from toolkit.validation import group_of, setting_paths, validated

__all__ = ["OptionRow", "Parser", "add_options", "add_settings", "describe", "flag", "read_settings"]

Model = TypeVar("Model", bound=BaseModel)

_SEQUENCES = (list, tuple, set, frozenset, Sequence)


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
        add_task_option(parser, model, argv)
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

    A bool is ``--x/--no-x``, a list takes several words, a nested value is JSON; ``none`` stands for None if the field
    allows it. Values are not checked before `read_settings`, and absent flags leave nothing in the namespace.

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
        if info.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= _values(info.annotation, row)
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
        namespace: what the parser returned.
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

    The file is an object of settings, or a record that a run saved, with the settings under ``config``. Of a record,
    what is no setting is left out. It names the backbone by its content, so its ``name`` becomes the setting.

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


def _values(annotation: Any, row: OptionRow) -> dict[str, Any]:
    """The argparse settings of a field that takes a value."""
    members = [_plain(member) for member in _members(annotation)]
    optional = type(None) in members
    members = [member for member in members if member is not type(None)]
    if len(members) != 1:
        return {"type": _text_or_json(optional), "metavar": "VALUE"}
    member = members[0]
    settings: dict[str, Any] = {}
    if get_origin(member) in _SEQUENCES or member in _SEQUENCES:
        parts = [_plain(part) for part in get_args(member) if part is not Ellipsis]
        fixed = get_origin(member) is tuple and Ellipsis not in get_args(member) and parts
        settings["nargs"] = len(parts) if fixed else "*"
        if not fixed:
            settings["action"] = "extend"  # `--data A --data B` means the same as `--data A B`
        member = parts[0] if len(set(parts)) == 1 else str
        optional = False
    words = _words(member)
    if words is not None:
        return settings | {"type": lambda text: words.get(text, text), "metavar": "|".join(words)}
    if get_origin(member) is not None or (isinstance(member, type) and issubclass(member, BaseModel | dict)):
        return settings | {"type": _text_or_json(optional), "metavar": "JSON"}
    metavar = {int: "N", float: "NUMBER", Path: "PATH"}.get(member, row.name.rsplit("_", 1)[-1].upper())
    return settings | {"type": _text(optional), "metavar": metavar}


def convert(annotation: Any, text: str) -> Any:
    """A text as a value for a field: a text or a choice as it is, a list separated by commas, anything else as JSON."""
    settings = _values(annotation, OptionRow("value", "", "", "", ""))
    if "nargs" in settings:
        value = _text_or_json(False)(text)
        return value if isinstance(value, list) else text.split(",")
    if {int, float, bool} & set(map(_plain, _members(annotation))):
        return _text_or_json(type(None) in _members(annotation))(text)
    return settings["type"](text)


def _text(optional: bool) -> Callable[[str], str | None]:
    return lambda text: None if optional and text.lower() == "none" else text


def _text_or_json(optional: bool) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return _text(optional)(text)

    return convert


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _words(member: Any) -> dict[str, Any] | None:
    """The words of a choice and the values that they mean; None if the type is no choice."""
    if get_origin(member) is Literal:
        return {str(value): value for value in get_args(member)}
    if isinstance(member, type) and issubclass(member, Enum):
        return {str(entry.value): entry.value for entry in member}
    return None
