"""Masks along a track, in blocks; and the folder of intermediate files."""

import os
from pathlib import Path

import numpy as np
import pytest

from toolkit.edit.masks import LENGTH, MARGIN, TaskMaskers, mask_blocks
from toolkit.edit.session import Session
from toolkit.edit.tracks.sightings import Sightings
from toolkit.edit.tracks.track import SourceVideo, tracks_of
from toolkit.edit.workspace import Workspace
from toolkit.errors import ContractError, UsageError
from toolkit.faces import load_topology
from toolkit.task import Masker, as_masker


def maskers_of(*functions):
    maskers = TaskMaskers(["stickers"], {"stickers": {"masker": "skin"}})
    maskers.tasks = maskers.tasks * len(functions)
    maskers._maskers = [as_masker(function) for function in functions]
    return maskers


def blocks(maskers, count):
    topology = load_topology("mediapipe478")
    asked = []

    def frames(start, stop):
        asked.append((start, stop))
        return np.arange(start, stop, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)

    frame_indices = np.arange(100, 100 + count)
    sightings = Sightings(
        times=np.arange(100 + count) / 25,
        cuts=np.array([]),
        size=(8, 8),
        frames=frame_indices,
        tracks=np.zeros(count, int),
        boxes=np.tile(np.float32([0, 0, 8, 8]), (count, 1)),
        scores=np.ones(count, np.float32),
        small=0,
        landmarks=np.zeros((count, 478, 3), np.float32),
    )
    (track,) = tracks_of(sightings, SourceVideo(Path("v"), "0"), crop_scale=1.0, side=4, topology=topology)
    return list(mask_blocks(maskers, track, frames)), asked


def test_blocks_see_their_surroundings_and_join_without_a_seam():
    seen = []

    def masker(clip):
        seen.append((clip.start_frame, len(clip), clip.scale))
        return np.broadcast_to(clip.frames[..., 0] % 3 == 0, clip.frames.shape[:3])

    found, asked = blocks(maskers_of(masker), 70)
    assert asked == [(0, LENGTH + MARGIN), (LENGTH - MARGIN, 64 + MARGIN - 2), (64 - MARGIN, 70)]
    assert seen[1] == (100 + LENGTH - MARGIN, 46, 0.5)
    joined = np.concatenate([block.masks for block in found])
    assert [start for start, *_ in found] == [0, 32, 64]
    assert joined.any(axis=(1, 2)).tolist() == [k % 3 == 0 for k in range(70)]


def test_masks_of_several_tasks_are_joined_and_soft_ones_thresholded():
    def left(clip):
        masks = np.zeros(clip.frames.shape[:3], bool)
        masks[..., :2] = True
        return masks

    def soft(clip):
        return np.full(clip.frames.shape[:3], 0.4, np.float32)

    ((_, masks, opaque, hidden),), _ = blocks(maskers_of(left, soft), 3)
    assert masks[..., :2].all() and not masks[..., 2:].any()
    assert not opaque.any() and not hidden.any()
    with pytest.raises(ContractError, match="must return masks"):
        blocks(maskers_of(lambda clip: np.zeros((1, 2, 2), bool)), 3)


class Rimmed(Masker):
    """A masker that finds opaque parts."""

    def __init__(self, shape=None):
        self.shape = shape

    def __call__(self, clip):
        return np.ones(clip.frames.shape[:3], bool)

    def opaque(self, clip):
        return np.broadcast_to(clip.frames[..., 0] % 3 == 0, clip.frames.shape[:3])[self.shape or slice(None)]


def test_opaque_parts_are_joined_and_stay_with_their_frames():
    plain = lambda clip: np.zeros(clip.frames.shape[:3], bool)  # noqa: E731
    found, _ = blocks(maskers_of(Rimmed(), plain), 70)
    joined = np.concatenate([block.opaque for block in found])
    assert joined.any(axis=(1, 2)).tolist() == [k % 3 == 0 for k in range(70)]
    with pytest.raises(ContractError, match="must return masks"):
        blocks(maskers_of(Rimmed(shape=slice(1))), 3)


class Dark(Masker):
    """A masker whose attribute hides the eyes in some frames."""

    def __init__(self, length=None):
        self.length = length

    def __call__(self, clip):
        return np.ones(clip.frames.shape[:3], bool)

    def hides_eyes(self, clip):
        return (clip.frames[:, 0, 0, 0] % 3 == 0)[: self.length]


def test_frames_with_hidden_eyes_are_joined_and_stay_with_their_frames():
    plain = lambda clip: np.zeros(clip.frames.shape[:3], bool)  # noqa: E731
    found, _ = blocks(maskers_of(Dark(), plain), 70)
    assert np.concatenate([block.hidden for block in found]).tolist() == [k % 3 == 0 for k in range(70)]
    with pytest.raises(ContractError, match="hides_eyes of the task"):
        blocks(maskers_of(Dark(length=1)), 3)


def test_options_reach_their_task(settings):
    session = Session(settings(options={"stickers": {"forbidden": ["nose"]}}))
    (maskers,) = session.maskers
    assert maskers.tasks[0].options.forbidden == ("nose",) and session.resolved.removers[0].exact_masks
    with pytest.raises(UsageError, match=r"task 'sticker'.*did you mean stickers"):
        Session(settings(options={"sticker": {}}))
    with pytest.raises(UsageError, match="unknown option"):
        Session(settings(options={"stickers": {"forbiden": ["nose"]}}))


def test_only_the_same_description_resumes(tmp_path):
    root = tmp_path / "work"
    with Workspace(root, {"a": 1}) as workspace:
        assert not workspace.resumed
        workspace.write("track-0/result.json", "{}")
        workspace.folder("track-0")
    with Workspace(root, {"a": 1}) as workspace:
        assert workspace.resumed and workspace.read("track-0/result.json") == "{}" and workspace.read("other") is None
        with pytest.raises(UsageError, match="another process"), Workspace(root, {"a": 1}):
            pass
    with Workspace(root, {"a": 2}) as workspace:
        assert not workspace.resumed and workspace.read("track-0/result.json") is None
        workspace.done()
    assert not root.exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="found other files"), Workspace(tmp_path / "mine", {}):
        pass
    os.symlink(tmp_path / "mine", tmp_path / "link")
    with pytest.raises(UsageError, match="found a link"), Workspace(tmp_path / "link", {}):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
