"""Kills at random moments: a run that is repeated until it finishes leaves what an undisturbed run leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaign import server
from tests.campaign.fixtures import Fixtures, tree

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree", "shutil.move")
ATTEMPTS = 5
"""Kills of one run at most, before it may finish."""


@dataclass
class Kill:
    """One kill, and all that is needed to repeat it.

    Attributes:
        moment: CPU seconds, or the number of the file operation at which the process kills itself.
    """

    verb: str
    how: str
    moment: float
    hit: bool = False


@dataclass
class Run:
    """A run that was killed and repeated."""

    verb: str
    seed: int
    kills: list[Kill] = field(default_factory=list)
    finds: list[str] = field(default_factory=list)


def commands(fixtures: Fixtures) -> dict[str, tuple[list[str], str]]:
    """Verb -> the words of its command, and what it writes."""
    return {
        "edit": (fixtures.edit(fixtures.video, "out.mkv"), "out.mkv"),
        "edit a folder": (fixtures.edit(fixtures.videos, "out"), "out"),
        "edit, 2 threads": (
            [*fixtures.edit(fixtures.video, "out.mkv"), "--motion-layers", "none", "--workers", "2"],
            "out.mkv",
        ),
        "edit a folder, 2 workers": ([*fixtures.edit(fixtures.videos, "out"), "--workers", "2"], "out"),
        "build-dataset": (fixtures.build(fixtures.videos, "out"), "out"),
        "build-dataset, shards, 2 workers": (
            [*fixtures.build(fixtures.videos, "out", workers=2), "--format", "webdataset"],
            "out",
        ),
        "finetune": ([*fixtures.finetune(fixtures.dataset, "out"), "--resume-from-checkpoint", "latest"], "out"),
        "evaluate": (fixtures.evaluate(fixtures.videos, fixtures.edited, "out"), "out"),
        "evaluate, 2 workers": (fixtures.evaluate(fixtures.videos, fixtures.edited, "out", workers=2), "out"),
    }


VERBS = {
    "build": ("build-dataset", "build-dataset, shards, 2 workers"),
    "finetune": ("finetune",),
    "edit": ("edit", "edit a folder", "edit, 2 threads", "edit a folder, 2 workers"),
    "evaluate": ("evaluate", "evaluate, 2 workers"),
}
"""What is counted together."""


class Kills:
    """Kills one command after the other.

    Args:
        fixtures: the inputs.
        folder: where runs write.
    """

    def __init__(self, fixtures: Fixtures, folder: Path):
        self._fixtures, self._folder = fixtures, folder
        self._commands = commands(fixtures)
        self._wanted: dict[str, tuple[dict[str, str], float, int]] = {}

    def undisturbed(self, verb: str) -> tuple[dict[str, str], float, int]:
        """The files of a run that nobody disturbs, its CPU seconds, and its number of file operations."""
        if verb not in self._wanted:
            folder = self._fresh(f"whole-{verb}")
            counted = folder.parent / "events"
            ended = self._child(verb, folder, before=lambda: _count_events(counted)).wait()
            if ended.code not in (0, 1) or not (folder / self._commands[verb][1]).exists():
                raise RuntimeError(f"{verb} must work when it is not disturbed: {ended}")
            self._wanted[verb] = tree(folder), ended.cpu, counted.stat().st_size
        return self._wanted[verb]

    def run(self, verb: str, seed: int, most: int = ATTEMPTS) -> Run:
        """Kill a run up to `most` times, let it finish, and compare."""
        wanted, seconds, events = self.undisturbed(verb)
        rng, result = random.Random(f"{verb} {seed}"), Run(verb, seed)
        folder = self._fresh(f"killed-{verb}")
        for attempt in range(most + 1):
            if attempt == most:
                ended = self._child(verb, folder).wait()
            else:
                ended = self._killed(verb, folder, rng, seconds, events, result)
            result.finds += _ending(ended)
            if not ended.why and ended.code in (0, 1):
                break
        found = tree(folder)
        if ended.code != 0:
            result.finds.append(f"the last run failed: {ended}")
        result.finds += [
            f"{name} is {found.get(name, 'absent')}, expected {wanted.get(name, 'nothing')}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
        result.finds += [
            f"left in the temporary folder: {path.name}" for path in (folder.parent / "home/tmp").iterdir()
        ]
        return result

    def _killed(self, verb: str, folder: Path, rng: random.Random, seconds: float, events: int, run: Run):
        how = rng.choice(["SIGKILL", "SIGKILL", "SIGKILL", "SIGKILL all", "SIGTERM", "SIGINT all"])
        if rng.random() < 0.4:
            run.kills.append(Kill(verb, how, rng.uniform(0, seconds)))
            number, everyone = signal.Signals[how.split()[0]], "all" in how
            ended = self._child(verb, folder).wait(
                kill_after=run.kills[-1].moment, kill=lambda child: child.signal(number, everyone)
            )
        else:
            how = "SIGKILL"
            run.kills.append(Kill(verb, how, rng.randrange(1, events + 1)))
            moment = int(run.kills[-1].moment)
            ended = self._child(verb, folder, before=lambda: kill_at_event(moment)).wait()
            if ended.code == -signal.SIGKILL:
                ended.why = ended.why or "killed"
        run.kills[-1].hit = ended.why == "killed" and ended.code in (-9, -15, -2, 130)
        return ended

    def _child(self, verb: str, folder: Path, before: Callable[[], None] | None = None) -> server.Child:
        environment = self._fixtures.environment(folder.parent / "home")
        return server.Child(self._commands[verb][0], folder, environment=environment, before=before)

    def _fresh(self, name: str) -> Path:
        folder = self._folder / name.replace(" ", "-").replace(",", "")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "run").mkdir(parents=True)
        return folder / "run"


def _ending(ended: server.Ended) -> Iterator[str]:
    # An interruption within a finaliser is lost, which Python says itself; the run goes on.
    if ended.traceback and not ("Exception ignored in" in ended.err and ended.code in (0, 130)):
        yield f"traceback: {ended}"
    if ended.orphans:
        yield f"orphans: {ended.orphans}"
    if ended.why in ("time", "memory"):
        yield f"ended for its {ended.why}: {ended}"


def kill_at_event(number: int) -> None:
    """Make this process kill itself at its file operation of that number."""
    left, owner = number, os.getpid()  # a forked worker inherits the hook

    def hook(event: str, args: tuple) -> None:
        nonlocal left
        if event in EVENTS and os.getpid() == owner:
            left -= 1
            if left == 0:
                os.kill(owner, signal.SIGKILL)

    sys.addaudithook(hook)


def _count_events(path: Path) -> None:
    """Write one byte for each file operation of this process."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    owner = os.getpid()

    def hook(event: str, args: tuple) -> None:
        if event in EVENTS and os.getpid() == owner:
            os.write(file, b".")

    sys.addaudithook(hook)


def campaign(
    fixtures: Fixtures, folder: Path, count: int, seed: int, done: dict[str, int], only: str = ""
) -> Iterator[dict]:
    """Kill each group of verbs until `count` kills hit; yields a record of each run.

    Args:
        done: kills of each group that an earlier campaign counted, and the runs under ``"GROUP runs"``.
    """
    kills = Kills(fixtures, folder)
    for group, verbs in VERBS.items():
        if only not in group:
            continue
        hit, number = done.get(group, 0), done.get(f"{group} runs", 0)
        while hit < count:
            run = kills.run(verbs[number % len(verbs)], seed + number)
            hit, number = hit + sum(kill.hit for kill in run.kills), number + 1
            yield {"group": group, "count": sum(kill.hit for kill in run.kills), **asdict(run)}
