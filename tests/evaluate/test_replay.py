"""The report of an evaluation is a file of settings for `toolkit evaluate --config`."""

import json

from toolkit.cli import full_parser
from toolkit.cli.options import read_settings
from toolkit.evaluate.config import EvaluateConfig


def test_the_report_of_an_evaluation_repeats_it(measure, write, face, tmp_path):
    video = write(tmp_path / "face.mp4", face[:4])
    report, _ = measure(video, ours=video, clip_length=2)
    file = report.output / "report.json"
    words = ["evaluate", "--config", str(file), "--output", str(tmp_path / "again")]
    found = read_settings(EvaluateConfig, full_parser().parse_args(words))
    again = found.model_dump(mode="json")
    assert all(again[name] == value for name, value in json.loads(file.read_text())["config"].items())
    assert (found.clip_length, found.methods["ours"]) == (2, video)
    assert read_settings(EvaluateConfig, full_parser().parse_args([*words, "--flow", "raft"])).flow == "raft"
