"""Stopping and resuming: a resumed pretraining equals an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from toolkit.errors import UsageError
from toolkit.pretrain import PretrainObserver, pretrain


def weights(folder):
    return {
        f"{part} {key}": value
        for part in ("unet", "controlnet_tile", "text_encoder")
        for key, value in load_file(folder / part / "diffusion_pytorch_model.safetensors").items()
    }


def equal(one, other):
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all((first[key] == second[key]).all() for key in first)


class StopAt(PretrainObserver):
    def __init__(self, at):
        self.at, self.resumed_at, self.warnings = at, None, []

    def phase(self, name, total, unit, done=0):
        self.resumed_at = done or None

    def advance(self, done, **figures):
        if done == self.at:
            raise RuntimeError("killed")

    def warning(self, sentence):
        self.warnings.append(sentence)


def checkpoints(folder, stage="backbone"):
    return sorted(path.name for path in (folder / ".pretrain" / stage).glob("*.pt"))


@pytest.mark.parametrize("at", [3, 5])
def test_interrupted_equals_uninterrupted(settings, tmp_path, at):
    whole, parted = settings(output=tmp_path / "whole"), settings(output=tmp_path / "parted")
    pretrain("nano", whole)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain("nano", parted, StopAt(at))
    watch = StopAt(None)
    pretrain("nano", parted, watch)
    assert watch.resumed_at == at - 1
    assert equal(whole.output, parted.output)


def test_later_phases_may_change(settings, tmp_path, recipe_of, phases):
    """A recipe with the same first phase resumes from its end; the next phase starts from the averages."""
    longer = recipe_of(phases[0], phases[1] | {"steps": 4})
    straight, changed = settings(output=tmp_path / "a", recipe=longer), settings(output=tmp_path / "b")
    pretrain("nano", straight)
    pretrain("nano", changed)
    assert checkpoints(changed.output) == ["checkpoint-3.pt", "checkpoint-4.pt", "checkpoint-6.pt"]
    watch = StopAt(None)
    pretrain("nano", settings(output=tmp_path / "b", recipe=longer), watch)
    assert watch.resumed_at == 3
    assert equal(straight.output, changed.output)


@pytest.mark.parametrize("steps", [2, 5])
def test_a_phase_without_decay_may_be_shorter_or_longer(settings, tmp_path, recipe_of, phases, steps):
    other = recipe_of(phases[0] | {"steps": steps}, phases[1])
    straight, changed = settings(output=tmp_path / "a", recipe=other), settings(output=tmp_path / "b")
    pretrain("nano", straight)
    with pytest.raises(RuntimeError):
        pretrain("nano", changed, StopAt(3))
    watch = StopAt(None)
    pretrain("nano", settings(output=tmp_path / "b", recipe=other), watch)
    assert watch.resumed_at == 2
    assert equal(straight.output, changed.output)


def test_a_damaged_checkpoint_is_passed_over(settings):
    config = settings()
    with pytest.raises(RuntimeError):
        pretrain("nano", config, StopAt(5))
    newest = config.output / ".pretrain" / "backbone" / "checkpoint-4.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    watch = StopAt(None)
    pretrain("nano", config, watch)
    assert watch.resumed_at == 3
    assert "checkpoint-4.pt is damaged" in watch.warnings[0]


def test_other_settings_are_not_gone_on_with(settings, datasets, recipe_of, phases):
    with pytest.raises(RuntimeError):
        pretrain("nano", settings(), StopAt(3))
    with pytest.raises(UsageError, match="belongs to another training: seed was 0, now 1"):
        pretrain("nano", settings(seed=1))
    with pytest.raises(UsageError, match="belongs to another training: datasets"):
        pretrain("nano", settings(data=[datasets[2]]))
    with pytest.raises(UsageError, match=r"belongs to another training: phases\.0\.learning_rate was 0.001, now 0.1"):
        pretrain("nano", settings(recipe=recipe_of(phases[0] | {"learning_rate": 0.1})))


def test_a_new_backbone_makes_its_other_stages_new(settings, recipe_of, phases):
    pretrain("nano", settings())
    pretrain("nano", settings(stage="inpaint"))
    pretrain("nano", settings(recipe=recipe_of(phases[0])))
    with pytest.raises(UsageError, match=r"belongs to another training: .*backbone\.unet"):
        pretrain("nano", settings(stage="inpaint"))


def test_readers_in_processes_see_the_same(settings, tmp_path):
    one, other = settings(output=tmp_path / "one"), settings(output=tmp_path / "other", dataloader_num_workers=2)
    pretrain("nano", one)
    pretrain("nano", other)
    assert equal(one.output, other.output)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_terminated_process_leaves_a_checkpoint(settings, recipe_of, phases, datasets, tmp_path):
    output, endless = tmp_path / "killed", recipe_of(phases[0] | {"steps": 100_000})
    words = ["pretrain", "nano", "--stage", "backbone", "--data", *map(str, datasets[:2]), "--output", str(output)]
    words += ["--recipe", str(endless), "--device", "cpu", "--dataloader-num-workers", "1"]
    words += ["--checkpointing-steps", "3"]
    process = subprocess.Popen([sys.executable, "-m", "toolkit", *words], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while not (output / ".pretrain" / "backbone").is_dir() or not checkpoints(output):
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "the same command resumes" in said
    steps = [int(name.split("-")[1].split(".")[0]) for name in checkpoints(output)]
    watch = StopAt(max(steps) + 2)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain("nano", settings(output=output, recipe=endless), watch)
    assert watch.resumed_at == max(steps)
