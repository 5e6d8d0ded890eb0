"""An interrupted evaluation keeps what was measured."""

import json

import numpy as np
import pytest

from toolkit.evaluate.keeping import FOLDER
from toolkit.executor import InlineExecutor


class Stopped(InlineExecutor):
    """Is interrupted when it would begin with item number `after`; remembers what it ran."""

    def __init__(self, after=None):
        self.after, self.ran = after, []

    def run(self, function, items):
        for number, item in enumerate(items):
            if number == self.after:
                raise KeyboardInterrupt
            self.ran.append(item.videos.name)
            yield from super().run(function, [item])


@pytest.fixture
def folders(tmp_path, write, face, spoilt):
    """Three originals and their edits; the first edit equals its original, so that some values are infinite."""
    for name, frames in (("a", face), ("b", spoilt), ("c", spoilt)):
        write(tmp_path / "originals" / f"{name}.mkv", frames[:4])
        write(tmp_path / "ours" / f"{name}.mkv", face[:4])
    return tmp_path / "originals", {"ours": tmp_path / "ours", "target": tmp_path / "ours"}


def content(report):
    found = json.loads((report.output / "report.json").read_bytes())
    del found["seconds"]
    return json.dumps(found)


def interrupted(measure, originals, words, after, **more):
    executor = Stopped(after)
    with pytest.raises(KeyboardInterrupt, match="the same command resumes"):
        measure(originals, executor, **words, **more)
    return executor


def test_the_next_run_measures_the_rest_and_reports_the_same(measure, folders, tmp_path):
    originals, words = folders
    undisturbed, _ = measure(originals, **words)
    expected = content(undisturbed)
    assert "Infinity" in expected
    (undisturbed.output / "report.json").unlink()
    assert interrupted(measure, originals, words, 2).ran == ["a.mkv", "b.mkv"]
    assert interrupted(measure, originals, words, 0).ran == []
    last = Stopped()
    report, notes = measure(originals, last, **words)
    assert last.ran == ["c.mkv"]
    assert content(report) == expected
    assert notes.order == ["a.mkv", "b.mkv", "c.mkv"]
    assert "resuming: 2 of 3 videos measured" in notes.said
    assert not (report.output / FOLDER).exists()
    again = Stopped()
    measure(originals, again, **words)
    assert len(again.ran) == 3, "a finished report is made anew"


def test_what_has_changed_is_measured_again(measure, folders, write, face):
    originals, words = folders
    interrupted(measure, originals, words, 2)
    write(words["ours"] / "a.mkv", np.roll(face[:4], 3, axis=2))
    assert interrupted(measure, originals, words, 1).ran == ["a.mkv"]
    other = Stopped()
    measure(originals, other, **words, mask="task")
    assert len(other.ran) == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"ours": {"values": 3}}'])
def test_damaged_results_are_measured_again(measure, folders, damage):
    originals, words = folders
    interrupted(measure, originals, words, 1)
    (kept,) = (originals.parent / "report" / FOLDER).iterdir()
    kept.write_bytes(damage)
    executor = Stopped()
    measure(originals, executor, **words)
    assert len(executor.ran) == 3


def test_failures_are_tried_again(measure, folders):
    originals, words = folders
    (words["ours"] / "a.mkv").write_bytes(b"no video")
    words = {"ours": words["ours"]}
    interrupted(measure, originals, words, 2)
    executor = Stopped()
    measure(originals, executor, **words)
    assert executor.ran == ["a.mkv", "c.mkv"]
