"""Other people's libraries read both formats, and our reader sees the same in each."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from toolkit.dataset.card import render_card
from toolkit.dataset.check import check_dataset
from toolkit.dataset.layout import COLUMNS, PICTURES, shard_name
from toolkit.dataset.reader import read_manifest, read_samples
from toolkit.errors import InputError
from toolkit.testing.drawn_dataset import drawn_dataset


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


def rows_of(folder, cache, **options):
    """Tasks and numbers of rows by split, as `load_dataset` gives them."""
    import datasets

    found = {}
    for split, rows in datasets.load_dataset(str(folder), cache_dir=str(cache), **options).items():
        rows = [row.get("json", row) for row in rows]
        found[str(split)] = {row["task"] for row in rows}, len(rows)
    return found


GLASSES = {"train": ({"glasses"}, 8), "validation": ({"glasses"}, 4)}
STICKERS = {"train": ({"stickers"}, 12), "validation": ({"stickers"}, 4)}
MORE = {"a.mp4": "train", "b.mp4": "train", "c.mp4": "train", "d.mp4": "validation"}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_load_dataset_never_gives_rows_of_another_folder_of_the_name(tmp_path, offline, format, streaming):
    one = drawn_dataset(tmp_path / "one" / "dataset", format=format, task="glasses", frames=2)
    two = drawn_dataset(tmp_path / "two" / "dataset", format=format, task="stickers", frames=2, sources=MORE)
    options = {"streaming": streaming}
    assert rows_of(one, offline, **options) == GLASSES
    assert rows_of(two, offline, **options) == STICKERS
    shutil.rmtree(one)
    drawn_dataset(one, format=format, task="stickers", frames=2, sources=MORE)  # rebuilt into the same folder
    assert rows_of(one, offline, **options) == STICKERS
    moved = tmp_path / "three" / "dataset"
    moved.parent.mkdir()
    two.rename(moved)
    assert rows_of(moved, offline, **options) == STICKERS  # pictures are read, so none is looked for in `two`
    assert check_dataset(moved).ok


def test_the_content_counts_where_paths_and_times_are_equal(tmp_path, offline):
    """As from reproducible archives, whose times are all the same, of two tasks on the same videos."""
    import datasets

    root = drawn_dataset(tmp_path / "dataset", frames=1)
    keys = set()
    for text in ("a face", "a face!"):
        manifest = json.loads((root / "manifest.json").read_text())
        (root / "manifest.json").write_text(json.dumps(manifest | {"task": text}))
        (root / "README.md").write_text(render_card(read_manifest(root), "A blot.", text))
        for path in root.rglob("*"):
            os.utime(path, (0, 0))
        keys.add(datasets.load_dataset_builder(str(root), cache_dir=str(offline)).cache_dir)
    assert len(keys) == 2


SPLITTING = ["test.mp4", "my-test.mp4", "Test 2.mp4", "eval_01.mp4", "dev.mp4", "training-day.mp4", "val.2.mp4"]


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_words_in_the_names_of_videos_make_no_splits(tmp_path, offline, format):
    sources = dict.fromkeys(SPLITTING, "train") | {"another test.mp4": "validation", "train.mp4": "validation"}
    root = drawn_dataset(tmp_path / "dataset", format=format, frames=1, sources=sources)
    expected = {"train": ({"blot"}, 14), "validation": ({"blot"}, 4)}
    assert rows_of(root, offline) == expected
    assert rows_of(format, offline, data_dir=str(root)) == expected  # the way that does not read the card
    (root / "README.md").unlink()
    assert rows_of(root, offline) == expected


def test_names_of_shards_hold_no_word_that_datasets_takes_for_a_split():
    from datasets.data_files import NON_WORDS_CHARS, SPLIT_KEYWORDS

    for word in {word for words in SPLIT_KEYWORDS.values() for word in words}:
        for name in (word, f"a {word}.2", f"{word.upper()}3", f"{'x' * 36} {word}y", f"9{word}9"):
            found = re.split(f"[{re.escape(NON_WORDS_CHARS[:-3])}0-9]", shard_name(f"{name}.mp4", "0a" * 32, 1))
            assert word not in found, (name, found)
    assert shard_name("Contest über Détails.mp4", "ab" * 32, 12) == "contest-uber-details-abababababab-0012"
    assert shard_name("视频.mp4", "ab" * 32, 0) == "video-abababababab-0000"


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_files_of_file_managers_are_no_rows(tmp_path, offline, litter, format):
    root = drawn_dataset(tmp_path / "dataset", format=format, task="glasses", frames=2)
    litter(root)
    assert rows_of(root, offline) == GLASSES
    assert check_dataset(root).problems == []
    assert len(list(read_samples(root))) == 12
