"""``toolkit push``: upload a remover to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import err, out


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """REMOVER, `--repo`, `--private`, `--revision`, `--message`."""
    parser.add_argument("remover", type=Path, metavar="REMOVER", help="folder of the remover")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository, created where it is missing")
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether only the owner can see it (default: yes)",
    )
    parser.add_argument("--revision", metavar="BRANCH", help="branch to commit to (default: the main one)")
    parser.add_argument("--message", metavar="TEXT", help="message of the commit")
    parser.epilog = (
        "The model card and its pictures of held-out people are uploaded too. Checkpoints, logs and caches of the "
        "training stay here."
    )


def run(args: argparse.Namespace) -> int:
    """Check the remover, upload its files and print the page's address.

    Raises:
        InputError: the folder has no sound remover.
        UsageError: an impossible repository, or a public one without `--no-private`.
        ToolkitError: the upload failed.
    """
    from huggingface_hub.utils import disable_progress_bars

    from toolkit.remover import push_remover

    if not err.is_terminal:
        disable_progress_bars()
    url = push_remover(args.remover, args.repo, private=args.private, revision=args.revision, message=args.message)
    out.print(url, soft_wrap=True)
    return 0
