"""Numbers and names in sentences, on terminals and in Markdown."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
"""Characters that a terminal obeys, such as ESC, but tab and line feed; and those that turn the direction of text."""


def counted(number: int, unit: str) -> str:
    """A number with its unit, such as "1 clip" or "3 clips"; `unit` is the plural, which ends in s."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def printable(text: str) -> str:
    """The text for a terminal: characters that would move the cursor, colour or reorder text become escapes."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown_text(value: object) -> str:
    """One line of text, escaped for Markdown tables, links and HTML."""
    text = " ".join(str(value).split())
    for sign in "\\|<[`*":
        text = text.replace(sign, "\\" + sign)
    return text
