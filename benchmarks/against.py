"""Runs the toolkit of this and of an earlier revision on the same files, and measures what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
"""Root of this revision's source."""


@dataclass(frozen=True)
class Cost:
    """What a command costs.

    Attributes:
        wall: seconds from start to end.
        cpu: user and system seconds of the process and of all processes that it started.
        peak: bytes of the largest of these processes.
    """

    wall: float
    cpu: float
    peak: int


@contextmanager
def revision(name: str) -> Iterator[Path]:
    """The source of an earlier revision in a temporary folder.

    Args:
        name: a commit, tag or branch.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        git = ["git", "-C", str(HERE), "worktree"]
        done = subprocess.run([*git, "add", "--detach", str(path), name], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the revision {name} cannot be checked out: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


def toolkit(source: Path, *arguments: object, codes: Sequence[int] = (0,)) -> Cost:
    """Run ``toolkit`` with these arguments from a source folder, and measure it.

    Raises:
        SystemExit: it ended with an exit code that is not one of `codes`.
    """
    return python(source, "-m", "toolkit", *arguments, codes=codes)


def python(source: Path, *arguments: object, codes: Sequence[int] = (0,)) -> Cost:
    """The same for any Python program."""
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=source, env=os.environ | {"PYTHONPATH": str(source)}, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)  # this process and those that it waited for
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode(errors='replace')}")
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss // 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, kilobytes * 1024)
