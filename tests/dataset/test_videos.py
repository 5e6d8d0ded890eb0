"""`toolkit dataset videos`."""

import numpy as np
import pytest

from toolkit.cli import main
from toolkit.dataset.reader import read_samples
from toolkit.testing import drawn_dataset
from toolkit.video import probe, read_frames


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset"])
def test_clips_become_videos_of_the_same_pixels(tmp_path, capsys, kind):
    dataset = drawn_dataset(tmp_path / "dataset", format=kind, resolution=64)
    assert main(["dataset", "videos", str(dataset), str(tmp_path / "videos"), "--split", "train"]) == 0
    assert capsys.readouterr().out.startswith("4 clips in ")
    samples = list(read_samples(dataset, "train"))
    for folder, picture in (("with", "conditioning_image"), ("without", "image")):
        paths = sorted((tmp_path / "videos" / folder).iterdir())
        assert [path.name for path in paths] == [f"{number:05d}.mkv" for number in range(4)]
        frames = [frame.image for path in paths for frame in read_frames(path)]
        assert len(frames) == len(samples) == 16
        assert all(np.array_equal(a, b.picture(picture)) for a, b in zip(frames, samples))
        assert probe(paths[0]).fps == pytest.approx(25, rel=1e-3)


def test_limits_and_refusals(tmp_path, capsys):
    dataset = drawn_dataset(tmp_path / "dataset", resolution=64)
    assert main(["dataset", "videos", str(dataset), str(tmp_path / "one"), "--clips", "1"]) == 0
    assert len(list((tmp_path / "one" / "with").iterdir())) == 1
    assert main(["dataset", "videos", str(dataset), str(tmp_path / "one")]) == 2
    assert "must be new or empty" in capsys.readouterr().err
    only = drawn_dataset(tmp_path / "only", sources={"a.mp4": "train"})
    assert main(["dataset", "videos", str(only), str(tmp_path / "none"), "--split", "validation"]) == 2
    assert "has no validation clip" in capsys.readouterr().err
    assert main(["dataset", "videos", str(tmp_path), str(tmp_path / "none2")]) == 1
