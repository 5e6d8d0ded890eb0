"""Measures what an edit costs: arithmetic of the networks, weights, and CPU time."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.against import HERE, python, revision
from benchmarks.edit_speed import BASELINE, FRAMES, Bench

PARTS = ("toolkit", "attributes", "tasks")
"""Packages that weights are shipped in."""

COUNTER = Path(__file__).with_name("counting.py")


def weights(source: Path) -> int:
    """Bytes of all weights in a source folder."""
    return sum(path.stat().st_size for part in PARTS for path in (source / part).rglob("*.safetensors"))


def arithmetic(source: Path, clip: Path, task: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """GFLOP of each network in an edit of a clip by the toolkit in `source`, multiplications and additions counted.

    Returns:
        ``frames`` of the clip, and ``networks``: class name -> GFLOP of the whole edit.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "counted.json"
        python(source, COUNTER, result, clip, Path(folder) / "edited.mkv", "--task", task, "--lossless", *arguments)
        return json.loads(result.read_bytes())


def per_frame(counted: dict[str, Any]) -> dict[str, float]:
    """GFLOP of each network for a frame, and their ``total``."""
    found = {name: total / counted["frames"] for name, total in counted["networks"].items()}
    return found | {"total": sum(found.values())}


def cpu_times(sources: dict[str, Path], task: str, rounds: int, quick: bool) -> dict[str, Any]:
    """CPU time of a whole edit of the sample clip, start-up included, against the revision `BASELINE`.

    Returns:
        ``seconds``: CPU seconds by variant and of the baseline, in the order of the runs; ``ratios``: variant ->
        baseline / variant, the median of the rounds; ``frames`` of the clip.
    """
    spent: dict[str, list[float]] = {name: [] for name in (BASELINE, *sources)}
    with tempfile.TemporaryDirectory() as folder, revision(BASELINE) as old:
        bench = Bench(Path(folder), old, rounds, quick)
        clip = bench.clip(task)
        for _ in range(1 if quick else rounds):
            for name, source in {BASELINE: old, **sources}.items():
                spent[name].append(bench.edit(source, clip, task).cpu)
    ratios = {
        name: median(before / after for before, after in zip(spent[BASELINE], spent[name], strict=True))
        for name in sources
    }
    return {"seconds": spent, "ratios": ratios, "frames": 24 if quick else FRAMES}


def sample(task: str, folder: Path, frames: int) -> Path:
    """The sample clip of 512 pixels with the attribute drawn on it."""
    path = folder / f"{task}-{frames}.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        python(HERE, "-c", "import sys, benchmarks.edit_speed as b; b.draw(*sys.argv[1:])", task, frames, 512, path)
    return path
