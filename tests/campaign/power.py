"""Power cuts: the process is killed, and what it wrote and did not flush to the disk is lost, in part or whole.

A disk keeps what was flushed. Of the rest, names change in their order up to some moment, and the content of a file is
whole, cut off, zeros or empty, but for the start that was flushed before more was appended. The same command must then
end with the same bytes; and what a finished command has published must be whole without another run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign.fixtures import Fixtures, tree
from tests.campaign.kills import Kills, kill_at_event
from tests.campaign.mutations import judge

VERBS = {
    "build": "build-dataset",
    "build, shards, 2 workers": "build-dataset, shards, 2 workers",
    "finetune": "finetune",
    "edit": "edit",
    "edit a folder": "edit a folder",
    "evaluate": "evaluate",
}


def record(folder: Path, log: Path) -> None:
    """Make this process note what it renames, deletes and flushes below `folder`; replaced files stay as links."""
    kept = log.with_suffix(".kept")
    kept.mkdir(exist_ok=True)
    numbers = itertools.count()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real = {
        name: getattr(os, name) for name in ("rename", "replace", "unlink", "remove", "rmdir", "fsync", "fdatasync")
    }

    def note(**values) -> None:
        os.write(file, json.dumps({**values, "time": time.time_ns()}).encode() + b"\n")

    def full(path, dir_fd=None) -> str:
        base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
        return os.path.join(base, os.fsdecode(path))

    def keep(path: str) -> str | None:
        if not os.path.isfile(path) or os.path.islink(path):
            return None
        copy = str(kept / f"{os.getpid()}-{next(numbers)}")
        os.link(path, copy)
        return copy

    def ours(path: str) -> bool:
        return os.path.normpath(path).startswith(str(folder))

    def renaming(name: str) -> Callable:
        def rename(source, target, *, src_dir_fd=None, dst_dir_fd=None):
            before, after = full(source, src_dir_fd), full(target, dst_dir_fd)
            copy = keep(after) if ours(after) else None
            real[name](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            if ours(after):
                note(kind="rename", source=before, target=after, copy=copy)

        return rename

    def deleting(name: str) -> Callable:
        def delete(path, *, dir_fd=None):
            where = full(path, dir_fd)
            copy = keep(where) if ours(where) else None
            real[name](path, dir_fd=dir_fd)
            if copy:
                note(kind="delete", target=where, copy=copy)

        return delete

    def flushing(name: str) -> Callable:
        def flush(descriptor):
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            real[name](number)
            status = os.fstat(number)
            path = os.readlink(f"/proc/self/fd/{number}")
            folder = stat.S_ISDIR(status.st_mode)
            note(kind="flush", inode=status.st_ino, folder=folder, path=path, size=status.st_size)

        return flush

    for name in ("rename", "replace"):
        setattr(os, name, renaming(name))
    for name in ("unlink", "remove"):
        setattr(os, name, deleting(name))
    for name in ("fsync", "fdatasync"):
        setattr(os, name, flushing(name))


def lose(folder: Path, log: Path, rng: random.Random, since: int = 0) -> list[str]:
    """Take away what was written after `since` (nanoseconds) and not flushed; returns what was done."""
    notes = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    flushed = {}
    for one in notes:
        if one["kind"] == "flush":
            flushed[one["inode"]] = one["time"], one["size"]
    folders = [(one["path"], one["time"]) for one in notes if one["kind"] == "flush" and one["folder"]]

    def lasting(one: dict) -> bool:
        parent = os.path.normpath(os.path.dirname(one["target"]))
        return any(os.path.normpath(path) == parent and moment >= one["time"] for path, moment in folders)

    # The disk's journal keeps the order: nothing is lost before something that is kept.
    changes = [one for one in notes if one["kind"] != "flush"]
    first = max((index + 1 for index, one in enumerate(changes) if lasting(one)), default=0)
    lost = changes[rng.randint(first, len(changes)) :]
    said = []
    for one in reversed(lost):
        target = Path(one["target"])
        with contextlib.suppress(OSError):
            if one["kind"] == "rename":
                Path(one["source"]).parent.mkdir(parents=True, exist_ok=True)
                target.rename(one["source"])
            target.parent.mkdir(parents=True, exist_ok=True)
            if one["copy"] and not target.exists():
                os.rename(one["copy"], target)
            said.append(f"undone: {one['kind']} {target.relative_to(folder)}")
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        moment, size = flushed.get(status.st_ino, (since, 0))
        if moment >= status.st_mtime_ns or not stat.S_ISREG(status.st_mode) or not status.st_size:
            continue
        kept = size if size < status.st_size else 0  # a file of one size is written in place
        what = rng.choice(("kept", "kept", "empty", "cut off", "zeros"))
        if what == "empty":
            os.truncate(path, kept)
        elif what == "cut off":
            os.truncate(path, rng.randrange(kept, status.st_size))
        elif what == "zeros":
            os.truncate(path, kept)
            os.truncate(path, status.st_size)
        said += [f"{what}: {path.relative_to(folder)}"] if what != "kept" else []
    shutil.rmtree(log.with_suffix(".kept"), ignore_errors=True)
    log.unlink(missing_ok=True)
    return said


class Cuts(Kills):
    """Cuts the power during or after a command, and repeats it."""

    def cut(self, group: str, verb: str, seed: int) -> dict:
        """One cut; returns a record."""
        wanted, _, events = self.undisturbed(verb)
        rng = random.Random(f"power {verb} {seed}")
        folder = self._fresh(f"cut-{verb}")
        log = folder.parent / "log"
        moment = rng.randint(1, events) if rng.random() < 0.8 else 0
        count = 1 if rng.random() < 0.7 else 2
        finds, said = [], []
        for _ in range(count):

            def before() -> None:
                record(folder, log)
                if moment:
                    kill_at_event(moment)

            since = time.time_ns() - 20_000_000  # file times are coarse
            ended = self._child(verb, folder, before=before).wait()
            finds += [] if ended.code == -signal.SIGKILL and not ended.why else judge(ended)
            said += lose(folder, log, rng, since)
            if ended.code == 0:
                found = tree(folder)
                finds += [f"finished, then lost: {name}" for name in wanted if found.get(name) != wanted[name]]
        last = self._child(verb, folder).wait()
        finds += judge(last)
        if last.code:
            finds.append(f"the same command must work after a cut: {last}")
        found = tree(folder)
        finds += [
            f"{name} is {found.get(name, 'absent')}, expected {wanted.get(name, 'nothing')}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
        return {"group": group, "count": 1, "verb": verb, "seed": seed, "event": moment, "lost": said, "finds": finds}


def campaign(
    fixtures: Fixtures, folder: Path, count: int, seed: int, done: dict[str, int], only: str = ""
) -> Iterator[dict]:
    """Cut the power `count` times for each command; commands take turns."""
    cuts = Cuts(fixtures, folder)
    for number in range(count):
        for group, verb in VERBS.items():
            if only in group and done.get(group, 0) <= number:
                yield cuts.cut(group, verb, seed * 1_000_000 + number)
