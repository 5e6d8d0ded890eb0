"""A few trials of each part of the campaign, always the same: see docs/reliability.md for the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_trials_of_each_part_find_nothing(tmp_path):
    words = [sys.executable, "-m", "tests.campaign", "--few", "--output", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {record["part"] for record in records} == {"kills", "power", "mutations", "faults", "memory"}, ended.stderr
    assert [record["finds"] for record in records if record["finds"]] == [], ended.stderr
    assert ended.returncode == 0 and all(record["count"] for record in records)
