"""Command-line flags from pydantic models, so that a knob is declared once, as a field with a description.

pydantic-settings can build command lines too, but repeats a flag for each item of a list: ``--videos *.mp4`` fails.
"""

from __future__ import annotations

import argparse
import json
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from toolkit.errors import ContractError, InputError, UsageError
from toolkit.validation import did_you_mean, validated

Model = TypeVar("Model", bound=BaseModel)

_SEQUENCES = (list, tuple, set, frozenset, Sequence)
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "under {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "multipleOf": "a multiple of {}",
    "pattern": "of the form {}",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose problems are `UsageError`s with the nearest known flag."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str):
        raise UsageError(f"{message}; `{self.prog} --help` says what is known")

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].split("=")[0]
            hint = did_you_mean(word, self._option_string_actions) if word.startswith("-") else ""
            self.error(f"unknown {'option' if word.startswith('-') else 'argument'} {word}{hint}")
        return namespace, unknown


@dataclass(frozen=True)
class OptionRow:
    """One option for people, from the JSON schema: its type, default (None: required), bounds and description."""

    name: str
    type: str
    default: str | None
    bounds: str
    description: str


def flag(name: str) -> str:
    """The flag of a field: ``clip_length`` is ``--clip-length``."""
    return "--" + name.replace("_", "-")


def describe(model: type[BaseModel]) -> list[OptionRow]:
    """The options of a model, in the order of its fields."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, info in model.model_fields.items():
        field = schema["properties"][info.alias or name]
        default = None if info.is_required() else _default(info)
        rows.append(OptionRow(name, _type(field, definitions), default, _bounds(field), info.description or ""))
    return rows


def add_arguments(
    parser: argparse.ArgumentParser,
    model: type[BaseModel],
    *,
    exclude: Collection[str] = (),
    positional: Collection[str] = (),
    title: str | None = None,
) -> None:
    """Add one kebab-case flag for each field of `model`.

    A bool is ``--x/--no-x``, a list takes several words, a nested value is JSON; ``none`` stands for None where the
    field allows it. Values stay out of the namespace unless they were given, and are checked by `from_arguments`.

    Args:
        exclude: fields without a flag.
        positional: fields that are arguments by position.
        title: heading of the flags in the help.

    Raises:
        ContractError: a flag is taken already.
    """
    group = parser.add_argument_group(title) if title else parser
    for row in describe(model):
        if row.name in exclude:
            continue
        info = model.model_fields[row.name]
        settings: dict[str, Any] = {"help": _help(row), "default": argparse.SUPPRESS}
        if info.annotation is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings |= _values(info.annotation, row)
        names = [row.name] if row.name in positional else [flag(row.name)]
        if row.name not in positional:
            settings["dest"] = row.name
        try:
            group.add_argument(*names, **settings)
        except argparse.ArgumentError as error:
            raise ContractError(
                f"{model.__module__}.{model.__qualname__} cannot have an option `{row.name}`: the command has a flag "
                f"{flag(row.name)} of its own; rename the option"
            ) from error


def from_arguments(model: type[Model], namespace: argparse.Namespace, base: BaseModel | None = None) -> Model:
    """Build `model` from the flags that were given; the rest is taken from `base`, then from the defaults.

    Raises:
        UsageError: one sentence per problem, such as "--size must be greater than 0, found '-1'".
    """
    given = {name: value for name, value in vars(namespace).items() if name in model.model_fields}
    values = {} if base is None else base.model_dump(exclude_unset=True)
    return validated(model, values | given, spell=flag)


def read_grouped(
    model: type[Model], groups: Mapping[str, tuple[type[BaseModel], str]], namespace: argparse.Namespace
) -> Model:
    """Build a model whose fields may be groups of options, from the flags and from the file of `--config`.

    Args:
        groups: fields that are groups, with their models and headings.
        namespace: `config` is a JSON file, or None; flags win over it.

    Raises:
        InputError: the file cannot be read.
        UsageError: a setting is unknown or has a bad value.
    """
    base: dict[str, Any] = {}
    if namespace.config is not None:
        try:
            base = json.loads(namespace.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"the settings {namespace.config} cannot be read: {error}") from error
        if not isinstance(base, dict):
            raise InputError(f"expected an object with settings in {namespace.config}")
    for name, (group, _) in groups.items():
        start = validated(group, base[name]) if name in base else None
        base[name] = from_arguments(group, namespace, start)
    # A group may hold a field of its own name, such as `motion`: that flag is the group's.
    own = set(model.model_fields) - set(groups)
    given = {name: value for name, value in vars(namespace).items() if name in own}
    return from_arguments(model, argparse.Namespace(**{**base, **given}))


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
        return settings | {"type": lambda text: words.get(text, text), "metavar": "{" + ",".join(words) + "}"}
    if get_origin(member) is not None or (isinstance(member, type) and issubclass(member, BaseModel | dict)):
        return settings | {"type": _text_or_json(optional), "metavar": "JSON"}
    metavar = {int: "INT", float: "FLOAT", Path: "PATH"}.get(member, row.name.upper())
    return settings | {"type": _text(optional), "metavar": metavar}


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
    """The words that a choice allows and the values that they mean; None where the type is no choice."""
    if get_origin(member) is Literal:
        return {str(value): value for value in get_args(member)}
    if isinstance(member, type) and issubclass(member, Enum):
        return {str(entry.value): entry.value for entry in member}
    return None


def _help(row: OptionRow) -> str:
    default = "required" if row.default is None else f"default: {row.default}"
    notes = f"({row.bounds}; {default})" if row.bounds else f"({default})"
    return f"{row.description} {notes}".strip().replace("%", "%%")


def _default(info: FieldInfo) -> str:
    value = TypeAdapter(Any).dump_python(info.get_default(call_default_factory=True), mode="json", fallback=str)
    return value if isinstance(value, str) and value else json.dumps(value)


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _type(definitions[field["$ref"].rsplit("/", 1)[-1]], definitions)
    if "const" in field:
        return str(field["const"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " | ".join(_type(option, definitions) for option in field["anyOf"])
    kind = field.get("type", "any")
    if kind == "array":
        items = field.get("prefixItems") or ([field["items"]] if "items" in field else [])
        return f"list of {', '.join(_type(item, definitions) for item in items) or 'any'}"
    names = {
        "string": field.get("format", "text"),
        "integer": "int",
        "number": "float",
        "boolean": "bool",
        "null": "none",
    }
    return names.get(kind, kind)


def _bounds(field: Mapping[str, Any]) -> str:
    """The limits of a field, or of the one member of a union that has some; a tuple's own length is no news."""
    fixed = ("minItems", "maxItems") if "prefixItems" in field else ()
    found = [words.format(field[key]) for key, words in _BOUNDS.items() if key in field and key not in fixed]
    for option in field.get("anyOf", ()):
        found += [part for part in [_bounds(option)] if part]
    return ", ".join(found)
