"""Ablations: each variant changes one setting."""

import json

import numpy as np
import pytest

from toolkit.cli import main
from toolkit.compare.ablation import CHANGES, plan_ablation
from toolkit.compare.comparison import ablate
from toolkit.errors import UsageError
from toolkit.video import read_frames


def test_each_variant_differs_from_ours(ablation):
    plan = plan_ablation(ablation())
    methods = ["cross-frame", "ion", "ion-ring", "adain", "masks-off", "all-motion-layers", "no-motion"]
    assert list(plan.methods) == ["ours", *methods]
    assert set(plan.left_out) == {"no-normalisation", "masks-on", "papers-motion-layers"}
    for name, method in plan.methods.items():
        group, change = CHANGES.get(name, ("motion", {}))
        settings = getattr(method._config, group)
        assert {key: getattr(settings, key) for key in change} == change
    for variants in (plan, plan_ablation(ablation(masking={"masks": "off"}))):
        kinds = {name: method.resolved.removers[0].normalisation for name, method in variants.methods.items()}
        assert {kinds[name] for name in kinds if name in ("ours", "masks-on", "masks-off")} == {"none"}


def test_what_ours_does_already_depends_on_the_settings(ablation):
    plan = plan_ablation(
        ablation(
            masking={"masks": "off"},
            motion={"motion_layers": "none", "reference_frames": "first+middle"},
            options={"masker": "skin"},
        )
    )
    assert set(plan.left_out) == {"cross-frame", "no-normalisation", "masks-off", "no-motion"}
    assert {"papers-motion-layers", "all-motion-layers"} < set(plan.methods)
    assert "equals the settings of ours" in plan.left_out["cross-frame"]
    with pytest.raises(UsageError, match="equals the settings of ours"):
        plan_ablation(ablation(variants=["masks-on"]))


def test_variants_are_run_and_measured(ablation, folders, tmp_path):
    report = ablate(ablation(videos=folders / "videos/a.mkv", variants=["cross-frame", "masks-off", "no-motion"]))
    assert [method.name for method in report.evaluation.methods] == ["ours", "cross-frame", "masks-off", "no-motion"]
    assert report.failed == 0
    made = {}
    for name in report.evaluation.means:
        made[name] = np.stack([frame.image for frame in read_frames(tmp_path / "out/videos" / name / "a.mkv")])
        record = json.loads((tmp_path / "out/videos" / name / "a.mkv.json").read_text())
        if name in CHANGES:
            group, change = CHANGES[name]
            assert record["config"][group].items() >= change.items()
    for name in ("cross-frame", "masks-off", "no-motion"):
        assert (made[name] != made["ours"]).any()


def test_the_command_line(folders, backbone, remover, tmp_path, capsys):
    words = ["ablate", "--videos", str(folders / "videos/a.mkv"), "--task", "stickers", "--remover", str(remover)]
    words += ["--backbone", str(backbone), "--variants", "ion", "--num-inference-steps", "1", "--flow", "dis"]
    words += ["--no-identity", "--output", str(tmp_path / "out"), "--workers", "1", "--no-clips", "--device", "cpu"]
    assert main(words) == 0
    assert "ion" in capsys.readouterr().out
    assert main([*words, "--variants", "masks-on"]) == 2
