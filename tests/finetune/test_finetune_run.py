"""Whole trainings on a tiny backbone: results, options and errors."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from toolkit.backbones import describe, load
from toolkit.edit import EditConfig
from toolkit.errors import InputError, MissingExtra, ToolkitError, UsageError
from toolkit.finetune import FinetuneObserver, finetune
from toolkit.finetune import trainer as trainer_module
from toolkit.remover import read_remover
from toolkit.testing import drawn_dataset, tiny_backbone


class Notes(FinetuneObserver):
    def __init__(self):
        self.steps, self.validated_at, self.encoded, self.checked = [], [], [], []

    def phase(self, name, total, unit, done=0):
        self.name, self.total = name, total
        if name.startswith("checking "):
            self.checked.append(name.removeprefix("checking "))

    def advance(self, done, **figures):
        if self.name == "encoding":
            self.encoded.append((done, self.total))
        else:
            self.steps.append((done, figures["loss"], figures["learning_rate"]))

    def validated(self, step, figures, sheet, best):
        assert sheet.is_file()
        self.validated_at.append(step)


def weights(folder):
    return ControlNetModel.from_pretrained(folder).state_dict()


def test_remover_is_what_a_user_needs(settings, datasets, backbone):
    notes = Notes()
    config = settings(data=[datasets["folder"], datasets["inpainted"]], max_train_steps=3)
    report = finetune(config, notes)
    assert [step for step, *_ in notes.steps] == [1, 2, 3]
    assert all(math.isfinite(loss) and rate == 1e-3 for _, loss, rate in notes.steps)
    assert notes.validated_at == [0, 2, 3]
    assert notes.encoded[-1] == (32, 32)
    assert notes.checked == [data.name for data in config.data]
    remover = read_remover(report.output)
    record = remover.record
    assert record.tasks == ["blot", "stain"]
    assert record.prompts["stain"] == "a face, naïve and without a stain"
    assert (record.resolution, record.prediction_type, record.step) == (64, "epsilon", report.step)
    assert [use.perfect for use in record.datasets] == [True, False]
    assert record.config["optimisation"]["learning_rate"] == 1e-3
    assert record.held_out == report.figures
    assert set(report.figures) >= {"removal", "artefact", "psnr_inside", "psnr_outside", "agreement", "loss"}
    assert str(backbone) not in (remover.controlnet / "config.json").read_text()
    controlnet = ControlNetModel.from_pretrained(report.output, subfolder="controlnet")
    unet = load(backbone, ("unet",)).unet
    noisy, states = torch.zeros(1, 4, 8, 8), torch.zeros(1, 77, 32)
    down, mid = controlnet(noisy, 1, states, controlnet_cond=torch.zeros(1, 3, 64, 64), return_dict=False)
    unet(noisy, 1, states, down_block_additional_residuals=down, mid_block_additional_residual=mid)
    assert not (report.output / "cache").exists()
    assert sorted(path.name for path in (report.output / "images").iterdir()) == ["curve.png", "grid.jpg"]


def test_process_is_left_as_it_was(settings):
    finetune(settings(max_train_steps=1))
    assert torch.tensor(1e-310, dtype=torch.float64) * 1 > 0


def test_training_learns_and_moves_the_controlnet_only(settings, backbone):
    notes = Notes()
    config = settings(max_train_steps=40, validation={"validation_steps": 40}, optimisation={"train_batch_size": 4})
    report = finetune(config, notes)
    first, last = (np.mean([loss for _, loss, _ in part]) for part in (notes.steps[:10], notes.steps[-10:]))
    assert last < first
    assert report.history[-1]["loss"] < report.history[0]["loss"]
    start = load(backbone, ("controlnet_tile",)).controlnet_tile.state_dict()
    after = weights(config.output / "checkpoint-40" / "controlnet")
    assert all(not torch.equal(start[name], after[name]) for name in start)


def test_accumulated_batches_are_one_large_batch(settings, tmp_path):
    one = settings(output=tmp_path / "one", optimisation={"train_batch_size": 4}, max_train_steps=2)
    parts = settings(
        output=tmp_path / "parts",
        optimisation={"train_batch_size": 2, "gradient_accumulation_steps": 2},
        max_train_steps=2,
    )
    notes = Notes(), Notes()
    finetune(one, notes[0])
    finetune(parts, notes[1])
    assert np.allclose([row[1] for row in notes[0].steps], [row[1] for row in notes[1].steps], rtol=1e-4)
    left, right = (weights(tmp_path / name / "checkpoint-2/controlnet") for name in ("one", "parts"))
    assert max((left[name] - right[name]).abs().max() for name in left) < 3e-3  # Adam's first steps are signs


@pytest.mark.parametrize("option", ["gradient_checkpointing", pytest.param("torch_compile", marks=pytest.mark.slow)])
def test_options_that_must_not_change_the_course(settings, tmp_path, option):
    if option == "torch_compile" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a compiler on the CPU")
    notes = Notes(), Notes()
    finetune(settings(output=tmp_path / "plain", max_train_steps=2), notes[0])
    finetune(settings(output=tmp_path / "other", max_train_steps=2, optimisation={option: True}), notes[1])
    assert np.allclose([row[1] for row in notes[0].steps], [row[1] for row in notes[1].steps], rtol=1e-4)


def test_bf16_runs_the_frozen_models_in_bf16(settings, tmp_path):
    notes = Notes(), Notes()
    finetune(settings(output=tmp_path / "plain", max_train_steps=2), notes[0])
    config = settings(output=tmp_path / "bf16", max_train_steps=2, optimisation={"mixed_precision": "bf16"})
    report = finetune(config, notes[1])
    plain, mixed = ([row[1] for row in note.steps] for note in notes)
    assert np.allclose(plain, mixed, rtol=0.1)
    assert plain != mixed
    assert all(value.dtype == torch.float32 for value in weights(report.output / "controlnet").values())


def test_fp16_on_a_cpu_is_refused_in_a_sentence(settings):
    config = settings(optimisation={"mixed_precision": "fp16"})
    with pytest.raises(UsageError, match="fp16 needs a CUDA device"):
        finetune(config)


def test_average_of_the_weights_is_what_is_kept(settings):
    config = settings(loss={"use_ema": True, "ema_decay": 0.9}, validation={"validation_steps": 4})
    report = finetune(config)
    assert report.step in (0, 4)
    best = weights(config.output / f"best-{report.step}" / "controlnet")
    raw = weights(config.output / "checkpoint-4" / "controlnet")
    assert any(not torch.equal(best[name], raw[name]) for name in best)


def test_stops_at_the_knee_and_keeps_it(settings, monkeypatch):
    curve = {0: (0.0, 0.0), 2: (0.5, 0.05), 4: (0.8, 0.1), 6: (0.82, 0.2), 8: (0.83, 0.35), 10: (0.84, 0.6)}
    run = trainer_module.Trainer._validate

    def validate(self):
        trial = self._trials.run

        def scripted(controlnet):
            from dataclasses import replace

            made = trial(controlnet)
            removal, artefact = curve[self.step]
            return replace(made, measures=replace(made.measures, removal=removal, artefact=artefact))

        self._trials.run = scripted
        run(self)
        self._trials.run = trial

    monkeypatch.setattr(trainer_module.Trainer, "_validate", validate)
    report = finetune(settings(max_train_steps=50, validation={"patience": 2}))
    assert report.step == 4
    assert [row["step"] for row in report.history] == [0, 2, 4, 6, 8]
    assert "2 validations after step 4" in report.reason
    best = weights(report.output / "best-4" / "controlnet")
    assert all(torch.equal(value, best[name]) for name, value in weights(report.output / "controlnet").items())
    assert read_remover(report.output).record.step == 4


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_removers_are_tried_on_what_editing_will_show_them(settings, monkeypatch, share):
    held, found = trainer_module.Trainer._validate, []

    def validate(self):
        found.extend((pair.shown, pair.source, pair.target) for pair in self._trials._pairs)
        held(self)

    monkeypatch.setattr(trainer_module.Trainer, "_validate", validate)
    finetune(settings(augmentation={"fill": share, "fill_parts": "all"}, max_train_steps=1))
    for shown, source, target in found:
        distance = np.abs(shown.astype(int) - target).mean() / np.abs(source.astype(int) - target).mean()
        assert distance == 1 if not share else distance < 0.7


def test_removers_are_tried_as_they_are_trained_and_used(settings, monkeypatch):
    """The residuals count in full in each step of a trial; diffusers' default strength is lower."""
    scales, forward = set(), ControlNetModel.forward

    def watched(self, *args, conditioning_scale=1.0, **options):
        scales.add(conditioning_scale)
        return forward(self, *args, conditioning_scale=conditioning_scale, **options)

    monkeypatch.setattr(ControlNetModel, "forward", watched)
    finetune(settings(max_train_steps=2))
    assert scales == {EditConfig(task=["stickers"]).denoising.controlnet_conditioning_scale} == {1.0}


def test_early_stopping_can_be_turned_off(settings):
    config = settings(max_train_steps=6, validation={"patience": 1, "early_stopping": False, "min_delta": 0.9})
    assert "reached max_train_steps, 6" in finetune(config).reason


def test_starts_from_a_remover_or_the_unet(settings, tmp_path, backbone):
    first = finetune(settings(output=tmp_path / "first", max_train_steps=2))

    def begun(**changed):
        """Weights before the first step, which no step can beat."""
        config = settings(max_train_steps=1, validation={"min_delta": 0.99}, **changed)
        return weights(finetune(config).output / "controlnet")

    second = begun(output=tmp_path / "second", init=str(first.output))
    assert all(torch.equal(second[name], value) for name, value in weights(first.output / "controlnet").items())
    third, unet = begun(output=tmp_path / "third", init="unet"), load(backbone, ("unet",)).unet.state_dict()
    assert torch.equal(third["down_blocks.0.resnets.0.conv1.weight"], unet["down_blocks.0.resnets.0.conv1.weight"])
    assert not third["controlnet_mid_block.weight"].any()
    wider = tiny_backbone(tmp_path / "wider", cross_attention_dim=64)
    with pytest.raises(
        InputError, match=r"does not fit the backbone wider: the ControlNet's cross_attention_dim is 32"
    ):
        finetune(settings(output=tmp_path / "fourth", init=str(first.output), backbone=str(wider)))


def test_named_cache_is_kept_and_used_again(settings, tmp_path, monkeypatch):
    config = settings(cache_dir=tmp_path / "cache", max_train_steps=1)
    finetune(config)
    assert list((tmp_path / "cache").rglob("latents-*.bin"))
    from toolkit.finetune import cache

    monkeypatch.setattr(cache, "encode_pictures", None)
    monkeypatch.setattr(cache, "require_sound", None)
    finetune(config.model_copy(update={"output": tmp_path / "again", "seed": 5}))


def test_not_finite_loss_names_step_and_sample(settings, monkeypatch):
    losses = trainer_module.losses
    calls = []

    def spoiled(*args):
        found = losses(*args)
        calls.append(1)
        return torch.where(torch.arange(len(found)) == 1, torch.nan, found) if len(calls) == 3 else found

    monkeypatch.setattr(trainer_module, "losses", spoiled)
    config = settings(max_train_steps=9, checkpointing_steps=1)
    with pytest.raises(ToolkitError) as caught:
        finetune(config)
    sentence = str(caught.value)
    assert "the loss of step 3 is nan for frame" in sentence
    assert "of alice.mp4" in sentence or "of bob.mp4" in sentence
    assert "the last good checkpoint is checkpoint-2" in sentence
    assert all(torch.isfinite(value).all() for value in weights(config.output / "checkpoint-2/controlnet").values())


def test_not_finite_gradient_stops_before_it_is_applied(settings, monkeypatch):
    losses = trainer_module.losses
    monkeypatch.setattr(trainer_module, "losses", lambda *args: losses(*args) * torch.tensor(1e38))
    with pytest.raises(ToolkitError, match=r"gradient of step 1 is not finite|loss of step 1 is inf"):
        finetune(settings())


def test_weights_that_are_not_finite_never_become_a_checkpoint(settings):
    config = settings(optimisation={"learning_rate": 1e38}, checkpointing_steps=1, max_train_steps=3)
    with pytest.raises(ToolkitError, match=r"not finite|is nan|is inf"):
        finetune(config)
    assert not list(config.output.glob("checkpoint-*"))
    with pytest.raises(UsageError, match="learning_rate"):
        from toolkit.finetune.config import FinetuneConfig
        from toolkit.validation import validated

        validated(FinetuneConfig, {"data": ["d"], "output": "o", "optimisation": {"learning_rate": math.inf}})


def test_environment_does_not_change_the_accumulation(settings, tmp_path, monkeypatch):
    notes = Notes(), Notes()
    finetune(settings(output=tmp_path / "one", max_train_steps=3), notes[0])
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "8")
    finetune(settings(output=tmp_path / "other", max_train_steps=3), notes[1])
    assert notes[0].steps == notes[1].steps


def test_other_files_in_the_output_are_safe(settings):
    config = settings(max_train_steps=1)
    (config.output / "cache" / "precious").mkdir(parents=True)
    with pytest.raises(UsageError, match="found 'cache' in it"):
        finetune(config)
    shutil.rmtree(config.output)
    finetune(config)
    (config.output / "cache" / "precious").mkdir(parents=True)
    finetune(config.model_copy(update={"max_train_steps": 2, "resume_from_checkpoint": "latest"}))
    assert [path.name for path in (config.output / "cache").iterdir()] == ["precious"]


def test_one_stopped_at_the_knee_goes_on_with_more_patience(settings):
    config = settings(max_train_steps=12, validation={"patience": 1, "min_delta": 0.9})
    assert "1 validations after step 0" in finetune(config).reason
    more = settings(max_train_steps=6, validation={"patience": 9, "min_delta": 0.9}, resume_from_checkpoint="latest")
    report = finetune(more)
    assert [row["step"] for row in report.history] == [0, 2, 4, 6]


def test_last_validation_off_the_schedule_is_no_sign_of_the_knee(settings):
    report = finetune(settings(max_train_steps=3, validation={"patience": 2, "min_delta": 0.9}))
    assert [row["step"] for row in report.history] == [0, 2, 3]
    assert "reached max_train_steps" in report.reason


class TestBadData:
    def test_no_dataset(self, settings, tmp_path):
        with pytest.raises(InputError, match="expected a dataset"):
            finetune(settings(data=[tmp_path]))

    def test_corrupt_picture_in_the_middle(self, settings, datasets, tmp_path):
        data = shutil.copytree(datasets["folder"], tmp_path / "data")
        victim = sorted(data.glob("data/train/*/*conditioning_image.png"))[3]
        victim.write_bytes(victim.read_bytes()[:100])
        with pytest.raises(InputError, match=f"not sound: .*{victim.name}"):
            finetune(settings(data=[data]))
        # Without the check it is found when it is read, and named.
        with pytest.raises(InputError, match=victim.name):
            finetune(settings(data=[data], check=False, max_train_steps=20))

    def test_changed_pixels_outside_the_mask(self, settings, datasets, tmp_path):
        data = shutil.copytree(datasets["shards"], tmp_path / "data")
        shard = next(data.glob("data/train-*.tar"))
        shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDAX", 1))
        with pytest.raises(InputError, match="not sound"):
            finetune(settings(data=[data]))

    def test_another_resolution(self, settings, datasets, tmp_path):
        data = drawn_dataset(tmp_path / "large", resolution=128)
        with pytest.raises(UsageError, match="have 128 pixels, and the remover is trained at 64"):
            finetune(settings(data=[data]))
        with pytest.raises(UsageError, match="have 64 pixels, and the remover is trained at 128"):
            finetune(settings(data=[data, datasets["folder"]], resolution=128))
        report = finetune(settings(data=[data], resolution=128, max_train_steps=1))
        assert read_remover(report.output).record.resolution == 128

    def test_nothing_to_train_on_or_to_hold_out(self, settings, tmp_path):
        only = drawn_dataset(tmp_path / "only", sources={"alice.mp4": "validation"})
        with pytest.raises(UsageError, match="no pairs to train on"):
            finetune(settings(data=[only]))
        none = drawn_dataset(tmp_path / "none", sources={"alice.mp4": "train"})
        with pytest.raises(UsageError, match="nothing is held out"):
            finetune(settings(data=[none]))

    def test_empty_folder_and_damaged_manifest(self, settings, datasets, tmp_path):
        data = shutil.copytree(datasets["folder"], tmp_path / "data")
        (data / "manifest.json").write_text("{")
        with pytest.raises(InputError, match="damaged"):
            finetune(settings(data=[data]))

    def test_source_trained_on_here_and_held_out_there(self, settings, datasets, tmp_path):
        swapped = {"alice.mp4": "validation", "bob.mp4": "train", "carol.mp4": "train"}
        other = drawn_dataset(tmp_path / "swapped", sources=swapped, frames=3)
        with pytest.raises(UsageError, match="makes the validation meaningless"):
            finetune(settings(data=[datasets["folder"], other]))

    def test_picture_of_another_size_is_named(self, settings, datasets, tmp_path):
        from toolkit.dataset.png import encode_png

        data = shutil.copytree(datasets["folder"], tmp_path / "data")
        victim = sorted(data.glob("data/train/*/*conditioning_image.png"))[3]
        victim.write_bytes(encode_png(np.zeros((32, 32, 3), np.uint8)))
        with pytest.raises(InputError, match=f"{victim.name} must be 64x64, found 32x32"):
            finetune(settings(data=[data], check=False, max_train_steps=20))

    def test_readers_report_a_damaged_picture_in_a_sentence(self, settings, datasets, tmp_path):
        data = shutil.copytree(datasets["folder"], tmp_path / "data")
        for victim in data.glob("data/train/*/*conditioning_image.png"):
            victim.write_bytes(victim.read_bytes()[:100])
        with pytest.raises(InputError) as caught:
            finetune(settings(data=[data], check=False, dataloader_num_workers=1))
        assert "Traceback" not in str(caught.value)
        assert "conditioning_image" in str(caught.value)

    def test_data_that_changed_since_they_were_checked(self, settings, datasets, tmp_path):
        data = shutil.copytree(datasets["folder"], tmp_path / "data")
        config = settings(data=[data], cache_dir=tmp_path / "cache", max_train_steps=1)
        finetune(config)
        victim = next(data.glob("data/train/*/*conditioning_image.png"))
        victim.write_bytes(victim.read_bytes() + b"x")
        with pytest.raises(InputError, match="not sound"):
            finetune(config.model_copy(update={"output": tmp_path / "again"}))

    def test_the_same_dataset_twice(self, settings, datasets):
        with pytest.raises(UsageError, match="the same dataset"):
            finetune(settings(data=[datasets["folder"], datasets["folder"]]))


class TestBadOutput:
    def test_folder_of_something_else(self, settings):
        config = settings()
        config.output.mkdir()
        (config.output / "holiday.jpg").touch()
        with pytest.raises(UsageError, match=r"found 'holiday\.jpg' in it"):
            finetune(config)
        assert [path.name for path in config.output.iterdir()] == ["holiday.jpg"]

    def test_a_file(self, settings):
        config = settings()
        config.output.write_text("")
        with pytest.raises(UsageError, match="must be a folder"):
            finetune(config)

    def test_settings_of_another_training(self, settings):
        config = settings()
        config.output.mkdir()
        (config.output / "finetune.json").write_text(json.dumps({"config": {"seed": 7}}))
        with pytest.raises(UsageError, match="belongs to another training"):
            finetune(config)


def test_backbone_without_tile(settings, tmp_path, backbone):
    folder = shutil.copytree(backbone, tmp_path / "bare")
    shutil.rmtree(folder / "controlnet_tile")
    with pytest.raises(UsageError, match="has no tile ControlNet; use --init unet"):
        finetune(settings(backbone=str(folder)))


def test_missing_packages_are_named(settings, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'vlasik-toolkit\[train\]', or use --report-to none"):
        finetune(settings(report_to="tensorboard"))
    with pytest.raises(MissingExtra, match="pip install bitsandbytes"):
        finetune(settings(optimisation={"use_8bit_adam": True}))


def test_tensorboard_gets_curves_and_pictures(settings):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = settings(report_to="tensorboard", max_train_steps=2)
    finetune(config)
    folder = next(path.parent for path in (config.output / "logs").rglob("events*"))
    events = EventAccumulator(str(folder)).Reload()
    assert {"train/loss", "train/learning_rate", "validation/removal"} <= set(events.Tags()["scalars"])
    assert [scalar.step for scalar in events.Scalars("train/loss")] == [1, 2]
    assert events.Tags()["images"] == ["validation"]


def test_what_the_backbone_asks_for(settings, backbone):
    """Steps, timesteps and learning rate default to the backbone's."""
    spec = describe(backbone)
    asked = {"num_inference_steps": 2, "learning_rate": 3e-4}
    plain = settings(optimisation={"learning_rate": None}, validation={"num_inference_steps": None})
    own = plain.resolved(spec.model_copy(update=asked))
    assert (own.optimisation.learning_rate, own.validation.num_inference_steps) == (3e-4, 2)
    usual = plain.resolved(spec)
    assert (usual.optimisation.learning_rate, usual.validation.num_inference_steps) == (1e-5, 20)
    named = settings(optimisation={"learning_rate": 0.1}, validation={"num_inference_steps": 5})
    kept = named.resolved(spec.model_copy(update=asked))
    assert (kept.optimisation.learning_rate, kept.validation.num_inference_steps) == (0.1, 5)
    with pytest.raises(UsageError, match="runs none of 2"):
        settings(validation={"num_inference_steps": None, "strength": 0.4}).resolved(spec.model_copy(update=asked))


def test_half_precision_on_disk(settings, tmp_path):
    from safetensors.torch import load_file

    whole, half = settings(output=tmp_path / "whole"), settings(output=tmp_path / "half", save_dtype="float16")
    for config in (whole, half):
        finetune(config)
    files = [load_file(c.output / "controlnet" / "diffusion_pytorch_model.safetensors") for c in (whole, half)]
    assert {tensor.dtype for tensor in files[0].values()} == {torch.float32}
    assert {tensor.dtype for tensor in files[1].values()} == {torch.float16}
    assert all(torch.equal(files[0][name].half(), files[1][name]) for name in files[0])
    read_remover(half.output)
    for config in (whole, half):
        assert str(tmp_path) not in (config.output / "controlnet" / "config.json").read_text(), "a path of this machine"
