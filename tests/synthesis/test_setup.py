"""What is wrong with the task or the analyser is said once, before any video is blamed."""

import pytest
from PIL import Image

from toolkit.cli import main
from toolkit.errors import ToolkitError, UsageError
from toolkit.faces.config import FaceConfig
from toolkit.synthesis.shards import SetupError


def test_bad_model_of_the_task(build, short_video, tmp_path):
    text = tmp_path / "bfm.h5"
    text.write_text("not a model")
    with pytest.raises(SetupError, match=r"bfm\.h5"):
        build(short_video, tmp_path / "out", task="stickers", options={"face_model": str(text)})
    assert not (tmp_path / "out").exists()  # the corrected command may use it


def test_exit_code_of_a_wrong_setting(build, short_video, tmp_path):
    with pytest.raises(SetupError, match="no face analyser") as raised:
        build(short_video, tmp_path / "out", faces=FaceConfig(analyser="mediapip"))
    assert raised.value.exit_code == 2


def test_another_file_of_the_same_name_is_another_setting(build, short_video, tmp_path):
    art = tmp_path / "art"
    art.mkdir()
    settings = {"task": "stickers", "options": {"art": str(art), "degradation": 0}, "resolution": 128}
    for colour, outcome in (((255, 0, 0, 255), "built"), ((0, 0, 255, 255), "refused")):
        picture = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
        picture.paste(colour, (4, 4, 28, 28))
        picture.save(art / "mine.png")
        if outcome == "built":
            build(short_video, tmp_path / "out", **settings)
        else:
            with pytest.raises(UsageError, match="art was"):
                build(short_video, tmp_path / "out", **settings)


def test_missing_weights_of_the_analyser(build, short_video, tmp_path):
    with pytest.raises(ToolkitError, match="detector"):
        build(short_video, tmp_path / "out", faces=FaceConfig(analyser="facer", detector_file=tmp_path / "absent.pth"))


def test_a_setting_of_another_analyser(build, short_video, tmp_path):
    with pytest.raises(ToolkitError, match="mediapipe analyser takes no detector_file"):
        build(short_video, tmp_path / "out", faces=FaceConfig(detector_file=tmp_path / "absent.pth"))


def test_nothing_forbidden_is_an_empty_list(short_video, tmp_path, capsys):
    words = ["build-dataset", "--task", "stickers", "--videos", str(short_video), "--output", str(tmp_path / "out")]
    assert main([*words, "--resolution", "128", "--workers", "1", "--task-option", "forbidden=[]"]) == 0
    assert '"forbidden": []' in (tmp_path / "out" / "config.json").read_text()
