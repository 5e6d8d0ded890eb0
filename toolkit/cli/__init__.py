"""The command line: one small module per verb, imported only when the verb is called.

A verb module has ``configure(parser, argv)``, which adds its arguments (`argv` are the words after the verb, so that
it may look ahead), and ``run(args) -> int``, which returns the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

VERBS = {
    "build-dataset": ("toolkit.cli.build_dataset", "make a dataset of pairs from face videos"),
    "dataset": ("toolkit.cli.dataset", "check or show a dataset, or write it as videos"),
    "make-people": ("toolkit.cli.make_people", "videos of people who do not exist, from portraits"),
    "pretrain": ("toolkit.cli.pretrain", "train the embedded backbone anew, stage by stage"),
    "finetune": ("toolkit.cli.finetune", "train a remover on datasets of pairs"),
    "edit": ("toolkit.cli.edit", "remove attributes from a video, or from a folder of them"),
    "evaluate": ("toolkit.cli.evaluate", "measure edited videos: fidelity, identity, consistency"),
    "compare": ("toolkit.cli.compare", "run baselines and other methods beside ours, and measure them"),
    "ablate": ("toolkit.cli.ablate", "change one setting at a time, and measure what it does"),
    "removers": ("toolkit.cli.removers", "list removers, shipped and local, and show their cards"),
    "fetch": ("toolkit.cli.fetch", "bring weights of a backbone or an analyser into the cache"),
    "push": ("toolkit.cli.push", "upload a remover to the Hugging Face Hub"),
    "tasks": ("toolkit.cli.tasks", "list, show, check and create tasks"),
    "doctor": ("toolkit.cli.doctor", "say what this machine can do and what is missing"),
    "demo": ("toolkit.cli.demo", "run the main job on an embedded sample clip"),
}
"""verb -> (module, one line for the help)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``toolkit VERB ...`` and return the exit code.

    0 is success, 1 a failure, 2 a wrong request, 130 an interruption. A `ToolkitError` is one line on stderr; any other
    exception is a bug and keeps its traceback.
    """
    from toolkit.errors import ToolkitError

    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except ToolkitError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interruption:
        print("interrupted" + (f": {interruption}" if str(interruption) else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader left, as in `toolkit tasks list | head -1`; the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(argv: list[str]) -> int:
    from toolkit import __version__, native_logs
    from toolkit.cli.options import Parser
    from toolkit.errors import UsageError
    from toolkit.validation import did_you_mean

    parser = Parser(
        prog="toolkit", description="Remove local attributes, such as glasses and stickers, from videos of faces."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", parser_class=Parser)
    verb = argv[0] if argv and not argv[0].startswith("-") else None
    if verb is not None and verb not in VERBS:
        hint = did_you_mean(verb, VERBS) or f"; known are {', '.join(VERBS)}"
        raise UsageError(f"there is no verb {verb!r}{hint}")
    module = None
    for name, (path, line) in VERBS.items():
        one = verbs.add_parser(name, help=line, description=line[:1].upper() + line[1:] + ".")
        if name == verb:
            module = import_module(path)
            module.configure(one, argv[1:])
            one.add_argument("--verbose", action="store_true", help="Show log messages of third-party libraries.")
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    if module is None:
        parser.print_help()
        return 2
    with native_logs.quiet(show=args.verbose):
        return module.run(args)
