"""Videos are read in step; one that does not match is left out with a reason."""

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.evaluate.reading import InStep


@pytest.fixture(scope="module")
def frames():
    """uint8 ``[11, 48, 64, 3]``."""
    return np.random.default_rng(0).integers(0, 256, (11, 48, 64, 3), dtype=np.uint8)


@pytest.fixture
def original(write, frames, tmp_path):
    return write(tmp_path / "original.mkv", frames)


def read(original, length=4, **others):
    stream = InStep(original, others, length)
    return stream, list(stream)


@pytest.mark.parametrize("length", [1, 4, 11, 64])
def test_chunks_hold_the_same_frames_of_all(write, original, frames, tmp_path, length):
    other = write(tmp_path / "other.mkv", frames[:, ::-1])
    stream, chunks = read(original, length, a=original, b=other)
    assert stream.problems == {} and stream.count == 11
    assert [chunk.start for chunk in chunks] == list(range(0, 11, length))
    assert max(len(chunk.original) for chunk in chunks) <= length
    assert np.array_equal(np.concatenate([chunk.original for chunk in chunks]), frames)
    assert np.array_equal(np.concatenate([chunk.others["a"] for chunk in chunks]), frames)
    assert np.array_equal(np.concatenate([chunk.others["b"] for chunk in chunks]), frames[:, ::-1])
    assert np.allclose(np.concatenate([chunk.times for chunk in chunks]), np.arange(11) / 25, atol=1e-3)


def test_containers_may_differ(write, original, frames, tmp_path):
    other = write(tmp_path / "other.mp4", frames)
    stream, chunks = read(original, a=other)
    assert not stream.problems and sum(len(chunk.others["a"]) for chunk in chunks) == 11


@pytest.mark.parametrize(("count", "words"), [(10, "10 frames"), (1, "1 frame,"), (13, "13 frames"), (4, "4 frames")])
def test_another_count_names_both_files_and_both_counts(write, original, frames, tmp_path, count, words):
    other = write(tmp_path / "other.mkv", np.resize(frames, (count, *frames.shape[1:])))
    stream, chunks = read(original, a=original, b=other)
    assert list(stream.problems) == ["b"]
    sentence = stream.problems["b"]
    assert f"{other} has {words}" in sentence and f"{original} has 11 frames" in sentence
    assert sum(len(chunk.original) for chunk in chunks) == 11
    assert all("a" in chunk.others for chunk in chunks)
    assert ["b" in chunk.others for chunk in chunks] == [4 * (k + 1) <= count or count > 11 for k in range(3)]


def test_without_any_other_left_only_the_length_is_read(write, original, frames, tmp_path):
    other = write(tmp_path / "other.mkv", frames[:2])
    stream, chunks = read(original, a=other)
    assert "has 2 frames" in stream.problems["a"] and "has 11 frames" in stream.problems["a"]
    assert sum(len(chunk.original) for chunk in chunks) == 3


def test_another_size_names_both(write, original, frames, tmp_path):
    other = write(tmp_path / "other.mkv", frames[:, :46, :])
    stream, chunks = read(original, a=other)
    assert f"{other} has frames of 64x46 pixels, but {original} has 64x48" in stream.problems["a"]
    assert all(not chunk.others for chunk in chunks)


def test_the_row_that_h264_adds_to_an_odd_video_is_cut_off(write, frames, tmp_path):
    original = write(tmp_path / "odd.mkv", frames[:, :47, :63])
    other = write(tmp_path / "even.mp4", frames[:, :47, :63])
    stream, chunks = read(original, a=other)
    assert not stream.problems and chunks[0].others["a"].shape == (4, 47, 63, 3)
    even = write(tmp_path / "even.mkv", frames[:, :46, :62])
    stream, _ = read(even, a=original)
    assert "63x47" in stream.problems["a"]


def broken(kind, whole, path):
    data = whole.read_bytes()
    path.write_bytes({"text": b"no video\n" * 9, "empty": b"", "cut": data[: len(data) * 2 // 3]}[kind])
    return path


@pytest.mark.parametrize("kind", ["text", "empty", "cut"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_broken_video_is_a_sentence_and_the_others_are_read(write, original, frames, tmp_path, kind, suffix):
    other = broken(kind, write(tmp_path / f"whole{suffix}", frames), tmp_path / f"broken{suffix}")
    stream, chunks = read(original, a=original, b=other)
    assert list(stream.problems) == ["b"] and str(other) in stream.problems["b"]
    assert np.array_equal(np.concatenate([chunk.others["a"] for chunk in chunks]), frames)


@pytest.mark.parametrize("kind", ["text", "empty", "cut"])
def test_a_broken_original_is_an_error(write, original, tmp_path, kind):
    path = broken(kind, original, tmp_path / "broken.mkv")
    with pytest.raises(InputError, match=r"broken\.mkv"):
        list(InStep(path, {"a": original}, 4, strict=True))


def test_videos_that_are_cut_off_are_read_to_their_end(original, frames, tmp_path):
    """Both are cut off at the same frame, as an original and its edit are."""
    path = broken("cut", original, tmp_path / "broken.mkv")
    stream, chunks = read(path, a=path)
    pictures = np.concatenate([chunk.others["a"] for chunk in chunks])
    assert 3 < stream.count < 11 and np.array_equal(pictures, frames[: stream.count]) and not stream.problems
    assert [[note.kind for note in notes] for notes in stream.notes.values()] == [["cut off"], ["cut off"]]


def test_it_reads_no_further_than_it_is_asked(write, frames, tmp_path):
    """Nothing is read ahead, which bounds memory: a truncated video still yields its first chunk."""
    whole = write(tmp_path / "long.mkv", np.resize(frames, (60, *frames.shape[1:])))
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) - 5000])
    chunks = iter(InStep(whole, {}, 4, strict=True))
    assert len(next(chunks).original) == 4
    with pytest.raises(InputError):
        list(chunks)
