"""A part of the campaign that always kills at the same file operations: see docs/reliability.md for the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_runs_finish_with_the_same_bytes(tmp_path):
    words = [sys.executable, "-m", "tests.campaign", "--part", "kills", "--count", "1", "--output", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [record["finds"] for record in records] == [[]] * len(records), ended.stderr
    assert {record["group"] for record in records} == {"build", "finetune", "edit", "evaluate"}
    assert all(record["count"] for record in records) and ended.returncode == 0
