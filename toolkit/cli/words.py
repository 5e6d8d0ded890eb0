"""Puts the words of a command in an order that argparse reads as people mean it.

To argparse, an option with several values takes every word up to the next option, a word with a dash is an option, and
an optional value is whatever comes next. People write ``--task glasses in.mp4 out.mp4``, ``-clip.mp4`` and ``--preview
in.mp4 out.mp4``.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.errors import UsageError
from toolkit.validation import did_you_mean

LISTS = ("*", "+")
"""Numbers of values of an option that takes a list."""

HELP = frozenset({"-h", "--help", "--help-all"})


@dataclass
class _List:
    """The values of an option that takes several, and their places among the words of the command."""

    option: str
    values: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    closed: bool = False
    """Whether it was written with commas or with ``=``, so that the words after it do not belong to it."""


@dataclass(frozen=True)
class Words:
    """The words of a command, told apart."""

    options: tuple[str, ...]
    lists: tuple[_List, ...]
    arguments: tuple[str, ...]

    def values_of(self, option: str) -> list[str]:
        """All values of an option that takes several."""
        return [value for one in self.lists if one.option == option for value in one.values]

    def arranged(self) -> list[str]:
        """Options first, each value tied to its option, then ``--`` and the arguments."""
        words = list(self.options)
        for one in self.lists:
            words += [f"{one.option}={value}" for value in one.values] or [one.option]
        return [*words, "--", *self.arguments] if self.arguments else words


def told_apart(parser: argparse.ArgumentParser, words: Sequence[str]) -> Words:
    """Tell options, their values and arguments apart.

    Values of a list are separate words, or one word with commas. If arguments are missing, the last words of a list
    are taken for them when they look like paths.

    Raises:
        UsageError: arguments are missing.
    """
    return _Reading(parser, words).read()


class _Reading:
    def __init__(self, parser: argparse.ArgumentParser, words: Sequence[str]):
        self._parser = parser
        self._known: Mapping[str, argparse.Action] = parser._option_string_actions
        self._positional = [action for action in parser._actions if not action.option_strings]
        self._waiting = deque(enumerate(words))
        self._asks_for_help = bool(HELP & set(words))
        self._options: list[str] = []
        self._lists: list[_List] = []
        self._arguments: list[tuple[int, str]] = []

    def read(self) -> Words:
        while self._waiting:
            place, word = self._waiting.popleft()
            if word == "--":
                self._arguments += self._waiting
                break
            name, equals, value = word.partition("=")
            if not _is_value(word, self._known):
                action = self._known.get(name)
                if action is None:
                    self._refuse_option(word, name)
                elif action.nargs in LISTS:
                    self._read_list(name, value if equals else None)
                elif equals:
                    self._options.append(word)
                else:
                    self._read_values(name, action)
            else:
                self._arguments.append((place, word))
        self._take_missing_arguments()
        arguments = tuple(word for _, word in sorted(self._arguments))
        return Words(tuple(self._options), tuple(self._lists), arguments)

    def _next(self) -> str | None:
        """The next word if it is a value."""
        word = self._waiting[0][1] if self._waiting else None
        return word if word is not None and _is_value(word, self._known) else None

    def _read_values(self, name: str, action: argparse.Action) -> None:
        value = self._next()
        if action.nargs == 0 or value is None or (action.nargs == "?" and not _converts(action, value)):
            self._options.append(name)
        elif isinstance(action.nargs, int):
            parts = value.split(",")
            if len(parts) == action.nargs:
                self._waiting.popleft()
            else:
                parts = []
                while len(parts) < action.nargs and (word := self._next()) is not None:
                    parts.append(word)
                    self._waiting.popleft()
            self._options += [name, *parts]
        else:
            self._waiting.popleft()
            self._options.append(f"{name}={value}")

    def _read_list(self, name: str, value: str | None) -> None:
        found = _List(name)
        self._lists.append(found)
        if value is not None:
            found.values, found.closed = _parts(value), True
            found.places = [-1] * len(found.values)
            return
        while (word := self._next()) is not None:
            place, _ = self._waiting.popleft()
            parts = _parts(word)
            found.values += parts
            found.places += [place] * len(parts)
            if len(parts) > 1 and self._positional:
                found.closed = True
                return

    def _take_missing_arguments(self) -> None:
        required = [action for action in self._positional if action.nargs is None]
        missing = len(required) - len(self._arguments)
        if missing <= 0:
            return
        taken: list[tuple[int, str]] = []
        for one in reversed([one for one in self._lists if not one.closed]):
            spare = min(missing - len(taken), len(one.values) - 1)
            if spare > 0:
                taken = [*zip(one.places[-spare:], one.values[-spare:], strict=True), *taken]
        if len(taken) == missing and _looks_like_path(taken[0][1]):
            places = {place for place, _ in taken}
            for one in self._lists:
                kept = [value for place, value in zip(one.places, one.values, strict=True) if place not in places]
                one.values = one.values if one.closed else kept
            self._arguments += taken
        elif not self._asks_for_help:
            self._refuse_missing([str(action.metavar or action.dest) for action in required], missing)

    def _refuse_option(self, word: str, name: str) -> None:
        if self._asks_for_help:
            self._options.append(word)
            return
        looks_like_file = re.search(r"\.\w{1,5}$", name)
        long = [option for option in self._known if option.startswith("--")]
        hint = f"; if it is a file, write ./{name}" if looks_like_file else did_you_mean(name, long)
        self._parser.error(f"unknown option {name}{hint}")

    def _refuse_missing(self, required: Sequence[str], missing: int) -> None:
        places = " ".join(required)
        example = f"{self._parser.prog} {places}"
        if self._lists:
            action = self._known[self._lists[-1].option]
            example += f" {self._lists[-1].option} {action.metavar}"
        verb = "is" if missing == 1 else "are"
        raise UsageError(
            f"{' and '.join(required[-missing:])} {verb} missing: write `{example}`. "
            f"Run `{self._parser.prog} --help` for the options."
        )


def _is_value(word: str, known: Collection[str]) -> bool:
    """Whether a word is a value or a name rather than an option. A name may begin with a dash."""
    if not word.startswith("-") or word == "-":
        return True
    name = word.partition("=")[0]
    if word == "--" or name in known:
        return False
    if os.path.lexists(word) or _is_number(word):
        return True
    return not word.startswith("--") and len(word) > 2 and f"-{name}" not in known


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _converts(action: argparse.Action, word: str) -> bool:
    try:
        return callable(action.type) and action.type(word) is not None
    except ValueError:
        return False


def _parts(word: str) -> list[str]:
    """The values in a word, separated by commas. A file whose name has a comma is one value."""
    path = word.partition("=")[2] or word
    if "," not in word or os.path.lexists(word) or os.path.lexists(path):
        return [word]
    return [part for part in word.split(",") if part]


def _looks_like_path(word: str) -> bool:
    return "." in word or os.sep in word or os.path.lexists(word)
