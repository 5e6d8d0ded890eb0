"""The command line: one small module per verb, imported when the verb is called.

A verb module has two functions: ``configure(parser, argv)`` adds its arguments, and ``run(args) -> int`` returns the
exit code. `argv` holds the words after the verb, for help that depends on them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.cli.help import Parser

VERBS = {
    "edit": ("toolkit.cli.edit", "Remove attributes from a video, or from a folder of videos."),
    "build-dataset": ("toolkit.cli.build_dataset", "Make a dataset of training pairs from face videos."),
    "finetune": ("toolkit.cli.finetune", "Train a remover on datasets of pairs."),
    "evaluate": ("toolkit.cli.evaluate", "Measure how good edited videos are: fidelity, identity, consistency."),
    "compare": ("toolkit.cli.compare", "Run the toolkit and other methods on the same videos, and measure them."),
    "ablate": ("toolkit.cli.ablate", "Change one setting of an edit at a time, and measure the effect."),
    "dataset": ("toolkit.cli.dataset", "Check a dataset, show it, or export it as videos."),
    "removers": ("toolkit.cli.removers", "List removers, shipped and local, and show their cards."),
    "tasks": ("toolkit.cli.tasks", "List, show, check and create tasks."),
    "fetch": ("toolkit.cli.fetch", "Download the weights of a backbone or an analyser."),
    "push": ("toolkit.cli.push", "Upload a remover to the Hugging Face Hub."),
    "make-people": ("toolkit.cli.make_people", "Make videos of people who do not exist from portraits."),
    "pretrain": ("toolkit.cli.pretrain", "Train the embedded backbone from scratch, stage by stage."),
    "doctor": ("toolkit.cli.doctor", "Show what this machine can do and how to install the rest."),
    "demo": ("toolkit.cli.demo", "Run all steps on an embedded sample clip, in about two minutes."),
    "completion": ("toolkit.cli.completion", "Print a completion script for bash, zsh or tcsh."),
}
"""verb -> (module, description)"""


NOTHING_EDITED = 3

EXIT_CODES = {
    0: "Success.",
    1: "Something failed: a file, a video, a check.",
    2: "The request was wrong: an unknown option, a bad value, a missing extra.",
    NOTHING_EDITED: "`toolkit edit` found no face or no attribute in any video and copied them.",
    130: "Interrupted by Ctrl-C or SIGTERM.",
}
"""Exit code -> meaning, for every verb."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``toolkit VERB ...`` and return the exit code.

    Exit codes are listed in `EXIT_CODES`. A `ToolkitError` becomes one line on stderr. Any other exception is a bug and
    keeps its traceback.
    """
    from toolkit.cli import streams
    from toolkit.errors import ToolkitError
    from toolkit.words import printable

    with streams.tolerant() as losses:
        try:
            code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        except ToolkitError as error:
            print("error:", printable(" ".join(str(error).split())), file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt as interruption:
            print(printable("interrupted" + (f": {interruption}" if str(interruption) else "")), file=sys.stderr)
            return 130
        sys.stdout.flush()
        lost = losses.out.error
        if lost is None:
            return code
        if not isinstance(lost, BrokenPipeError):  # a reader that leaves, as `head -1` does, knows what it missed
            print(f"error: what was found cannot be printed: {lost.strerror}; files are complete", file=sys.stderr)
        return code or 1


def _dispatch(argv: list[str]) -> int:
    from toolkit import native_logs
    from toolkit.errors import UsageError
    from toolkit.validation import did_you_mean

    parser, verbs = _parsers()
    verb = argv[0] if argv and not argv[0].startswith("-") else None
    if verb is not None and verb not in VERBS:
        hint = did_you_mean(verb, VERBS) or f"; known are {', '.join(VERBS)}"
        raise UsageError(f"there is no verb {verb!r}{hint}")
    try:
        if verb is None:
            parser.parse_args(argv)
            parser.print_help()
            return 2
        module = import_module(VERBS[verb][0])
        _configure(verbs[verb], module, argv[1:])
        args = verbs[verb].parse_args(argv[1:])
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    with native_logs.quiet(show=args.verbose):
        return module.run(args)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """The command's parser, and those of the verbs, which have no arguments yet."""
    from toolkit import __version__
    from toolkit.cli.help import Parser

    parser = Parser(
        prog="toolkit", description="Remove glasses, stickers and other local attributes from videos of faces."
    )
    parser.epilog = (
        "Start with `toolkit demo`, or edit a video: `toolkit edit in.mp4 out.mp4 --task glasses`. "
        "`toolkit VERB --help` shows the options of a verb."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}", help="Print the version.")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", parser_class=Parser)
    return parser, {name: verbs.add_parser(name, help=line, description=line) for name, (_, line) in VERBS.items()}


def full_parser() -> Parser:
    """The parser with the arguments of all verbs; this imports every verb's module."""
    parser, verbs = _parsers()
    for name, (path, _) in VERBS.items():
        _configure(verbs[name], import_module(path), [])
    return parser


def _configure(parser: Parser, verb: ModuleType, argv: list[str]) -> None:
    from toolkit.cli.help import RARE

    verb.configure(parser, argv)
    verbose = parser.add_argument("--verbose", action="store_true", help="Show log messages of third-party libraries.")
    setattr(verbose, RARE, parser.settings is not None)
