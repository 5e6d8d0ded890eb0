"""Memory over time: many edits and evaluations in one process, and one long edit, need no more late than early."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign import server
from tests.campaign.fixtures import FRAMES, SIDE, Fixtures, write_video

WARM_UP = 0.2
"""Share of a series in which libraries may still fill their caches."""
GROWTH = 24 << 20
"""Bytes that a series may grow by after that; a leak grows with the number of runs."""
LENGTH = 40
"""Frames of the long edit for each of its trials: 500 trials are 20,000 frames."""
SAMPLES = 60


class Meter:
    """Writes memory, threads and open files of this process to a file."""

    def __init__(self, path: Path):
        self._path = path

    def __call__(self, number: int, phase: str = "") -> None:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        values = {
            "number": number,
            "phase": phase,
            "memory": server.memory_of(os.getpid()),
            "threads": len(os.listdir("/proc/self/task")),
            "files": len(os.listdir("/proc/self/fd")),
        }
        with self._path.open("a") as file:
            file.write(json.dumps(values) + "\n")


def edits(fixtures: Fixtures, folder: Path, count: int, meter: Meter) -> None:
    """Edits, each of which loads its own models."""
    from toolkit.edit import EditConfig, edit_video

    config = EditConfig.model_validate(fixtures.settings())
    for number in range(count):
        edit_video(fixtures.video, folder / "out.mkv", config)
        meter(number)


def videos(fixtures: Fixtures, folder: Path, count: int, meter: Meter) -> None:
    """Edits that share one session, as those of a folder do."""
    from toolkit.edit import EditConfig, EditObserver
    from toolkit.edit.video import edit_in_session, open_session

    session = open_session(EditConfig.model_validate(fixtures.settings()))
    for number in range(count):
        edit_in_session(session, fixtures.video, folder / "out.mkv", EditObserver())
        meter(number)


def evaluations(fixtures: Fixtures, folder: Path, count: int, meter: Meter) -> None:
    """Evaluations without workers."""
    from toolkit.evaluate.config import EvaluateConfig
    from toolkit.evaluate.evaluation import evaluate
    from toolkit.executor import InlineExecutor

    for number in range(count):
        shutil.rmtree(folder / "report", ignore_errors=True)
        settings = {"task": "stickers", "flow": "dis", "identity": False, "output": folder / "report"}
        edited = [f"m={fixtures.edited / 'a.mkv'}"]
        evaluate(EvaluateConfig(original=fixtures.video, edited=edited, **settings), executor=InlineExecutor())
        meter(number)


def frames(fixtures: Fixtures, folder: Path, count: int, meter: Meter) -> None:
    """One long edit, measured after every few frames of each step."""
    import numpy as np

    from toolkit.edit import EditConfig, EditObserver, edit_video
    from toolkit.testing.sample import sample_frames

    total = max(count * LENGTH, FRAMES)
    faces = sample_frames(FRAMES, SIDE)
    video = folder / "long.mp4"
    if not video.exists():
        write_video(video, _Loop(faces, np.zeros_like(faces[0]), total), sound=False)
    step = max(1, 3 * total // SAMPLES)

    class Watch(EditObserver):
        done, name = 0, ""

        def phase(self, name, total, unit):
            self.name = name

        def advance(self, done):
            self.done += 1
            if self.done % step == 0:
                meter(self.done, self.name)

    edit_video(video, folder / "out.mkv", EditConfig.model_validate(fixtures.settings()), Watch())


class _Loop:
    """Faces in a loop, with a black picture now and then, so that there are many tracks."""

    def __init__(self, faces, black, total: int):
        self._faces, self._black, self._total = faces, black, total

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index: int):
        if index >= self._total:
            raise IndexError(index)
        turn = index % (2 * len(self._faces))
        return self._black if index % 500 > 480 else self._faces[min(turn, 2 * len(self._faces) - 1 - turn)]


GROUPS: dict[str, tuple[Callable[[Fixtures, Path, int, Meter], None], int]] = {
    "edits in one process": (edits, 1),
    "videos of one session": (videos, 1),
    "evaluations in one process": (evaluations, 1),
    "frames of one edit": (frames, LENGTH),
}
"""Group -> function, and how much one trial counts."""
SHARES = {"evaluations in one process": 0.4}
"""A group's share of the trials, where it is not 1."""


def judge(samples: list[dict]) -> list[str]:
    """What grew after the warm-up, in each phase: a new phase may need other models."""
    phases = {one["phase"] for one in samples}
    if len(phases) > 1:
        return [
            f"{phase}: {find}"
            for phase in sorted(phases)
            if len(same := [one for one in samples if one["phase"] == phase]) >= 8
            for find in judge([one | {"phase": ""} for one in same])
        ]
    late = samples[int(len(samples) * WARM_UP) :]
    if len(late) < 4:
        return ["too few samples to tell"]
    half, finds = len(late) // 2, []
    for name, allowed in (("memory", GROWTH), ("threads", 0), ("files", 0)):
        first, second = (sorted(one[name] for one in part)[len(part) // 2] for part in (late[:half], late[half:]))
        if second - first > allowed:
            finds.append(f"{name} grew from {first} to {second} between the middles of both halves")
    return finds


def campaign(
    fixtures: Fixtures, folder: Path, count: int, seed: int, done: dict[str, int], only: str = ""
) -> Iterator[dict]:
    """Each group once, with `count` trials in one process."""
    folder.mkdir(exist_ok=True)
    for group, (function, worth) in GROUPS.items():
        wanted = max(1, round(count * SHARES.get(group, 1)))
        if only not in group or done.get(group, 0) >= wanted * worth:
            continue
        place = folder / group.replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path = folder / f"{place.name}.jsonl"
        path.unlink(missing_ok=True)
        words = _bound(function, fixtures, place, wanted, Meter(path))
        environment = fixtures.environment(folder / "home")
        limits = {"cpu_seconds": 120 + 40 * wanted}
        ended = server.Child(words, place, environment=environment, **limits).wait(seconds=1200 + 300 * wanted)
        samples = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        finds = [] if ended.code == 0 else [f"must work: {ended}"]
        finds += judge(samples) if len(samples) >= 10 else []
        yield {
            "group": group,
            "count": wanted * worth,
            "seed": seed,
            "seconds": round(ended.seconds, 1),
            "peak_mib": ended.peak >> 20,
            "curve_mib": [one["memory"] >> 20 for one in samples[:: max(1, len(samples) // 20)]],
            "threads": sorted({one["threads"] for one in samples}),
            "files": sorted({one["files"] for one in samples}),
            "finds": finds,
        }


def _bound(function, *arguments) -> Callable[[], int]:
    def run() -> int:
        function(*arguments)
        return 0

    return run
