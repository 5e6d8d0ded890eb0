"""The script for a GPU runs without one: every part at tiny size, and the table."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(gpu.__file__).parents[1]

FIGURES = {
    "memory": ["weights", "encoding", "decoding", "step of a window", "with guidance"],
    "edit": ["diffusers' time / ours"],
    "attention": ["cross-frame attention"],
    "finetune": ["finetuning, batch", "steps per second"],
    "nano-training": ["stage backbone", "stage regions", "stage inpaint", "stage tile", "stage motion"],
}


def test_the_parts_fit_into_eight_minutes():
    assert sum(seconds for _, seconds in gpu.PARTS.values()) <= gpu.SECONDS <= 8 * 60


@pytest.mark.parametrize("part", FIGURES)
def test_each_part_runs_dry_and_judges_nothing(part):
    rows = list(gpu.PARTS[part][0](True))
    assert len(rows) == len(FIGURES[part])
    for row, words in zip(rows, FIGURES[part]):
        assert words in row.figure and row.value and row.good is None


@pytest.mark.slow
def test_the_whole_script_runs_dry():
    done = subprocess.run([ROOT / "benchmarks" / "gpu.sh", "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"| {part} |" in done.stdout for part in gpu.PARTS)
    assert "figures mean nothing" in done.stdout and "MISSED" not in done.stdout


def test_the_table_keeps_what_failed_and_goes_on(monkeypatch, capsys):
    made = {
        "memory": [gpu.memory_row("VAE", 5.5, 5.0, dry=False), gpu.memory_row("step", 2.6, 1.3, dry=False)],
        "edit": [gpu.ratio_row("edit", 1.4, 1.0, "note", dry=False)],
        "attention": [gpu.Row("attention", "failed: a | b", "", False)],
    }
    monkeypatch.setattr(gpu, "run_part", lambda name, dry, seconds: made[name])
    assert gpu.main(["--dry-run", "--parts", "memory", "edit", "attention"]) == 1
    table = capsys.readouterr().out
    assert "| memory | VAE, peak GiB | 5.50 | computed 5 | ok |" in table
    assert "| memory | step, peak GiB | 2.60 | computed 1.3 | MISSED |" in table
    assert "| edit | edit | 1.40 (note) | at least 1 | ok |" in table
    assert "| attention | attention | failed: a / b |  | MISSED |" in table


def test_a_part_that_hangs_or_fails_costs_only_its_rows(monkeypatch):
    real = subprocess.Popen

    def part(rest):
        script = f"""echo 'row ["one", "1"]'; {rest}"""  # a shell, because it starts at once on any machine
        monkeypatch.setattr(gpu.subprocess, "Popen", lambda command, **settings: real(["sh", "-c", script], **settings))

    part("sleep 600")
    assert gpu.run_part("edit", False, 5) == [
        gpu.Row("one", "1"),
        gpu.Row("edit", "not finished within 5 s", "", False),
    ]
    part("echo out of memory >&2; exit 1")
    rows = gpu.run_part("edit", False, 60)
    assert rows == [gpu.Row("one", "1"), gpu.Row("edit", "failed: out of memory", "", False)]


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "--dry-run" in capsys.readouterr().err
