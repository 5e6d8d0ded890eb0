"""Whether the output can be written, asked before hours of work and not after them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from toolkit.edit.config import WritingConfig
from toolkit.errors import ToolkitError, UsageError


class _Trial(Exception):
    pass


def check_target(source: Path, target: Path, config: WritingConfig) -> None:
    """Begin to write and give up again.

    Raises:
        UsageError: source and target are one file, the name's ending or the container does not fit, a folder is in
            the way, or there is no such folder.
        ToolkitError: it may not be written there.
    """
    from toolkit.edit.provenance import check_signable
    from toolkit.video.retouch import VideoRetoucher
    from toolkit.video.rewrite import VideoRewriter

    beside = [report_name(target), *([comparison_name(target)] if config.compare is not None else [])]
    for path, what in ((target, "the edited video"), *((path, "what is written beside it") for path in beside)):
        if path.is_dir():
            raise UsageError(f"{path} is a folder, in the place of {what}; name another output")
    if config.c2pa_certificate is not None:
        check_signable(target)
    with suppress(_Trial), VideoRetoucher(source, target, config.crf, config.lossless):
        raise _Trial
    if config.compare is not None:
        with suppress(_Trial), VideoRewriter(source, comparison_name(target), config.crf):
            raise _Trial
    if target.exists() and not os.access(target, os.W_OK):
        raise ToolkitError(
            f"{target} is there already and may not be replaced; allow writing it or name another output"
        )


def report_name(target: Path) -> Path:
    """``face.mp4`` has its report in ``face.mp4.json``."""
    return target.with_name(f"{target.name}.json")


def comparison_name(target: Path) -> Path:
    """``face.mp4`` has its comparison in ``face.compare.mp4``."""
    return target.with_name(f"{target.stem}.compare{target.suffix}")


def preview_name(target: Path) -> Path:
    """``face.mp4`` becomes ``face.preview.mp4``."""
    return target.with_name(f"{target.stem}.preview{target.suffix}")
