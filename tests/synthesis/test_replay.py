"""The record in a dataset is a file of settings for `toolkit build-dataset --config`."""

from toolkit.cli import full_parser
from toolkit.cli.options import read_settings
from toolkit.synthesis.config import BuildConfig


def test_the_record_of_a_build_repeats_it(built, videos, settings, tmp_path):
    words = [
        "build-dataset",
        "--config",
        str(built / "config.json"),
        "--videos",
        str(videos),
        "--output",
        str(tmp_path),
    ]
    found = read_settings(BuildConfig, full_parser().parse_args(words))
    wanted = BuildConfig(**settings | {"videos": [videos], "output": tmp_path})
    assert found.resolved().content() | {"options": {}} == wanted.resolved().content() | {"options": {}}
    changed = read_settings(BuildConfig, full_parser().parse_args([*words, "--seed", "7"]))
    assert (changed.seed, changed.clip_length) == (7, settings["clip_length"])
