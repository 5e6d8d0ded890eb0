"""Other people's libraries read both formats, and our reader sees the same in each."""

import numpy as np
import pytest

from toolkit.dataset.layout import COLUMNS, PICTURES
from toolkit.dataset.reader import read_samples
from toolkit.errors import InputError


def test_both_formats_have_the_same_content(originals):
    folder, tar = (list(read_samples(originals[format])) for format in ("imagefolder", "webdataset"))
    assert len(folder) == len(tar) == 24
    for one, other in zip(folder, tar, strict=True):
        assert one.row == other.row
        assert list(one.row) == [*COLUMNS, "size"]
        assert one.shard.split == other.shard.split
        for name in PICTURES:
            assert np.array_equal(one.picture(name), other.picture(name))


def test_one_split_alone(original):
    assert [sample.row["source"] for sample in read_samples(original, "validation")] == ["carol.mp4"] * 8
    assert len(list(read_samples(original, "train"))) == 16


def test_reading_from_what_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match=r"expected a dataset with a manifest.json .*; choose the folder of a dataset"):
        list(read_samples(tmp_path))
    (tmp_path / ".build").mkdir()
    with pytest.raises(InputError, match="its build has not finished; run it again"):
        list(read_samples(tmp_path))


def test_load_dataset_gives_columns_and_splits_of_an_image_folder(originals, offline):
    import datasets

    loaded = datasets.load_dataset(str(originals["imagefolder"]), cache_dir=str(offline))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 16, "validation": 8}
    features = loaded["train"].features
    assert set(features) == {*PICTURES, *COLUMNS, "size"}
    assert all(isinstance(features[name], datasets.Image) for name in PICTURES)
    for split, rows in loaded.items():
        ours = {(s.row["clip_id"], s.row["frame_index"]): s for s in read_samples(originals["imagefolder"], split)}
        for row in rows:
            sample = ours.pop((row["clip_id"], row["frame_index"]))
            assert {name: row[name] for name in sample.row} == sample.row
            assert [row[name].mode for name in PICTURES] == ["RGB", "RGB", "L"]
            assert np.array_equal(np.asarray(row["image"]), sample.picture("image"))
            assert np.array_equal(np.asarray(row["conditioning_image"]), sample.picture("conditioning_image"))
            assert np.array_equal(np.asarray(row["mask"]) == 255, sample.picture("mask"))
        assert not ours


def test_load_dataset_gives_splits_of_a_web_dataset(originals, offline):
    import datasets

    loaded = datasets.load_dataset(str(originals["webdataset"]), cache_dir=str(offline))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 16, "validation": 8}
    samples = list(read_samples(originals["webdataset"], "validation"))
    for row, sample in zip(loaded["validation"], samples, strict=True):
        assert row["json"] == sample.row
        assert row["txt"] == sample.row["text"]
        for name in PICTURES:
            pixels = np.asarray(row[f"{name}.png"])
            assert np.array_equal(pixels == 255 if name == "mask" else pixels, sample.picture(name))


def test_the_webdataset_library_reads_the_shards(originals):
    import webdataset

    root = originals["webdataset"]
    ours = list(read_samples(root))
    theirs = [
        row
        for split in ("train", "validation")
        for tar in sorted((root / "data").glob(f"{split}-*.tar"))
        for row in webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8")
    ]
    assert len(theirs) == 24
    for row, sample in zip(theirs, ours, strict=True):
        assert row["json"] == sample.row
        assert np.array_equal(row["image.png"], sample.picture("image"))
        assert np.array_equal(row["conditioning_image.png"], sample.picture("conditioning_image"))
        assert row["__key__"] == f"{sample.row['clip_id']}-{sample.row['frame_index']:07d}"
