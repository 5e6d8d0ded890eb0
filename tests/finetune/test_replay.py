"""The record of a training is a file of settings for `toolkit finetune --config`."""

from toolkit.cli import full_parser
from toolkit.cli.options import read_settings
from toolkit.files import write_json
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.plan import make_plan


def test_the_record_of_a_training_repeats_it(settings, datasets, backbone, tmp_path):
    config = settings(loss={"mask_weight": 3.0}, seed=5)
    plan = make_plan(config)
    write_json(tmp_path / "finetune.json", plan.document)
    words = ["finetune", "--config", str(tmp_path / "finetune.json"), "--data", str(datasets["folder"])]
    words += ["--output", str(tmp_path / "remover"), "--backbone", str(backbone), "--cpu", "--report-to", "none"]
    found = read_settings(FinetuneConfig, full_parser().parse_args(words))
    assert make_plan(found).document == plan.document
    changed = read_settings(FinetuneConfig, full_parser().parse_args([*words, "--seed", "7"]))
    assert (changed.seed, changed.loss.mask_weight) == (7, 3.0)
