"""Removers that see a rectangle around the masks instead of the whole crop."""

import json
import shutil

import cv2
import numpy as np
import pytest

from attributes.stickers.generator import SkinMasker
from toolkit.diffusion import VideoEditPipeline
from toolkit.edit import edit_video
from toolkit.edit.removal import region
from toolkit.edit.removal.region import Region, box_of, regions_around, whole
from toolkit.edit.resolve import resolve
from toolkit.errors import UsageError
from toolkit.registry import load_task
from toolkit.video import read_frames

UNIT = 16


def pictures(path):
    return np.array([frame.image for frame in read_frames(path)])


def edges(found):
    return found.x0, found.y0, found.x1, found.y1


# rectangles


@pytest.mark.parametrize("side", [64, 72, 256])
@pytest.mark.parametrize("seed", range(8))
def test_regions_hold_what_they_are_made_for_have_one_size_and_fit_the_networks(side, seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 2 * side, (9, 2, 2))  # some reach the border or are tiny
    boxes = [tuple(int(v) for v in (*pair.min(axis=0), *(pair.max(axis=0) + 1).clip(max=2 * side))) for pair in corners]
    boxes[rng.integers(9)] = None
    found = regions_around(boxes, 2 * side, side, UNIT)
    assert len(found) == 9 and len({(one.x1 - one.x0, one.y1 - one.y0) for one in found}) == 1
    for one, box in zip(found, boxes):
        assert 0 <= one.x0 < one.x1 <= side and 0 <= one.y0 < one.y1 <= side
        for length in (one.x1 - one.x0, one.y1 - one.y0):
            assert length == side or length % UNIT == 0
        if box is not None:
            low, high = np.array(box[:2]) / 2 - region.MARGIN * side, np.array(box[2:]) / 2 + region.MARGIN * side
            assert one.x0 <= max(0, low[0]) and one.y0 <= max(0, low[1])
            assert one.x1 >= min(side, high[0]) and one.y1 >= min(side, high[1])


def test_a_region_stays_where_it_is_while_it_holds_the_masks():
    still = [(100 + k, 120, 150 + k, 140) for k in (0, 2, 1, 3, 0)]
    found = regions_around([None, *still, None, (20, 120, 70, 140)], 256, 256, UNIT)
    assert len({edges(one) for one in found[:7]}) == 1
    assert found[7] != found[6] and found[7].x1 - found[7].x0 == found[6].x1 - found[6].x0
    assert regions_around([None, None], 256, 256, UNIT) == [whole(256)] * 2


def test_masks_that_fill_a_picture_give_the_whole_picture():
    (found,) = regions_around([(3, 0, 250, 256)], 256, 256, UNIT)
    assert found.whole and found.share == 1 and not Region(0, 0, 256, 240, 256).whole


def test_outside_a_region_pictures_keep_their_values():
    rng = np.random.default_rng(0)
    base, made = rng.integers(0, 256, (2, 3, 20, 20, 3), np.uint8)
    part = Region(4, 6, 12, 20, 20)
    result = part.within(base, part.of(made))
    inside = np.zeros((20, 20), bool)
    inside[6:20, 4:12] = True
    assert np.array_equal(result[:, inside], made[:, inside]) and np.array_equal(result[:, ~inside], base[:, ~inside])
    assert edges(part.scaled(30)) == (6, 9, 18, 30) and edges(part.scaled(25)) == (5, 8, 15, 25)
    assert box_of(inside[None]) == (4, 6, 12, 20) and box_of(np.zeros((2, 5, 5), bool)) is None


# edits


@pytest.fixture
def exact(monkeypatch):
    """Masks of the stickers' task show the attribute itself: a function that sets them, by frame of the video."""
    task = type(load_task("stickers"))
    monkeypatch.setattr(task, "exact_mask", property(lambda _: True, lambda *_: None), raising=False)
    monkeypatch.setattr(task, "spares_eyes", False)

    def set_masks(mask_of):
        def masks(self, clip):
            side = clip.frames.shape[1]
            return np.array([mask_of(clip.start_frame + k, side) for k in range(len(clip))])

        monkeypatch.setattr(SkinMasker, "__call__", masks)

    return set_masks


def box(x0, y0, x1, y1):
    """A function of a frame and a side: a masked rectangle, in shares of the side."""

    def mask_of(frame, side):
        mask = np.zeros((side, side), bool)
        mask[round(y0 * side) : round(y1 * side), round(x0 * side) : round(x1 * side)] = True
        return mask

    return mask_of


@pytest.fixture
def seen(monkeypatch):
    """Shapes of the pictures that removers saw, and the settings' widths of the blend."""
    stream, found = VideoEditPipeline.stream, []

    def watched(self, chunks, **options):
        def noted():
            for chunk in chunks:
                frames, masks = chunk.shown, chunk.masks
                assert masks is None or masks.shape == frames.shape[:3]
                found.append((frames.shape[1:3], options["settings"].blend_width * max(frames.shape[1:3])))
                yield chunk

        return stream(self, noted(), **options)

    monkeypatch.setattr(VideoEditPipeline, "stream", watched)
    return found


@pytest.mark.parametrize("layers", ["none", "paper"])
def test_a_region_as_large_as_the_crop_gives_the_crops_result(
    video, settings, tmp_path, exact, seen, monkeypatch, layers
):
    exact(box(0.3, 0.3, 0.6, 0.5))
    config = settings(motion={"motion_layers": layers}, masking={"min_change": 0})
    edit_video(video, tmp_path / "crop.mkv", config)
    monkeypatch.setattr(region, "MARGIN", 1.0)
    masks = settings(motion={"motion_layers": layers}, masking={"min_change": 0, "region": "masks"})
    edit_video(video, tmp_path / "masks.mkv", masks)
    assert {shape for shape, _ in seen} == {(64, 64)}
    assert np.array_equal(pictures(tmp_path / "masks.mkv"), pictures(tmp_path / "crop.mkv"))
    assert not np.array_equal(pictures(tmp_path / "crop.mkv"), pictures(video))


@pytest.mark.parametrize("layers", ["none", "paper"])
@pytest.mark.parametrize(("height", "sides"), [(0.2, (32, 64)), (0.0, None)])
def test_removers_see_the_surroundings_of_the_masks(
    video, settings, tmp_path, exact, seen, monkeypatch, layers, height, sides
):
    """The distance of the blend stays that of the crop; without any mask there is nothing to edit."""
    monkeypatch.setattr(region, "MARGIN", 0.05)
    exact(box(0.1, 0.1, 0.9, 0.1 + height))
    config = settings(motion={"motion_layers": layers}, masking={"region": "masks", "min_change": 0})
    report = edit_video(video, tmp_path / "out.mkv", config)
    assert {shape for shape, _ in seen} == ({sides} if sides else set())
    assert all(width == pytest.approx(config.masking.blend_width * 64) for _, width in seen)
    assert report.outcome == ("edited" if sides else "no attribute")


@pytest.mark.parametrize(
    "mask_of",
    [
        box(0.0, 0.0, 0.1, 0.1),
        box(0.95, 0.9, 1.0, 1.0),
        box(0.0, 0.0, 1.0, 1.0),
        lambda frame, side: box(0.3, 0.3, 0.6, 0.5)(frame, side) & (frame >= 12),
        lambda frame, side: box(0.3, 0.3, 0.6, 0.5)(frame, side) & (frame == 23),
    ],
    ids=["corner", "other-corner", "all", "half-of-the-clip", "last-frame"],
)
def test_masks_anywhere_are_edited(video, settings, tmp_path, exact, seen, mask_of):
    exact(mask_of)
    config = settings(motion={"motion_layers": "none"}, masking={"region": "masks", "min_change": 0})
    report = edit_video(video, tmp_path / "out.mkv", config)
    masked = [mask_of(k, 64).any() for k in range(24)]
    assert [frame.faces[0].edited > 0 for frame in report.frames] == masked and seen


def scaled(frames, side):
    return np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in frames])


@pytest.mark.parametrize(
    ("scene", "faces_in_it"),
    [
        (lambda faces: np.pad(scaled(faces, 144), ((0, 0), (0, 0), (40, 44), (0, 0)), "edge"), 1),
        (lambda faces: scaled(faces[:2], 2160), 1),
        (lambda faces: faces[:, :, 70:], 1),
        (lambda faces: np.concatenate([faces[:, :, 30:162]] * 2, axis=2), 2),
        (lambda faces: faces[:1], 1),
    ],
    ids=["small", "fills-4k", "at-the-border", "two-that-overlap", "one-frame"],
)
def test_faces_of_any_size_and_place_have_regions(
    faces, write_video, settings, tmp_path, exact, seen, monkeypatch, scene, faces_in_it
):
    monkeypatch.setattr(region, "MARGIN", 0.05)
    exact(box(0.1, 0.1, 0.9, 0.3))
    frames = scene(faces[:4])
    source = write_video(tmp_path / "in.mp4", frames)
    config = settings(motion={"motion_layers": "none"}, masking={"region": "masks", "min_change": 0})
    report = edit_video(source, tmp_path / "out.mkv", config)
    assert {shape for shape, _ in seen} == {(32, 64)}
    assert [len(frame.faces) for frame in report.frames] == [faces_in_it] * len(frames)
    assert report.counts["edited"] == len(frames) and pictures(tmp_path / "out.mkv").shape == frames.shape


def test_a_second_look_goes_where_the_first_one_changed_something(video, settings, tmp_path, monkeypatch):
    """Masks that are search areas: the first pass sees the crop."""
    monkeypatch.setattr(region, "MARGIN", 0.05)
    sizes = []

    def removes(self, chunks, **options):
        for frames in (chunk.shown for chunk in chunks):
            sizes.append((len(frames), *frames.shape[1:3]))
            made = frames.copy()
            if frames.shape[1] == 64:
                made[4:, 8:24, 38:56] //= 3
            yield made

    monkeypatch.setattr(VideoEditPipeline, "stream", removes)
    monkeypatch.setattr(VideoEditPipeline, "lossless", True)
    config = settings(motion={"motion_layers": "none"}, masking={"region": "masks", "second_pass": "on"})
    edit_video(video, tmp_path / "out.mkv", config)
    assert sorted(sizes) == [
        (4, 32, 32),
        (8, 64, 64),
        (12, 32, 32),
        (16, 64, 64),
    ]  # threads take the parts in any order


def test_regions_need_masks_and_are_the_default_only_where_removers_say_so(settings, remover, tmp_path):
    def region(**masking):
        return resolve(settings(remover=[trained], masking=masking)).removers[0].region

    unmasked = {"masks": "off", "normalisation": "none", "composite": "crop"}
    trained = remover
    assert region() == "crop" and region(region="masks") == "masks"
    trained = shutil.copytree(remover, tmp_path / "trained-on-regions")
    record = json.loads((trained / "remover.json").read_text())
    (trained / "remover.json").write_text(json.dumps(record | {"region": [64, 32]}))
    assert region() == region(region="masks") == "masks"
    assert region(region="crop") == region(**unmasked) == "crop"
    with pytest.raises(UsageError, match="--region masks needs masks"):
        resolve(settings(masking=unmasked | {"region": "masks"}))
