"""Stopping and resuming: a resumed training equals an uninterrupted one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from diffusers import ControlNetModel

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.finetune import finetune
from toolkit.finetune.checkpoints import Checkpoints, SaveError
from toolkit.remover import read_remover


def curve(output):
    """Losses by step, and figures by validated step."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    return losses, {line["step"]: line["validation"] for line in lines if "validation" in line}


def weights(folder):
    return ControlNetModel.from_pretrained(folder).state_dict()


def same(one, other, tolerance=0.0):
    return one.keys() == other.keys() and all(
        (one[name].double() - other[name].double()).abs().max() <= tolerance for name in one
    )


@pytest.fixture(scope="module")
def finished(make_settings, tmp_path_factory):
    """A finished training of 4 steps; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "remover"
    finetune(make_settings(folder))
    return folder


@pytest.fixture
def trained(finished, settings):
    """The config of a training of 4 steps that is finished."""
    config = settings(max_train_steps=4)
    shutil.copytree(finished, config.output)
    return config


EVERYTHING = {
    "optimisation": {
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 2,
        "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True,
    },
    "loss": {"use_ema": True, "mask_weight": 3.0, "snr_gamma": 5.0, "proportion_empty_prompts": 0.2},
    "augmentation": {"variants": 2},
}


@pytest.mark.parametrize("extras", [{}, EVERYTHING], ids=["plain", "everything"])
def test_interrupted_equals_uninterrupted(settings, tmp_path, extras):
    whole = settings(output=tmp_path / "whole", max_train_steps=6, **extras)
    finetune(whole)
    parted = settings(output=tmp_path / "parted", max_train_steps=6, **extras)

    class Stop(Exception):
        pass

    from toolkit.finetune import FinetuneObserver

    class Breaks(FinetuneObserver):
        def advance(self, done, loss=None, **figures):
            if loss is not None and done == 5:
                raise Stop

    with pytest.raises(Stop):
        finetune(parted, Breaks())
    assert max(curve(parted.output)[0]) == 4
    finetune(parted.model_copy(update={"resume_from_checkpoint": "latest"}))
    assert curve(parted.output) == curve(whole.output)
    assert set(curve(whole.output)[0]) == set(range(1, 7))
    assert same(weights(whole.output / "controlnet"), weights(parted.output / "controlnet"))
    assert same(weights(whole.output / "checkpoint-6/controlnet"), weights(parted.output / "checkpoint-6/controlnet"))
    assert read_remover(whole.output).record.model_dump() == read_remover(parted.output).record.model_dump()


def test_finished_training_can_be_prolonged(settings, tmp_path):
    short = settings(output=tmp_path / "a", max_train_steps=3)
    finetune(short)
    longer = short.model_copy(update={"max_train_steps": 5, "resume_from_checkpoint": "latest"})
    finetune(longer)
    finetune(settings(output=tmp_path / "b", max_train_steps=5))
    one, other = curve(tmp_path / "a")[0], curve(tmp_path / "b")[0]
    assert one == other


def test_named_checkpoint(trained):
    config = trained
    before = curve(config.output)
    assert Checkpoints(config.output, 2).steps() == [2, 4]
    finetune(config.model_copy(update={"resume_from_checkpoint": "checkpoint-2"}))
    assert curve(config.output) == before
    with pytest.raises(UsageError, match="there are checkpoint-2, checkpoint-4"):
        finetune(config.model_copy(update={"resume_from_checkpoint": "checkpoint-3"}))


def test_output_with_checkpoints_is_not_begun_anew(trained):
    with pytest.raises(UsageError, match="checkpoints up to step 4; resume with --resume-from-checkpoint latest"):
        finetune(trained)


def test_checkpoint_of_another_config_is_refused_by_name_of_the_setting(settings, trained):
    other = settings(resume_from_checkpoint="latest", optimisation={"learning_rate": 0.5})
    with pytest.raises(UsageError, match=r"config\.optimisation\.learning_rate was 0\.001, now 0\.5"):
        finetune(other)


def test_other_data_or_backbone_is_another_config(settings, trained, datasets, tmp_path):
    from toolkit.testing import tiny_backbone

    with pytest.raises(UsageError, match="datasets was"):
        finetune(settings(data=[datasets["other"]], resume_from_checkpoint="latest"))
    another = tiny_backbone(tmp_path / "another", seed=1)
    with pytest.raises(UsageError, match=r"backbone\.parts\.unet\.weights"):
        finetune(settings(backbone=str(another), resume_from_checkpoint="latest"))


def test_number_of_processes_and_precision_belong_to_the_config(settings, trained, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(UsageError, match='mixed_precision was "no", now "bf16"'):
        finetune(settings(resume_from_checkpoint="latest"))


def test_damaged_newest_checkpoint_falls_back(trained):
    config = trained
    before = curve(config.output)
    spoiled = config.output / "checkpoint-4" / "training.pt"
    spoiled.write_bytes(spoiled.read_bytes()[:-10])
    warnings = []

    from toolkit.finetune import FinetuneObserver

    class Listens(FinetuneObserver):
        def warning(self, sentence):
            warnings.append(sentence)

    finetune(config.model_copy(update={"resume_from_checkpoint": "latest"}), Listens())
    assert curve(config.output) == before
    assert len(warnings) == 1
    assert "training.pt has changed since it was written" in warnings[0]
    for step in (2, 4):
        shutil.rmtree(config.output / f"checkpoint-{step}" / "controlnet")
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged"):
        finetune(config.model_copy(update={"resume_from_checkpoint": "latest"}))


def test_latest_without_any_begins(settings):
    config = settings(max_train_steps=1, resume_from_checkpoint="latest")
    assert finetune(config).output == config.output


def test_full_disk_while_saving_keeps_the_last_good_one(settings, monkeypatch):
    config = settings(max_train_steps=4)
    save = torch.save
    calls = []

    def full(value, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
        save(value, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SaveError, match=r"checkpoint-4 cannot be written .* the last good one is checkpoint-2"):
        finetune(config)
    assert Checkpoints(config.output, 2).steps() == [2]
    assert not list(config.output.glob(".checkpoint*"))
    monkeypatch.undo()
    finetune(config.model_copy(update={"resume_from_checkpoint": "latest"}))
    assert set(curve(config.output)[0]) == {1, 2, 3, 4}


def test_disk_that_is_really_full(settings):
    """Limit the size of files, so that every library hits the limit in its own way."""
    import resource

    from toolkit.finetune import FinetuneObserver

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fills(FinetuneObserver):
        def saved(self, checkpoint):
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))

    config = settings(max_train_steps=6, validation={"validation_steps": 100})
    try:
        with pytest.raises(ToolkitError, match=r"cannot be written .* the last good one is checkpoint-2"):
            finetune(config, Fills())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Checkpoints(config.output, 2).steps() == [2]
    finetune(config.model_copy(update={"resume_from_checkpoint": "latest"}))
    assert set(curve(config.output)[0]) == set(range(1, 7))


def start(config, path):
    """Start the command line with all settings in a file."""
    path.write_text(config.model_dump_json())
    words = [sys.executable, "-m", "toolkit", "finetune", "--config", str(path)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_interruption_of_the_whole_group_with_readers(settings, tmp_path):
    """Ctrl-C in a terminal reaches the processes that read pictures too."""
    config = settings(max_train_steps=400, validation={"validation_steps": 1000}, dataloader_num_workers=1)
    path = tmp_path / "settings.json"
    path.write_text(config.model_dump_json())
    words = [sys.executable, "-m", "toolkit", "finetune", "--config", str(path)]
    quiet = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(words, start_new_session=True, **quiet)
    wait_for(lambda: len(curve_steps(config.output)) > 2, process)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert Checkpoints(config.output, 2).steps()[-1] == max(curve(config.output)[0])


def curve_steps(output):
    path = output / "metrics.jsonl"
    return [line for line in path.read_text().splitlines() if '"loss"' in line] if path.exists() else []


def test_half_a_line_of_metrics_is_forgotten(trained):
    config = trained
    before = curve(config.output)
    with (config.output / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    finetune(config.model_copy(update={"resume_from_checkpoint": "checkpoint-2"}))
    assert curve(config.output) == before


def test_restart_before_the_first_checkpoint_begins_the_metrics_anew(settings):
    from toolkit.finetune import FinetuneObserver

    class Breaks(FinetuneObserver):
        def advance(self, done, loss=None, **figures):
            if loss is not None:
                raise RuntimeError

    config = settings(max_train_steps=2)
    with pytest.raises(RuntimeError):
        finetune(config, Breaks())
    other = settings(resume_from_checkpoint="latest", optimisation={"learning_rate": 0.5})
    with pytest.raises(UsageError, match="learning_rate was"):
        finetune(other)
    finetune(config)
    steps = [json.loads(line)["step"] for line in (config.output / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 2]


def test_damaged_best_weights_are_found_out_before_training(trained):
    config = trained
    for best in config.output.glob("best-*"):
        weights_file = best / "controlnet" / "diffusion_pytorch_model.safetensors"
        weights_file.write_bytes(weights_file.read_bytes()[:-400] + b"\xff" * 400)
    with pytest.raises(InputError, match="is damaged"):
        finetune(config.model_copy(update={"resume_from_checkpoint": "latest", "max_train_steps": 6}))
    assert max(curve(config.output)[0]) == 4


def test_checkpoint_of_another_folder_is_refused(trained, tmp_path):
    config = trained
    with pytest.raises(UsageError, match="there is no checkpoint"):
        finetune(config.model_copy(update={"resume_from_checkpoint": str(tmp_path / "other" / "checkpoint-4")}))
    inside = str(config.output / "checkpoint-4")
    finetune(config.model_copy(update={"resume_from_checkpoint": inside, "max_train_steps": 5}))


def test_start_that_failed_can_be_repeated(settings):
    config = settings(max_train_steps=1)
    config.output.mkdir()
    (config.output / ".lock").touch()
    (config.output / ".finetune.part.json").write_text("{")
    assert finetune(config).output == config.output


def wait_for(found, process, seconds=300):
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_process(settings, tmp_path, number):
    config = settings(max_train_steps=400, validation={"validation_steps": 1000}, checkpointing_steps=5)
    process = start(config, tmp_path / "settings.json")
    wait_for(lambda: Checkpoints(config.output, 2).steps(), process)
    process.send_signal(number)
    process.wait(60)
    steps = Checkpoints(config.output, 2).steps()
    if number == signal.SIGTERM:
        assert process.returncode == 130
        said = process.stderr.read()
        assert f"interrupted: stopped at step {steps[-1]}; resume with --resume-from-checkpoint latest" in said
        assert steps[-1] == max(curve(config.output)[0])  # the step that ran was ended and saved
    again = config.model_copy(update={"max_train_steps": steps[-1] + 2, "resume_from_checkpoint": "latest"})
    finetune(again)
    finetune(again.model_copy(update={"output": tmp_path / "whole", "resume_from_checkpoint": None}))
    assert curve(config.output)[0] == curve(tmp_path / "whole")[0]


def test_second_training_in_the_same_folder_is_refused(settings):
    config = settings(max_train_steps=2)
    config.output.mkdir()
    from toolkit.files import locked

    (config.output / "finetune.json").write_text("{}")
    with locked(config.output / ".lock", "busy"), pytest.raises(UsageError):
        finetune(config)
