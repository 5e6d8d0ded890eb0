"""The campaign's results: one JSON line for each trial, and a table of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any


class Results:
    """A file of records, which a campaign that goes on appends to.

    Args:
        path: JSON lines; a last line that a kill cut off is dropped.
    """

    def __init__(self, path: Path):
        self._path, self.records = path, []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                self.records.append(json.loads(line))
            except ValueError:
                continue
        if path.exists():
            path.write_text("".join(json.dumps(record) + "\n" for record in self.records))

    def add(self, part: str, seed: int, record: dict[str, Any]) -> None:
        """Append a record; it has a ``group``, a ``count`` and ``finds``."""
        self.records.append({"part": part, "campaign_seed": seed, **record})
        with self._path.open("a") as file:
            file.write(json.dumps(self.records[-1]) + "\n")

    def counts(self, part: str, seed: int) -> dict[str, int]:
        """Trials that count, by group, and runs under ``GROUP runs``."""
        counted: Counter[str] = Counter()
        for record in self.records:
            if record["part"] == part and record["campaign_seed"] == seed:
                counted[record["group"]] += record["count"]
                counted[f"{record['group']} runs"] += 1
        return dict(counted)

    def finds(self, part: str) -> list[str]:
        """All finds of a part."""
        return [find for record in self.records if record["part"] == part for find in record["finds"]]

    def table(self) -> str:
        """Markdown: a row for each part and group."""
        rows: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [set(), 0, 0, 0])
        for record in self.records:
            row = rows[record["part"], record["group"]]
            row[0].add(record["campaign_seed"])
            row[1] += record["count"]
            row[2] += 1
            row[3] += bool(record["finds"])
        lines = ["| part | group | seeds | trials | runs | runs with a find |", "|---|---|---|---|---|---|"]
        for (part, group), (seeds, trials, runs, finds) in sorted(rows.items()):
            told = ", ".join(map(str, sorted(seeds)))
            lines.append(f"| {part} | {group} | {told} | {trials} | {runs} | {finds} |")
        return "\n".join(lines)
