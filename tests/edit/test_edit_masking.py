"""Masks by the removers' tasks, in blocks; and the folder that a run works in."""

import os

import numpy as np
import pytest

from toolkit.backbones import describe
from toolkit.edit.masking import LENGTH, MARGIN, TaskMaskers, make_maskers, mask_blocks
from toolkit.edit.removers import edit_remover
from toolkit.edit.workplace import Workplace
from toolkit.errors import ContractError, UsageError
from toolkit.faces import load_topology
from toolkit.task import Masker, as_masker


def maskers_of(*functions):
    maskers = TaskMaskers(["stickers"], {})
    maskers.tasks = maskers.tasks * len(functions)
    maskers._maskers = [as_masker(function) for function in functions]
    return maskers


def blocks(maskers, count):
    topology = load_topology("mediapipe478")
    asked = []

    def frames(start, stop):
        asked.append((start, stop))
        return np.arange(start, stop, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)

    points = lambda start, stop: np.zeros((stop - start, 478, 3), np.float32)  # noqa: E731
    times, box = np.arange(count) / 25, np.array([0.0, 0, 8, 8])
    found = list(mask_blocks(maskers, count, frames, points, topology, times, box, ("v", "0"), 100))
    return found, asked


def test_blocks_see_their_surroundings_and_join_without_a_seam():
    seen = []

    def masker(clip):
        seen.append((clip.start_frame, len(clip), clip.scale))
        return np.broadcast_to(clip.frames[..., 0] % 3 == 0, clip.frames.shape[:3])

    found, asked = blocks(maskers_of(masker), 70)
    assert asked == [(0, LENGTH + MARGIN), (LENGTH - MARGIN, 64 + MARGIN - 2), (64 - MARGIN, 70)]
    assert seen[1] == (100 + LENGTH - MARGIN, 46, 0.5)
    joined = np.concatenate([masks for _, masks, _ in found])
    assert [start for start, *_ in found] == [0, 32, 64]
    assert joined.any(axis=(1, 2)).tolist() == [k % 3 == 0 for k in range(70)]


def test_masks_of_several_tasks_are_joined_and_soft_ones_cut():
    def left(clip):
        masks = np.zeros(clip.frames.shape[:3], bool)
        masks[..., :2] = True
        return masks

    def soft(clip):
        return np.full(clip.frames.shape[:3], 0.4, np.float32)

    ((_, masks, opaque),), _ = blocks(maskers_of(left, soft), 3)
    assert masks[..., :2].all() and not masks[..., 2:].any()
    assert not opaque.any()
    with pytest.raises(ContractError, match="must give masks"):
        blocks(maskers_of(lambda clip: np.zeros((1, 2, 2), bool)), 3)


class Rimmed(Masker):
    """A masker that knows which part of an attribute is opaque."""

    def __init__(self, shape=None):
        self.shape = shape

    def __call__(self, clip):
        return np.ones(clip.frames.shape[:3], bool)

    def opaque(self, clip):
        return np.broadcast_to(clip.frames[..., 0] % 3 == 0, clip.frames.shape[:3])[self.shape or slice(None)]


def test_opaque_parts_are_joined_and_stay_with_their_frames():
    plain = lambda clip: np.zeros(clip.frames.shape[:3], bool)  # noqa: E731
    found, _ = blocks(maskers_of(Rimmed(), plain), 70)
    joined = np.concatenate([opaque for *_, opaque in found])
    assert joined.any(axis=(1, 2)).tolist() == [k % 3 == 0 for k in range(70)]
    with pytest.raises(ContractError, match="must give masks"):
        blocks(maskers_of(Rimmed(shape=slice(1))), 3)


def test_options_reach_their_task(settings, remover, backbone):
    removers = [edit_remover(remover, describe(backbone), {})]
    (maskers,) = make_maskers(settings(options={"stickers": {"forbidden": ["nose"]}}), removers)
    assert maskers.tasks[0].options.forbidden == ("nose",) and not maskers.exact
    with pytest.raises(UsageError, match=r"task 'sticker'.*did you mean stickers"):
        make_maskers(settings(options={"sticker": {}}), removers)
    with pytest.raises(UsageError, match="unknown option"):
        make_maskers(settings(options={"stickers": {"forbiden": ["nose"]}}), removers)


def test_only_the_same_document_goes_on(tmp_path):
    root = tmp_path / "work"
    with Workplace(root, {"a": 1}) as place:
        assert not place.resumed
        place.write("run-0/result.json", "{}")
        place.folder("run-0")
    with Workplace(root, {"a": 1}) as place:
        assert place.resumed and place.read("run-0/result.json") == "{}" and place.read("other") is None
        with pytest.raises(UsageError, match="another process"), Workplace(root, {"a": 1}):
            pass
    with Workplace(root, {"a": 2}) as place:
        assert not place.resumed and place.read("run-0/result.json") is None
        place.done()
    assert not root.exists()


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="has others"), Workplace(tmp_path / "mine", {}):
        pass
    os.symlink(tmp_path / "mine", tmp_path / "link")
    with pytest.raises(UsageError, match="is a link"), Workplace(tmp_path / "link", {}):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
