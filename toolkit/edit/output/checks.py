"""Checks that the output can be written, before hours of work instead of after them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from toolkit.edit.config import WritingConfig
from toolkit.edit.output.names import comparison_name, report_name
from toolkit.errors import ToolkitError, UsageError


class _Trial(Exception):
    pass


def check_target(source: Path, target: Path, config: WritingConfig) -> None:
    """Start to write the output, and stop.

    Raises:
        UsageError: source and target are one file, the suffix or the container does not fit, a folder has the
            output's name, or the output's folder does not exist.
        ToolkitError: the output may not be written.
    """
    from toolkit.edit.output.signing import check_signable
    from toolkit.video.retouch import VideoRetoucher
    from toolkit.video.rewrite import VideoRewriter

    files = {"the edited video": target, "the report": report_name(target)}
    if config.compare is not None:
        files["the comparison"] = comparison_name(target)
    for content, path in files.items():
        if path.is_dir():
            raise UsageError(f"expected to write {content} to {path}, found a folder; name another output")
    if config.c2pa_certificate is not None:
        check_signable(target)
    with suppress(_Trial), VideoRetoucher(source, target, config.crf, config.lossless):
        raise _Trial
    if config.compare is not None:
        with suppress(_Trial), VideoRewriter(source, comparison_name(target), config.crf):
            raise _Trial
    if target.exists() and not os.access(target, os.W_OK):
        raise ToolkitError(f"{target} exists and may not be replaced; allow writing it or name another output")
