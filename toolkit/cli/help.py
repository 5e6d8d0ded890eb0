"""An argument parser with two tiers of help, and the words for a field's type, range and default."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from toolkit.cli.words import LISTS, told_apart
from toolkit.errors import UsageError
from toolkit.validation import did_you_mean

NARROWEST, WIDEST = 60, 100
"""Columns of the help, whatever the terminal."""

COLUMN = 30
"""Columns of the options' names; a longer one has a line of its own."""

HUGE = 2**31
"""A limit from here on says nothing to people and is left out."""

RARE, BRIEF = "rare", "brief"
"""Attributes of an argparse action: whether only ``--help-all`` shows it, and its text for ``--help``."""


@dataclass(frozen=True)
class OptionRow:
    """One option in words.

    Attributes:
        name: the field's name.
        type: such as ``int`` or ``a | b``.
        default: as a person writes it; empty if it is unset, None if the option is required.
        bounds: the allowed range, such as ``1 to 32``.
        description: the field's description.
    """

    name: str
    type: str
    default: str | None
    bounds: str
    description: str

    @property
    def brief(self) -> str:
        """The description's first sentence, the one on an unset value, range and default."""
        first, *others = re.split(r"(?<=\.) (?=[^a-z])", self.description)
        unset = (_sentence(other) for other in others if other.startswith("If unset"))
        return " ".join(filter(None, (_sentence(first), *unset, self._notes)))

    @property
    def text(self) -> str:
        """Description, range and default in sentences."""
        return " ".join(filter(None, (_sentence(self.description), self._notes)))

    @property
    def _notes(self) -> str:
        if self.default is None:
            default = "required"
        elif self.type == "bool":
            default = f"{self.default} by default"
        else:
            default = f"default {self.default}" if self.default else ""
        notes = ", ".join(filter(None, (self.bounds, default)))
        return _sentence(notes[:1].upper() + notes[1:])


def describe(model: type[BaseModel]) -> list[OptionRow]:
    """The options of a model, in the order of its fields."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, info in model.model_fields.items():
        field = schema["properties"][info.alias or name]
        default = None if info.is_required() else _default(info)
        rows.append(OptionRow(name, _type(field, definitions), default, bounds_of(field), info.description or ""))
    return rows


class Parser(argparse.ArgumentParser):
    """A parser with ``--help`` for the common options and ``--help-all`` for all; its errors are `UsageError`s."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, add_help=False, **kwargs)
        self.sections: list[tuple[str, list[tuple[str, str]]]] = []
        """More sections of the help: a heading, and rows of a name and a text."""
        self.settings: type[BaseModel] | None = None
        """The model of the command's settings, if it has some."""
        self.add_argument("-h", "--help", action=_Help, all=False)
        self.add_argument("--help-all", action=_Help, all=True)

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith("?") else "."
        raise UsageError(f"{message}{end} Run `{self.prog} --help` for the options.")

    def parse_known_args(self, args=None, namespace=None):
        words = list(sys.argv[1:] if args is None else args)
        if not any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            words = told_apart(self, words).arranged()
        namespace, unknown = super().parse_known_args(words, namespace)
        if unknown:
            word = next((word for word in unknown if word != "--"), "--")
            hint = did_you_mean(word, self._option_string_actions) if word.startswith("--") else ""
            self.error(f"unknown {'option' if hint else 'argument'} {word}{hint}")
        return namespace, unknown

    def format_help(self, all: bool = False) -> str:
        """The help text; without `all` the rare options are left out and descriptions are cut short."""
        width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
        parts = [self._usage(), textwrap.fill(self.description or "", width)]
        hidden = False
        for group in self._action_groups:
            actions = [action for action in group._group_actions if not isinstance(action, _Help)]
            shown = [action for action in actions if all or not getattr(action, RARE, False)]
            hidden = hidden or len(shown) < len(actions)
            rows = [row for action in shown for row in _rows(action, all)]
            if rows:
                title = {"positional arguments": "arguments"}.get(str(group.title), str(group.title))
                parts.append("\n".join([f"{_heading(title)}:", *_table(rows, width)]))
        parts += ["\n".join([f"{_heading(title)}:", *_table(rows, width)]) for title, rows in self.sections]
        parts.append(textwrap.fill(self.epilog or "", width))
        if hidden:
            parts.append(f"`{self.prog} --help-all` shows all options.")
        return "\n\n".join(filter(None, parts)) + "\n"

    def _usage(self) -> str:
        places = [_invocation(action) for action in self._actions if not action.option_strings]
        return " ".join([f"usage: {self.prog}", *places, "[OPTIONS]"])


class _Help(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, all: bool):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS)
        self._all = all

    def __call__(self, parser, namespace, values, option_string=None):
        print(parser.format_help(self._all), end="")
        parser.exit()


def _rows(action: argparse.Action, all: bool) -> Iterator[tuple[str, str]]:
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            yield choice.dest, _sentence(choice.help or "")
        return
    text = action.help or ""
    yield _invocation(action), text if all else getattr(action, BRIEF, text)


def _invocation(action: argparse.Action) -> str:
    """How an argument is written: ``--seed N``, ``--videos PATH ...``, ``--[no-]motion``."""
    if isinstance(action, argparse._SubParsersAction):
        return str(action.metavar)
    if isinstance(action, argparse.BooleanOptionalAction):
        return f"--[no-]{action.option_strings[0].removeprefix('--')}"
    name = ", ".join(action.option_strings)
    if action.nargs == 0:
        return name
    metavar = action.metavar if action.metavar is not None else action.dest.upper()
    words = " ".join(metavar) if isinstance(metavar, tuple) else metavar
    if isinstance(action.nargs, int):
        words = " ".join([words] * action.nargs)
    elif action.nargs in LISTS:
        words = f"{words} ..."
    elif action.nargs == "?":
        words = f"[{words}]"
    return f"{name} {words}".strip()


def _table(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for name, text in rows:
        lines = textwrap.wrap(text, width - COLUMN) or [""]
        if len(name) + 4 > COLUMN:
            yield f"  {name}"
        else:
            yield f"  {name:<{COLUMN - 2}}{lines.pop(0)}".rstrip()
        yield from (" " * COLUMN + line for line in lines)


def _heading(title: str) -> str:
    title = title.rstrip(".")
    return title[:1].upper() + title[1:]


def _sentence(text: str) -> str:
    return text if text.endswith(".") or not text else f"{text}."


def _default(info: FieldInfo) -> str:
    value = TypeAdapter(Any).dump_python(info.get_default(call_default_factory=True), mode="json", fallback=str)
    return _written(value)


def _written(value: Any) -> str:
    """A value as a person would write it on the command line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " ".join(map(_written, value))
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return str(value)


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


def bounds_of(field: Mapping[str, Any]) -> str:
    """The range that a JSON schema allows, such as ``1 to 32`` or ``above 0, up to 1``; empty if it has none.

    The length of a text or of a fixed tuple is left out.
    """
    low, over = _limit(field, "minimum"), _limit(field, "exclusiveMinimum")
    high, under = _limit(field, "maximum"), _limit(field, "exclusiveMaximum")
    step = _limit(field, "multipleOf")
    if low and high:
        found = [f"{low} to {high}"]
    elif over and under:
        found = [f"between {over} and {under}"]
    elif low and under:
        found = [f"{low} to below {under}"]
    else:
        found = [f"{low} or more" if low else "", f"above {over}" if over else ""]
        found += [f"up to {high}" if high else "", f"below {under}" if under else ""]
    found.append(f"a multiple of {step}" if step else "")
    if "items" in field and "minItems" in field and field["minItems"] > 1:
        found.append(f"{field['minItems']} or more values")
    found += [bounds_of(option) for option in field.get("anyOf", ())]
    return ", ".join(filter(None, found))


def _limit(field: Mapping[str, Any], key: str) -> str:
    value = field.get(key)
    return "" if value is None or abs(value) >= HUGE else f"{value:.10g}"
