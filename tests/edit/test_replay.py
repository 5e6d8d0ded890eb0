"""The report of an edit is a file of settings for `toolkit edit --config`."""

from toolkit.cli import full_parser
from toolkit.cli.options import read_settings
from toolkit.edit import edit_video
from toolkit.edit.config import EditConfig
from toolkit.edit.report import saved_config


def test_the_report_of_an_edit_repeats_it(settings, video, remover, backbone, tmp_path):
    first = tmp_path / "first.mkv"
    config = settings(seed=5, denoising={"strength": 0.5}, writing={"preview": 0.2})
    edit_video(video, first, config)
    report = next(tmp_path.glob("first*.json"))
    words = ["edit", str(video), str(tmp_path / "again.mkv"), "--config", str(report)]
    words += ["--remover", str(remover), "--backbone", str(backbone)]
    found = read_settings(EditConfig, full_parser().parse_args(words))
    assert saved_config(found) == saved_config(config)
    changed = read_settings(EditConfig, full_parser().parse_args([*words, "--seed", "7"]))
    assert (changed.seed, changed.denoising.strength) == (7, 0.5)
