"""What is wrong with the task or the analyser is said once, before any video is blamed."""

import pytest

from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.synthesis.shards import SetupError


def test_bad_model_of_the_task(build, short_video, tmp_path):
    text = tmp_path / "bfm.h5"
    text.write_text("not a model")
    with pytest.raises(SetupError, match=r"bfm\.h5"):
        build(short_video, tmp_path / "out", task="stickers", options={"face_model": str(text)})
    assert not list((tmp_path / "out").glob("data/*/*"))


def test_missing_weights_of_the_analyser(build, short_video, tmp_path):
    with pytest.raises(ToolkitError, match="detector"):
        build(short_video, tmp_path / "out", analyser="facer", detector_file=str(tmp_path / "absent.pth"))


def test_a_setting_of_another_analyser(build, short_video, tmp_path):
    with pytest.raises(ToolkitError, match="mediapipe analyser takes no detector_file"):
        build(short_video, tmp_path / "out", detector_file=str(tmp_path / "absent.pth"))


def test_nothing_forbidden_is_an_empty_list(short_video, tmp_path, capsys):
    words = ["build-dataset", "--task", "stickers", "--videos", str(short_video), "--output", str(tmp_path / "out")]
    assert main([*words, "--resolution", "128", "--workers", "1", "--forbidden"]) == 0
    assert '"forbidden": []' in (tmp_path / "out" / "config.json").read_text()
