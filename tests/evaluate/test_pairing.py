"""Edited videos are matched to originals by name."""

from pathlib import Path

import pytest

from toolkit.errors import InputError, UsageError
from toolkit.evaluate.pairing import pair_videos


@pytest.fixture
def folder(tmp_path):
    """``folder("o", "a.mp4", ...)`` with empty files; pairing only uses names."""

    def make(name, *files):
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return make


def paired(original, edited, **more):
    """Original's name -> edited video's name relative to its folder, or the reason why there is none."""
    found = {videos.name: videos.edited["m"] for videos in pair_videos(original, {"m": edited}, **more)}
    base = edited.resolve() if edited.is_dir() else edited.resolve().parent
    return {
        name: video.relative_to(base).as_posix() if isinstance(video, Path) else video for name, video in found.items()
    }


def test_names_below_the_folder_count_and_containers_may_differ(folder):
    original = folder("o", "a.mp4", "below/a.mov", "below/further/b.webm")
    edited = folder("e", "a.mkv", "below/a.mp4", "below/further/b.mkv", "more.mp4")
    expected = {"a.mp4": "a.mkv", "below/a.mov": "below/a.mp4", "below/further/b.webm": "below/further/b.mkv"}
    assert paired(original, edited) == expected


@pytest.mark.parametrize("name", ["a b.mp4", 'it\'s "a".mp4', "-x.mp4", "a=b.mp4", "[bold].mp4", "ä.mp4", "a.b.mp4"])
def test_odd_names(folder, name):
    other = name.replace(".mp4", ".mkv")
    assert paired(folder("o", name, "z.mp4"), folder("e", other, "z.mp4")) == {name: other, "z.mp4": "z.mp4"}


def test_a_missing_counterpart_is_a_sentence_and_the_others_are_there(folder):
    original, edited = folder("o", "a.mp4", "b.mp4"), folder("e", "b.mp4")
    found = paired(original, edited)
    assert found["b.mp4"] == "b.mp4"
    assert "no counterpart of a.mp4" in found["a.mp4"] and str(edited) in found["a.mp4"]
    assert "no counterpart" in paired(folder("p", "a.mp4"), folder("f", "b.mp4"))["a.mp4"]


def test_two_originals_of_one_stem_take_the_video_of_their_full_name_and_are_never_confused(folder):
    original = folder("o", "a.mp4", "a.mkv")
    assert paired(original, folder("e", "a.mp4", "a.mkv")) == {"a.mp4": "a.mp4", "a.mkv": "a.mkv"}
    found = paired(original, folder("f", "a.mkv"))
    assert found["a.mkv"] == "a.mkv" and "not clear" in found["a.mp4"] and "found a.mkv" in found["a.mp4"]
    assert all("not clear" in sentence for sentence in paired(original, folder("g", "a.mov")).values())


def test_two_edited_videos_of_one_stem(folder):
    found = paired(folder("o", "a.mp4"), folder("e", "a.mov", "a.mkv"))
    assert "not clear" in found["a.mp4"] and "a.mkv and a.mov" in found["a.mp4"]
    assert paired(folder("p", "a.mp4"), folder("f", "a.mov", "a.mp4")) == {"a.mp4": "a.mp4"}


def test_single_videos_belong_together_whatever_their_names(folder):
    original, edited = folder("o", "a.mp4"), folder("e", "b.mkv")
    for one in (original / "a.mp4", original):
        for other in (edited / "b.mkv", edited):
            if one.is_file() or other.is_file():
                assert paired(one, other) == {"a.mp4": "b.mkv"}
    several = folder("f", "a.mkv", "b.mkv")
    assert paired(original / "a.mp4", several) == {"a.mp4": "a.mkv"}


def test_a_single_video_cannot_be_the_edit_of_several(folder):
    original, edited = folder("o", "a.mp4", "b.mp4"), folder("e", "a.mp4")
    with pytest.raises(UsageError, match=r"2 originals.*found the file .*a\.mp4"):
        pair_videos(original, {"m": edited / "a.mp4"})


@pytest.mark.parametrize("which", ["originals", "edited videos of m", "targets"])
def test_a_path_that_is_not_there_is_named(folder, tmp_path, which):
    there, absent = folder("o", "a.mp4"), tmp_path / "absent"
    sides = [absent if which == name else there for name in ("originals", "edited videos of m", "targets")]
    with pytest.raises(UsageError, match=rf"expected the {which} at .*absent"):
        pair_videos(sides[0], {"m": sides[1]}, sides[2])


def test_a_folder_without_videos_is_an_error_unless_it_is_known_why(folder):
    original, empty = folder("o", "a.mp4", "b.mp4"), folder("e", "notes.txt")
    with pytest.raises(InputError, match="no video in the folder"):
        pair_videos(original, {"m": empty})
    found = paired(original, empty, failed={"m": {"a.mp4": "out of memory"}})
    assert found["a.mp4"] == "out of memory" and "no counterpart of b.mp4" in found["b.mp4"]


def test_why_a_video_could_not_be_made_counts_more_than_an_old_file(folder):
    original, edited = folder("o", "a.mp4", "b.mp4"), folder("e", "a.mp4", "b.mp4")
    found = paired(original, edited, failed={"m": {"a.mp4": "out of memory"}})
    assert found == {"a.mp4": "out of memory", "b.mp4": "b.mp4"}


def test_targets_are_found_in_the_same_way(folder):
    original, target = folder("o", "a.mp4", "b.mp4"), folder("t", "a.mkv")
    first, second = pair_videos(original, {"m": original}, target)
    assert first.target == (target / "a.mkv").resolve() and second.target is None


def test_a_path_that_is_too_long_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="check the path"):
        pair_videos(tmp_path / ("x" * 300), {"ours": tmp_path})
