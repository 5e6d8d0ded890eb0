"""Texts of the command line as values for the fields of a model."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_SEQUENCES = (list, tuple, set, frozenset, Sequence)


def argument_of(annotation: Any, name: str) -> dict[str, Any]:
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
    metavar = {int: "N", float: "NUMBER", Path: "PATH"}.get(member, name.rsplit("_", 1)[-1].upper())
    return settings | {"type": _text(optional), "metavar": metavar}


def convert(annotation: Any, text: str) -> Any:
    """A text as a value for a field: a text or a choice as it is, a list separated by commas, anything else as JSON."""
    settings = argument_of(annotation, "value")
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
