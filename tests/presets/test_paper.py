"""`--preset paper`: what it sets is what docs/paper.md says; what the user sets wins."""

import json
import re
from pathlib import Path

import pytest

from toolkit.cli import full_parser, main
from toolkit.cli.options import read_settings
from toolkit.compare.ablation import plan_ablation
from toolkit.compare.config import AblateConfig
from toolkit.edit import edit_video
from toolkit.edit.config import EditConfig
from toolkit.edit.resolve import resolve
from toolkit.errors import ContractError, UsageError
from toolkit.finetune.config import FinetuneConfig
from toolkit.presets import preset_options, read_preset
from toolkit.registry import load_task_class
from toolkit.synthesis.config import BuildConfig
from toolkit.task import AttributeTask
from toolkit.testing import tiny_backbone, tiny_remover
from toolkit.testing.sample import write_sample_video
from toolkit.validation import setting_paths, validated

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"
PLACES = {
    BuildConfig: {"task": "glasses", "videos": ["v"], "output": "o"},
    FinetuneConfig: {"data": ["d"], "output": "o"},
    EditConfig: {"task": ["glasses"]},
}
STAGES = {"build-dataset": BuildConfig, "finetune": FinetuneConfig, "edit": EditConfig}


def table():
    """The rows about settings in docs/paper.md: command, setting, the paper's, preset, default, why, link."""
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z_.]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return [(command, setting, *rest.split(" | ")) for command, setting, rest in rows]


def flat(settings, prefix=""):
    found = {}
    for name, value in settings.items():
        nested = isinstance(value, dict)
        found |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def at(config, path):
    for name in path.split("."):
        config = config[name] if isinstance(config, dict) else getattr(config, name)
    return config


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny", text=False, vae="tiny")


@pytest.fixture(scope="module")
def remover(tmp_path_factory, backbone):
    return tiny_remover(tmp_path_factory.mktemp("remover") / "mine", backbone)


def test_the_page_lists_exactly_what_the_preset_sets():
    told = {}
    for command, setting, _, preset, *_ in table():
        told.setdefault(command, {})[setting] = json.loads(preset.strip("`"))
    for stage in STAGES:
        options = preset_options("paper", "glasses") if stage == "build-dataset" else {}
        settings = read_preset("paper", stage) | ({"options": options} if options else {})
        assert told.pop(stage) == flat(settings)
    assert not told


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row[0]} {row[1]}")
def test_values_and_defaults_are_those_of_the_page(row):
    command, setting, _, preset, default, why, link = row
    model = STAGES[command]
    value = at(validated(model, {**PLACES[model], "preset": "paper"}).model_dump(mode="json"), setting)
    assert value == json.loads(preset.strip("`"))
    if setting.startswith("options."):
        usual = load_task_class("glasses").Options().model_dump(mode="json")[setting.removeprefix("options.")]
    else:
        usual = at(validated(model, PLACES[model]).model_dump(mode="json"), setting)
    assert usual == json.loads(default.strip("`"))
    assert why and link.startswith(("[test](../tests/", "[record](decisions/"))


def test_the_papers_numbers():
    """Sections 2, C.1 and C.2 of the paper."""
    build = BuildConfig(preset="paper", **PLACES[BuildConfig])
    assert (build.inpainting.blend_ratio, build.inpainting.reference_frames) == (0.9, "first+middle")
    assert build.options["masker"] == "facer"
    train = FinetuneConfig(preset="paper", **PLACES[FinetuneConfig])
    assert (train.optimisation.train_batch_size, train.optimisation.learning_rate) == (8, 1e-5)
    edit = EditConfig(preset="paper", task=["glasses"])
    assert (edit.motion.context_length, edit.motion.context_overlap, edit.masking.blend_range) == (16, 4, (0, 0.7))


@pytest.mark.parametrize("model", [*PLACES, AblateConfig], ids=lambda model: model.__name__)
def test_it_sets_nothing_that_does_not_exist(model):
    assert set(flat(read_preset("paper", model.PRESET_STAGE))) <= set(setting_paths(model))


@pytest.mark.parametrize("task", ["glasses", "stickers"])
def test_tasks_bring_options_that_they_have(task):
    assert validated(load_task_class(task).Options, preset_options("paper", task))


def test_the_contract_wants_options_by_preset():
    with pytest.raises(ContractError, match="`presets` must map names to values of options"):
        type("Hats", (AttributeTask,), {
            "name": "hats", "description": "Hats.", "api_version": 1, "prompt": "a face", "presets": {"paper": 3},
            "masker": lambda self: None, "pair_generator": lambda self: None,
        })  # fmt: skip


def parsed(model, *words):
    return read_settings(model, full_parser().parse_args([*map(str, words)]))


def test_flags_win_over_a_file_and_both_over_the_preset(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"preset": "paper", "motion": {"context_length": 8}, "masking": {"region": "auto"}}))
    words = ["edit", "a.mp4", "b.mp4", "--task", "glasses", "--config", file, "--context-length", "12"]
    config = parsed(EditConfig, *words, "--no-keep-detail", "--composite", "mask")
    assert (config.motion.context_length, config.motion.context_overlap) == (12, 4)
    assert (config.masking.region, config.masking.composite) == ("auto", "mask")
    assert (config.masking.normalisation, config.preset) == ("ion", "paper")
    words = ["build-dataset", "--task", "glasses", "--videos", "v", "--output", "o", "--preset", "paper"]
    build = parsed(BuildConfig, *words, "--task-option", "masker=embedded", "--blend-ratio", "none")
    assert (build.options["masker"], build.options["min_eye_visibility"]) == ("embedded", 0)
    assert (build.inpainting.blend_ratio, build.inpainting.blend_source) == (None, "masked")
    words = ["finetune", "--data", "d", "--output", "o", "--preset", "paper"]
    train = parsed(FinetuneConfig, *words, "--train-batch-size", "2")
    assert (train.optimisation.train_batch_size, train.optimisation.learning_rate) == (2, 1e-5)


@pytest.mark.parametrize("model", PLACES, ids=lambda model: model.__name__)
def test_saved_settings_name_the_preset_and_give_the_same_again(model):
    config = validated(model, {**PLACES[model], "preset": "paper"})
    saved = config.model_dump(mode="json")
    assert saved["preset"] == "paper"
    assert validated(model, saved) == config


def test_only_builds_by_preset_record_one():
    """A build of an earlier release, which has no such entry, can go on."""
    for preset in (None, "paper"):
        given = {**PLACES[BuildConfig], "preset": preset, "resolution": 64}
        content = validated(BuildConfig, given).resolved().content()
        assert content.get("preset") == preset and ("preset" in content) == (preset is not None)


def test_trainings_with_the_same_values_are_the_same():
    named = FinetuneConfig(preset="paper", **PLACES[FinetuneConfig])
    spelt = validated(FinetuneConfig, {**PLACES[FinetuneConfig], **read_preset("paper", "finetune")})
    assert named.content() == spelt.content()


def test_wrong_requests_are_one_sentence(capsys):
    assert main(["edit", "a.mp4", "b.mp4", "--task", "glasses", "--preset", "papr"]) == 2
    assert capsys.readouterr().err == "error: --preset must be 'paper', found 'papr'\n"
    words = ["--videos", "v", "--output", "o", "--preset", "paper"]
    assert main(["build-dataset", "--task", "glases", *words]) == 2
    assert "there is no task 'glases', did you mean glasses?" in capsys.readouterr().err
    with pytest.raises(UsageError, match="a recipe and a preset both choose"):
        FinetuneConfig(preset="paper", recipe="glasses", **PLACES[FinetuneConfig])


def test_nano_cannot_be_inverted():
    given = {**PLACES[BuildConfig], "preset": "paper", "inpainting": {"backbone": "nano"}}
    with pytest.raises(UsageError, match="nano cannot be inverted: add --shared-noise seed"):
        validated(BuildConfig, given).resolved(inpaints=True)
    given["inpainting"]["shared_noise"] = "seed"
    assert validated(BuildConfig, given).resolved(inpaints=True).inpainter.shared_noise == "seed"


def test_an_edit_finds_masks_as_the_task_says_for_the_preset(tmp_path, backbone):
    """Without `--task`, the tasks are those of the removers."""
    glasses = tiny_remover(tmp_path / "glasses", backbone, ["glasses"])
    given = {"preset": "paper", "remover": [glasses], "backbone": str(backbone), "device": "cpu"}
    found = resolve(EditConfig(**given))
    assert found.options["glasses"]["masker"] == "facer"
    assert (found.removers[0].region, found.removers[0].normalisation) == ("crop", "ion")
    mine = EditConfig(**given, options={"glasses": {"masker": "embedded"}})
    assert resolve(mine).options["glasses"] == found.options["glasses"] | {"masker": "embedded"}


def test_an_edit_runs(tmp_path, backbone, remover):
    video = write_sample_video(tmp_path / "in.mp4", frames=6, size=192)
    given = {"remover": [remover], "backbone": str(backbone), "device": "cpu", "writing": {"lossless": True}}
    given |= {"options": {"stickers": {"masker": "skin"}}, "denoising": {"num_inference_steps": 2}}
    report = edit_video(video, tmp_path / "out.mkv", validated(EditConfig, given | {"preset": "paper"}))
    assert report.outcome == "edited" and report.config["preset"] == "paper"
    resolved = report.resolved
    motion, masking, [applied] = resolved["motion"], resolved["masking"], resolved["removers"]
    assert motion["motion_adapter"] and (motion["context_length"], motion["context_overlap"]) == (16, 4)
    assert motion["removed_motion_layers"]
    assert (masking["composite"], masking["blend_source"], masking["min_change"]) == ("crop", "masked", 0)
    assert (applied["normalisation"], applied["second_pass"], applied["fill_opaque"]) == ("ion", False, False)
    plain = edit_video(video, tmp_path / "plain.mkv", validated(EditConfig, given))
    assert plain.config["preset"] is None and plain.fingerprint != report.fingerprint


def test_an_ablation_varies_the_papers_settings(tmp_path, backbone, remover):
    given = {"videos": tmp_path, "task": "stickers", "output": tmp_path / "o", "remover": [remover], "device": "cpu"}
    given |= {"backbone": str(backbone), "preset": "paper", "denoising": {"num_inference_steps": 2}}
    plan = plan_ablation(validated(AblateConfig, given))
    ours = plan.methods["ours"]
    assert ours.resolved.removers[0].normalisation == "ion" and ours.resolved.masking.composite == "crop"
    assert set(plan.left_out) == {"ion", "masks-on", "papers-motion-layers"}
    off = plan.methods["masks-off"].resolved
    assert not off.masking.blend_original and off.removers[0].normalisation == "ion"
