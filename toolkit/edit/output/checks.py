"""Checks that the output can be written, before hours of work instead of after them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.edit.config import WritingConfig
from toolkit.edit.output.names import SUFFIXES, comparison_name, report_name
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import derived_path, remove, remove_remains, staging_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.video.carrying import CarryingPlan

TRIED_FRAMES = 2


def check_target(
    source: Path, target: Path, config: WritingConfig, carrying: CarryingPlan | None = None
) -> CarryingPlan:
    """Write the start of the output beside it, with every track, and remove it again.

    Args:
        source: the video.
        target: its result.
        config: settings.
        carrying: what becomes of the tracks; if None, this is found out.

    Returns:
        What becomes of the source's tracks; the output must be written in the same way.

    Raises:
        UsageError: source and target are one file, the suffix or the container does not fit, a folder has the
            output's name, or the output's folder does not exist.
        InputError: the container does not take the streams.
        ToolkitError: the output may not be written.
    """
    from toolkit.edit.output.signing import check_signable
    from toolkit.video.carrying import plan_carrying
    from toolkit.video.target import check_distinct, written_through
    from toolkit.video.target import check_target as check_file

    files = {"the edited video": target, "the report": report_name(target)}
    if config.compare is not None:
        files["the comparison"] = comparison_name(target)
    for content, path in files.items():
        if path.is_dir():
            raise UsageError(f"expected to write {content} to {path}, found a folder; name another output")
    if config.c2pa_certificate is not None:
        check_signable(target)
    check_distinct(source, target)
    written = written_through(target)
    check_file(written.with_suffix(target.suffix), SUFFIXES[config.lossless], config.crf)
    if carrying is None:
        suffix = target.suffix.lower()
        with _readable(source):
            carrying = plan_carrying(source, suffix, config.audio, SUFFIXES[config.lossless])
    _try(source, _trial(target), config, carrying)
    if config.compare is not None:
        check_distinct(source, comparison_name(target))
    if target.exists() and not os.access(target, os.W_OK):
        raise ToolkitError(f"{target} exists and may not be replaced; allow writing it or name another output")
    return carrying


def plan_folder_result(source: Path, suffixes: Sequence[str], config: WritingConfig) -> CarryingPlan:
    """Choose the container that keeps most of a video's tracks, by trying.

    Args:
        source: the video.
        suffixes: of the containers to choose from, the first choice first.
        config: settings.

    Raises:
        InputError: the video cannot be read.
    """
    from toolkit.video.carrying import best_plan

    if config.c2pa_certificate is not None:
        from toolkit.edit.output.signing import SIGNABLE

        suffixes = [suffix for suffix in suffixes if suffix in SIGNABLE] or suffixes
    with _readable(source):
        return best_plan(source, suffixes, config.audio)


def remove_trials(target: Path) -> None:
    """Delete what killed runs left of `check_target`; no other process writes `target` now."""
    remove_remains(_trial(target))
    remove(_trial(target))


def _trial(target: Path) -> Path:
    """The file that is written to find out whether `target` can be."""
    from toolkit.video.target import written_through

    written = written_through(target)
    return staging_path(derived_path(written.with_name(f"{written.stem}{target.suffix}"), mark=".trial"))


def _try(source: Path, trial: Path, config: WritingConfig, carrying: CarryingPlan) -> None:
    """Write the first frames and the packets beside them."""
    from toolkit.video.retouch import VideoRetoucher
    from toolkit.video.rewrite import VideoRewriter

    try:
        with VideoRetoucher(
            source, trial, config.crf, config.lossless, stop=TRIED_FRAMES, carrying=carrying
        ) as retoucher:
            for frame in retoucher:
                retoucher.put(frame.image)
        if config.compare is not None:
            end = frame.time + 1e-3
            with VideoRewriter(source, trial, config.crf, stop_time=end, carrying=carrying) as rewriter:
                rewriter.write(frame.image, frame.time)
    finally:
        remove(trial)


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    from toolkit.video.container import DAMAGE, reason

    try:
        yield
    except DAMAGE as error:
        raise InputError(f"{source} cannot be read ({reason(error)}); check the file in a player") from None
