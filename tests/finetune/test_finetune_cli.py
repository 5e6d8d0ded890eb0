"""`toolkit finetune` on the command line, and in several processes."""

import json
import os
import subprocess
import sys

import numpy as np

from toolkit.backbones import describe
from toolkit.cli import main
from toolkit.finetune.config import FinetuneConfig
from toolkit.validation import group_of


def words(datasets, backbone, output, *more):
    return [
        *("finetune", "--data", str(datasets["folder"]), "--data", str(datasets["other"]), "--output", str(output)),
        *("--backbone", str(backbone), "--cpu", "--report-to", "none", "--train-batch-size", "2"),
        *("--max-train-steps", "2", "--validation-samples", "2", "--num-inference-steps", "2", *more),
    ]


def test_trains_and_says_where_everything_is(datasets, backbone, tmp_path, capsys):
    assert main(words(datasets, backbone, tmp_path / "remover", "--learning-rate", "2e-3")) == 0
    said = capsys.readouterr()
    assert f"remover: {tmp_path / 'remover'}" in said.out
    assert "kept step" in said.out
    assert "16 training pairs and 8 held out, perfect" in said.err
    assert "step 2: removal" in said.err
    record = json.loads((tmp_path / "remover" / "remover.json").read_text())
    assert record["tasks"] == ["blot", "spot"]
    assert record["config"]["optimisation"]["learning_rate"] == 2e-3


def test_settings_from_a_file_and_flags_over_them(datasets, backbone, tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps(
            {
                "data": [str(datasets["shards"])],
                "backbone": str(backbone),
                "max_train_steps": 2,
                "report_to": "none",
                "cpu": True,
                "optimisation": {"learning_rate": 1e-4, "train_batch_size": 3},
                "validation": {"validation_samples": 1, "num_inference_steps": 1},
            }
        )
    )
    output = tmp_path / "remover"
    assert main(["finetune", "--config", str(path), "--output", str(output), "--max-train-steps", "1"]) == 0
    assert len((output / "metrics.jsonl").read_text().splitlines()) == 3
    settings = json.loads((output / "finetune.json").read_text())["config"]["optimisation"]
    assert (settings["learning_rate"], settings["train_batch_size"]) == (1e-4, 3)
    path.write_text(json.dumps({"optimisation": {"learning_rat": 1}}))
    assert main(["finetune", "--config", str(path), "--output", str(output)]) == 2
    assert "did you mean 'optimisation.learning_rate'" in capsys.readouterr().err


def test_group_that_is_no_object_is_refused(datasets, backbone, tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"loss": "use_ema"}))
    assert main(["finetune", "--config", str(path), *words(datasets, backbone, tmp_path / "x")[1:]]) == 2
    assert not (tmp_path / "x").exists()
    assert main(words(datasets, backbone, tmp_path / "x", "--strength", "0.05")) == 2
    assert "runs none of 2" in capsys.readouterr().err


def test_bad_values_are_one_sentence(datasets, backbone, tmp_path, capsys):
    assert main(words(datasets, backbone, tmp_path, "--learning-rate", "-1")) == 2
    assert "--learning-rate must be greater than 0, found" in capsys.readouterr().err
    assert main(["finetune", "--output", str(tmp_path / "x")]) == 2
    assert "--data is required" in capsys.readouterr().err


def test_no_flag_is_declared_twice_and_all_are_described():
    names = list(FinetuneConfig.model_fields)
    groups = [model for info in FinetuneConfig.model_fields.values() if (model := group_of(info.annotation))]
    assert len(groups) == 4
    for model in (FinetuneConfig, *groups):
        names += model.model_fields if model in groups else []
        assert all(info.description for info in model.model_fields.values())
    assert len(names) == len(set(names))
    assert FinetuneConfig(data=["d"], output="o").optimisation.train_batch_size == 8
    resolved = FinetuneConfig(data=["d"], output="o").resolved(describe("sd15"))
    assert resolved.optimisation.learning_rate == 1e-5


def test_two_processes_train_as_one_with_twice_the_batch(datasets, backbone, tmp_path):
    more = ("--learning-rate", "1e-3", "--gradient-accumulation-steps", "1", "--cache-dir", str(tmp_path / "cache"))
    # What `accelerate launch` starts for several GPUs; for several CPU processes it wants MPI.
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "toolkit")
    launched = subprocess.run(
        [*launcher, *words(datasets, backbone, tmp_path / "two", *more)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    assert launched.stdout.count("remover: ") == 1
    alone = words(datasets, backbone, tmp_path / "one", *more)
    alone[alone.index("--train-batch-size") + 1] = "4"
    assert main(alone) == 0
    curves = []
    for name in ("two", "one"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        curves.append([line["loss"] for line in lines if "loss" in line])
    assert len(curves[0]) == 2
    assert np.allclose(*curves, rtol=1e-4)
