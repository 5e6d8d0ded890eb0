"""`toolkit demo` from nothing to a report, twice."""

import numpy as np
import pytest
from PIL import Image

from toolkit.cli import main
from toolkit.remover import read_remover
from toolkit.video import read_frames


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def psnr(one, other, where):
    return -10 * np.log10(np.mean((one.astype(float) - other)[where] ** 2) / 255**2)


def frames_of(path):
    return np.stack([frame.image for frame in read_frames(path)])


def test_the_demo_goes_all_the_way_and_runs_again(tmp_path, capsys):
    output = tmp_path / "some" / "demo"
    assert main(["demo", "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert "warning" not in captured.err
    said = captured.out.splitlines()
    commands = [line.split()[2] for line in said if line.startswith("$ toolkit")]
    assert commands == ["build-dataset", "edit", "finetune", "evaluate"]
    assert said[-1] == f"report: {output / 'report' / 'index.html'}"
    trained = next(number for number, line in enumerate(said) if line.startswith("$ toolkit finetune"))
    assert f"before, after, changed pixels: {output / 'before-after-mask.jpg'}" in said[:trained]
    with Image.open(output / "before-after-mask.jpg") as picture:
        assert picture.size == (3 * 256, 256)
    worn, clean = (frames_of(output / "videos" / name / "00000.mkv") for name in ("with", "without"))
    edited = frames_of(output / "edited.mp4")
    sticker = (worn != clean).any(axis=-1)
    assert psnr(edited, clean, sticker) > psnr(worn, clean, sticker) + 3
    assert read_remover(output / "sample-remover").record.tasks == ["stickers"]
    before = contents(output)
    assert sum(path.name.endswith("_mask.png") for path in before) == 160
    assert main(["demo", "--output", str(output)]) == 0
    after = contents(output)
    kept = [path for path in before if path.suffix in (".mkv", ".mp4", ".png", ".safetensors")]
    assert all(after[path] == before[path] for path in kept if "report" not in path.parts)


@pytest.mark.parametrize("content", [None, b"this is no video\n" * 100, b""])
def test_a_bad_video_is_one_sentence_and_leaves_nothing(tmp_path, capsys, content):
    video = tmp_path / "clip.mp4"
    if content is not None:
        video.write_bytes(content)
    assert main(["demo", "--output", str(tmp_path / "demo"), "--video", str(video)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "clip.mp4" in errors[0]
    assert not (tmp_path / "demo").exists() or not any((tmp_path / "demo").iterdir())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "--output", str(tmp_path / "file" / "demo")]) == 2
    assert "cannot be created" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"
