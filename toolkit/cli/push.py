"""``toolkit push``: upload a remover to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import err, out


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """REMOVER, `--repo`, `--private`, `--revision`, `--message`."""
    parser.add_argument("remover", type=Path, metavar="REMOVER", help="Folder of the remover.")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="Repository; created if it does not exist.")
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Hide the repository from everyone but its owner. On by default.",
    )
    parser.add_argument("--revision", metavar="BRANCH", help="Branch to commit to. If omitted, the main branch.")
    parser.add_argument("--message", metavar="TEXT", help="Commit message.")
    parser.epilog = (
        "The model card and its pictures of held-out people are uploaded too. Checkpoints, logs and caches are not."
    )


def run(args: argparse.Namespace) -> int:
    """Check the remover, upload its files and print the address of its page.

    Raises:
        InputError: the folder holds no valid remover.
        UsageError: the repository name is invalid, or the repository is public and `--no-private` is missing.
        ToolkitError: the upload failed.
    """
    from huggingface_hub.utils import disable_progress_bars

    from toolkit.remover import push_remover

    if not err.is_terminal:
        disable_progress_bars()
    url = push_remover(args.remover, args.repo, private=args.private, revision=args.revision, message=args.message)
    out.print(url, soft_wrap=True)
    return 0
