"""Validates values from users; every problem becomes one sentence of a `UsageError`."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from toolkit.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Mapping[str, Any], spell: Callable[[str], str] = repr) -> Model:
    """Build `model` from `values`.

    Args:
        spell: returns how the user writes a field, given its path, such as ``--clip-length`` for ``clip_length`` or
            ``--strength`` for ``denoising.strength``.

    Raises:
        UsageError: one sentence per problem: the option, what was expected, what was found, the nearest known name.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_sentence(problem, model, spell) for problem in error.errors()]
        raise UsageError("; ".join(dict.fromkeys(problems))) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``", did you mean X?"`` for the nearest known word; empty if none is near."""
    nearest = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {nearest[0]}?" if nearest else ""


def group_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a group of settings; None for other fields."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _sentence(problem: Mapping[str, Any], model: type[BaseModel], spell: Callable[[str], str]) -> str:
    path, rest, group = _located(problem["loc"], model)
    if group is not None and not rest and problem["type"] in ("value_error", "assertion_error"):
        return _lower(problem["msg"])  # a validator of a whole model names the fields itself
    if problem["type"] == "extra_forbidden" and group is not None and len(rest) == 1:
        key = ".".join([*path, str(rest[0])])
        name = spell(key)
        # A typing error in a file is mended there, so the hint names the key rather than the flag.
        write = spell if name.startswith("--") else repr
        known = list(setting_paths(model))
        nearest = get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f", did you mean {write(nearest[0])}?" if nearest else ""
        return f"unknown option {name}{hint or '; known are ' + (', '.join(map(write, known)) or 'none')}"
    inside = "".join(f"[{part!r}]" for part in rest if not _is_union_tag(part))
    name = spell(".".join(path)) + inside
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


def _located(
    location: tuple[str | int, ...], model: type[BaseModel]
) -> tuple[list[str], list[str | int], type[BaseModel] | None]:
    """Pydantic's location as the path of a field, the rest inside its value, and the model that the path leads to."""
    path: list[str] = []
    group: type[BaseModel] | None = model
    rest = list(location)
    while rest and group is not None and rest[0] in group.model_fields:
        path.append(str(rest.pop(0)))
        group = group_of(group.model_fields[path[-1]].annotation)
    return path, rest, group


def setting_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The paths of all fields that are no groups, such as ``seed`` and ``denoising.strength``."""
    for name, info in model.model_fields.items():
        group = group_of(info.annotation)
        if group is None:
            yield prefix + name
        else:
            yield from setting_paths(group, f"{prefix}{name}.")


def _is_union_tag(part: str | int) -> bool:
    """Pydantic puts the tried type of a union into the location: ``function-...``, ``list[float]``, ``int``."""
    return isinstance(part, str) and (part in {"int", "float", "str", "bool"} or "[" in part or "-" in part)


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return message[:1].lower() + message[1:]
