"""``toolkit completion``: a script that completes verbs, options, choices and paths in a shell."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.help import Parser

SHELLS = ("bash", "zsh", "tcsh")


def configure(parser: Parser, argv: list[str]) -> None:
    """The shell's name."""
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS), help="Shell that reads the script.")
    parser.epilog = (
        'In ~/.bashrc: eval "$(toolkit completion bash)". For zsh, write the output to a file named _toolkit in a '
        "folder of $fpath."
    )


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from toolkit.cli import full_parser

    parser = full_parser()
    _tell_paths_and_choices(parser)
    print(shtab.complete(parser, args.shell))
    return 0


def _tell_paths_and_choices(parser: argparse.ArgumentParser) -> None:
    """Settings are checked by their models, so the parser itself knows neither choices nor paths."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _tell_paths_and_choices(inner)
        elif action.type is Path or action.metavar in ("PATH", "FILE", "DIR"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str) and "|" in action.metavar and action.choices is None:
            action.choices = action.metavar.split("|")
