"""`toolkit demo` from nothing to a preview, twice."""

import pytest

from toolkit.cli import main


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_demo_ends_with_the_dataset_and_runs_again(tmp_path, capsys):
    output = tmp_path / "some" / "demo"
    assert main(["demo", "--output", str(output)]) == 0
    dataset = output / "sample-stickers"
    assert capsys.readouterr().out.splitlines()[-2:] == [f"dataset: {dataset}", f"preview: {dataset / 'preview.png'}"]
    before = contents(output)
    assert {path.name for path in before} >= {"sample.mp4", "preview.png", "manifest.json", "README.md"}
    assert sum(path.name.endswith("_mask.png") for path in before) == 80
    assert main(["demo", "--output", str(output)]) == 0
    assert contents(output) == before
    assert main(["dataset", "check", str(dataset)]) == 0


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
    assert "cannot be made" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"
