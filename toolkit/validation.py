"""Values from people into pydantic models: every problem becomes one sentence of a `UsageError`."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from toolkit.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Mapping[str, Any], spell: Callable[[str], str] = repr) -> Model:
    """Build `model` from `values`.

    Args:
        spell: how a field is written where the values came from, such as ``--clip-length`` on a command line.

    Raises:
        UsageError: one sentence per problem: the option, what was expected, what was found, the nearest known name.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_sentence(problem, model, spell) for problem in error.errors()]
        raise UsageError("; ".join(dict.fromkeys(problems))) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``", did you mean X?"`` for the nearest known word; empty where none is near."""
    nearest = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {nearest[0]}?" if nearest else ""


def _sentence(problem: Mapping[str, Any], model: type[BaseModel], spell: Callable[[str], str]) -> str:
    if not problem["loc"]:  # a validator of the whole model
        return _lower(problem["msg"])
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        known = [spell(name) for name in model.model_fields]
        hint = did_you_mean(spell(key), known)
        return f"unknown option {spell(key)}{hint or '; known are ' + (', '.join(known) or 'none')}"
    inside = "".join(f"[{part!r}]" for part in problem["loc"][1:] if not _is_union_tag(part))
    name = spell(key) + inside
    if problem["type"] == "missing":
        return f"{name} is required"
    message = _lower(problem["msg"])
    if message.startswith("input should be "):
        message = "must be " + message.removeprefix("input should be ")
        message = message.split(", unable to parse")[0]
    elif message.startswith("input should "):
        message = "must " + message.removeprefix("input should ")
    else:
        return f"{name}: {message}, found {reprlib.repr(problem['input'])}"
    return f"{name} {message}, found {reprlib.repr(problem['input'])}"


def _is_union_tag(part: str | int) -> bool:
    """pydantic puts the tried type of a union into the location: ``function-...``, ``list[float]``, ``int``."""
    return isinstance(part, str) and (part in {"int", "float", "str", "bool"} or "[" in part or "-" in part)


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return message[:1].lower() + message[1:]
