"""The pieces of an edit, each by itself: paste weights, face tracks, stretches, review."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.edit.comparing import FrameComparison
from toolkit.edit.config import CropConfig, EditConfig, MaskConfig
from toolkit.edit.output.patch import patch_of, read_patch, write_patch
from toolkit.edit.output.patches import paste
from toolkit.edit.output.patches import pasted as pasted_part
from toolkit.edit.removal.changes import BLUR, REMOVED, SMALLEST, changed_parts
from toolkit.edit.removal.paste_weights import REACH, composite_over, feathered, paste_weights
from toolkit.edit.removal.stores import Edit
from toolkit.edit.removal.stretches import active_stretches
from toolkit.edit.resolve import resolve, resolve_masking
from toolkit.edit.results import FaceReport
from toolkit.edit.review import landmark_shift, stretches, warnings_of
from toolkit.edit.tracks.crops import cut
from toolkit.edit.tracks.sightings import Sightings, find_faces
from toolkit.edit.tracks.squares import Squares
from toolkit.edit.tracks.track import SourceVideo, groups_of, landmarks_in_crops, tracks_of
from toolkit.faces import create_analyser, load_topology
from toolkit.faces.types import Face
from toolkit.testing.sample import sample_clip

SIDE = 64


def weights(originals, made, found, **settings):
    """Weights of each frame, from what was changed in it and its neighbours."""
    masking = resolve_masking(MaskConfig(**settings), finds_masks=found is not None)
    changed = [changed_parts(*pair, masking.min_change) for pair in zip(originals, made)]
    weighed = []
    for k in range(len(originals)):
        near = np.any(changed[max(0, k - REACH) : k + REACH + 1], axis=0) if masking.min_change else None
        weighed.append(paste_weights(None if found is None else found[k], near, SIDE, masking))
    return np.array(weighed)


@pytest.fixture
def clip():
    """Six grey frames, an edit that changed a square of the third, and a mask around it in all but the last."""
    originals = np.full((6, SIDE, SIDE, 3), 100, np.uint8)
    made = originals.copy()
    made[2, 24:40, 24:40] = 160
    masks = np.zeros((6, SIDE, SIDE), bool)
    masks[:5, 16:48, 16:48] = True
    return originals, made, masks


def test_pixels_that_the_remover_did_not_change_stay_the_original(clip):
    found = weights(*clip)
    assert [bool(frame.any()) for frame in found] == [True, True, True, True, True, False]  # two frames around it
    assert found[2, 32, 32] == 1 and not found[2, 5, 5]
    always = weights(*clip, min_change=0)
    assert always[0, 32, 32] == 1 and not always[5].any()
    assert (weights(*clip, min_change=0.5) == 0).all()


@pytest.mark.parametrize("peak", [0.0, 0.04, 0.12, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_changed_parts_are_those_that_reach_the_peak_and_are_not_tiny(seed, peak):
    """Against the definition, on any pictures."""
    import cv2
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    original = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    change = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 4)
    made = np.clip(original + (change / np.abs(change).max() * 150)[..., None], 0, 255).astype(np.uint8)
    difference = np.abs(original.astype(int) - made).max(axis=2).astype(np.uint8)
    blurred = cv2.GaussianBlur(difference, (0, 0), max(0.3, BLUR * SIDE)) / 255
    parts, count = ndimage.label(blurred > 0.04)
    expected = np.zeros((SIDE, SIDE), bool)
    for part in (parts == number for number in range(1, count + 1)):
        large = (blurred[part] > REMOVED).sum() >= SMALLEST * part.size
        expected |= part & (peak <= 0.04 or ((blurred[part] > peak).any() and large))
    assert np.array_equal(changed_parts(original, made, 0.04, peak), expected)


def test_a_part_that_changed_a_little_counts_with_one_that_changed_much():
    original = np.full((SIDE, SIDE, 3), 100, np.uint8)
    made = original.copy()
    made[8:24, 8:24], made[40:56, 40:56], made[46:50, 46:50] = 120, 120, 180
    every = changed_parts(original, made, 0.04)
    certain = changed_parts(original, made, 0.04, 0.12)
    assert every[16, 16] and every[42, 42]
    assert certain[42, 42] and certain[48, 48] and not certain[:32, :32].any()
    assert np.array_equal(changed_parts(original, made, 0.04, 0.03), every)


def test_a_freckle_is_no_sticker():
    original = np.full((256, 256, 3), 100, np.uint8)
    made = original.copy()
    made[40:50, 40:50], made[150:170, 150:170] = 220, 220
    found = changed_parts(original, made, 0.04, 0.12)
    assert found[160, 160] and not found[:100, :100].any()
    assert changed_parts(original, made, 0.04)[45, 45]


def test_mask_or_crop(clip):
    originals, made, masks = clip
    assert (weights(originals, made, masks, min_change=0, composite="crop")[:5] == 1).all()
    assert not weights(originals, made, masks, min_change=0, composite="crop")[5].any()
    assert (weights(originals, made, None, min_change=0, composite="crop") == 1).all()
    assert (weights(originals, made, masks, min_change=0, masks="off")[0] == 1).all()


def test_edges_are_as_soft_and_wide_as_asked():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, :20] = True
    row = feathered(mask, 4, 8)[10]
    assert (row[:24] == 1).all() and (row[32:] == 0).all()
    assert row[27] == pytest.approx(0.5, abs=0.1) and (np.diff(row[24:32]) < 0).all()
    assert (feathered(np.ones((4, 4), bool), 1, 1) == 1).all() and not feathered(np.zeros((4, 4), bool), 1, 1).any()


def test_noise_is_no_change():
    rng = np.random.default_rng(0)
    picture = rng.integers(40, 200, (256, 256, 3)).astype(np.uint8)
    noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    assert not changed_parts(picture, noisy, 0.04).any()
    assert changed_parts(picture, picture ^ 64, 0.04).all()


def test_edits_lie_over_each_other_as_if_pasted_one_after_the_other():
    rng = np.random.default_rng(1)
    ground, one, other = rng.uniform(0, 255, (3, 5, 5, 3)).astype(np.float32)
    a, b = rng.uniform(0, 1, (2, 5, 5)).astype(np.float32)
    a[0], b[1] = 0, 1
    colour, weight, replaced = composite_over(Edit(one, a, a), Edit(other, b, b))
    stepwise = ground + a[..., None] * (one - ground)
    stepwise = stepwise + b[..., None] * (other - stepwise)
    assert np.allclose(ground + weight[..., None] * (colour - ground), stepwise, atol=1e-3)
    assert np.allclose(replaced, weight)


def test_patches_come_back_and_leave_the_rest(tmp_path):
    rng = np.random.default_rng(2)
    frame = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    weights = np.zeros((32, 32), np.uint8)
    weights[10:20, 12:20] = 255
    colours = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    colours[8:22, 10:22] = 200, 30, 90
    write_patch(tmp_path / "a.patch", patch_of(colours, weights))
    patch = read_patch(tmp_path / "a.patch")
    assert (patch.left, patch.top, patch.side) == (9, 7, 32)
    assert patch.weights.shape == (16, 14) and np.array_equal(patch.weights, weights[7:23, 9:23])
    assert patch.colours[8, 8].tolist() == [200, 30, 90]
    assert read_patch(tmp_path / "gone.patch") is None and patch_of(colours, np.zeros_like(weights)) is None
    matrix = Squares(np.array([[60.0, 45.0]]), np.array([64.0])).to_crop(0, 32)
    (x0, y0, x1, y1), part = pasted_part(frame, patch, matrix)
    pasted = frame.copy()
    pasted[y0:y1, x0:x1] = part
    assert np.array_equal(pasted, paste(frame, colours, weights / 255, matrix))
    assert np.abs(pasted[44, 58].astype(int) - [200, 30, 90]).max() <= 1
    differs = (pasted != frame).any(axis=2)
    assert differs.any() and not differs[:28].any() and not differs[:, :44].any()


@pytest.mark.parametrize("side", [20.0, 48.0, 75.5])
def test_landmarks_are_where_their_picture_is(side):
    frame = np.zeros((120, 120, 3), np.uint8)
    frame[50:53, 60:63] = 255  # its middle is at 61.5, 51.5, counted from the corner of the first pixel
    squares = Squares(np.array([[63.0, 48.0]]), np.array([side]))
    crop = cut(frame, squares.to_crop(0, 48), 48)[..., 0].astype(float)
    y, x = np.mgrid[:48, :48] + 0.5
    middle = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    found = landmarks_in_crops(np.array([[[61.5, 51.5, 3.0]]], np.float32), squares, 0, 48)[0, 0]
    assert np.allclose(found[:2], middle, atol=0.1)
    assert found[2] == pytest.approx(3 * 48 / side)


# tracks


def sightings(rows, count, landmarks=None):
    """Sightings from rows of frame, track and box."""
    frames, tracks, boxes = (np.array(values) for values in zip(*rows))
    points = np.zeros((len(rows), 2, 3), np.float32) if landmarks is None else landmarks
    scores = np.full(len(rows), 0.9, np.float32)
    return Sightings(np.arange(count) / 25, np.array([]), (100, 100), frames, tracks, boxes, scores, 0, points)


def test_tracks_follow_faces_and_fill_gaps():
    box = np.array([10.0, 10, 30, 30])
    rows = [(0, 0, box), (1, 0, box + 2), (1, 1, box + 50), (4, 0, box + 8), (6, 2, box)]
    points = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 478, 3), np.float32)
    seen = sightings(rows, 8, points)
    topology = load_topology("mediapipe478")
    one, other, last = tracks_of(seen, SourceVideo(Path("v"), "0"), crop_scale=1.6, side=SIDE, topology=topology)
    assert [(track.number, track.start, track.stop) for track in (one, other, last)] == [
        (0, 0, 5),
        (1, 1, 2),
        (2, 6, 7),
    ]
    assert one.found.tolist() == [True, True, False, False, True]
    assert one.boxes[2:4, 0].tolist() == [14, 16]
    assert one.scores.tolist() == pytest.approx([0.9, 0.9, 0, 0, 0.9])
    assert one.sighted_landmarks(0, 5)[:, 0, 0].tolist() == pytest.approx([0, 1, 5 / 3, 7 / 3, 3])
    assert one.sighted_landmarks(3, 5)[:, 0, 0].tolist() == pytest.approx([7 / 3, 3])
    assert [[track.number for track in group] for group in groups_of([one, other, last])] == [[0, 1], [2]]


class Scripted:
    """Finds scripted faces of two landmarks."""

    name = "scripted"

    class topology:
        count = 2
        mean = np.float32([[-1, -1, 0], [1, 1, 0]])

    def __init__(self, places):
        self._places, self._frame, self.resets = places, 0, 0

    def analyse(self, frame):
        places = self._places[self._frame]
        self._frame += 1
        scale = frame.shape[1] / 96
        return [
            Face(
                np.float32([x, 10, x + size, 10 + size]) * scale,
                0.8,
                np.float32([[x, 10, 0], [x + size, 10 + size, 0]]) * scale,
            )
            for x, size in places
        ]

    def reset(self):
        self.resets += 1


def test_faces_are_found_once_and_read_again(write_video, tmp_path):

    source = write_video(tmp_path / "v.mp4", np.full((6, 64, 96, 3), 80, np.uint8))
    places = [[(10, 40)], [(11, 40), (70, 12)], [], [(13, 40)], [], []]
    found = find_faces(source, Scripted(places), CropConfig(min_face=20, max_gap=0.05), tmp_path)
    assert found.frames.tolist() == [0, 1, 3] and set(found.tracks) == {0} and found.small == 1
    assert found.times.tolist() == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert found.size == (64, 96) and found.boxes[1].tolist() == [11, 10, 51, 50]
    again = find_faces(source, Scripted(None), CropConfig(), tmp_path)  # would fail if it looked
    assert np.array_equal(again.landmarks, found.landmarks) and np.array_equal(again.boxes, found.boxes)
    (tmp_path / "other").mkdir()
    first = find_faces(source, Scripted(places), CropConfig(min_face=20), tmp_path / "other", seconds=0.1)
    assert len(first.times) == 3


def test_stretches_with_the_attribute_and_a_window_around_them():
    masked = np.zeros(60, bool)
    masked[[20, 22, 50]] = True
    assert active_stretches(masked, 4) == [(16, 27), (46, 55)]
    assert active_stretches(masked, 16) == [(4, 60)]
    assert active_stretches(np.ones(5, bool), 16) == [(0, 5)]
    assert active_stretches(np.zeros(5, bool), 16) == []


# reviewing


def test_stretches_need_time_and_a_majority():
    times = np.arange(50) / 25
    bad = np.zeros(50, bool)
    bad[10:20] = True
    assert list(stretches(bad, times, 0.3)) == [(10, 20)]
    assert list(stretches(bad, times, 0.5)) == []
    bad[12:18:2] = False
    assert list(stretches(bad, times, 0.3)) == [(10, 20)]
    sparse = np.zeros(50, bool)
    sparse[::5] = True
    assert list(stretches(sparse, times, 0.3)) == []


@pytest.fixture(scope="module")
def resolved(backbone, glasses_remover):
    return resolve(EditConfig(remover=[glasses_remover], backbone=str(backbone), device="cpu"))


def face(**changed):
    values = {
        "track": 3,
        "found": True,
        "confidence": 1,
        "box": [0, 0, 1, 1],
        "turn": 5,
        "mask": 0.1,
        "edited": 0.1,
        "change": 9,
    }
    values |= {"flicker": 1, "landmark_shift": 0.01, "eyes_edited": 0.0, "eye_contrast": 0.4}
    values |= {"kept": None, "eyes_hidden": False, "eye_contrast_before": 0.4, "tint_before": 5.0, "tint": 5.0}
    return FaceReport(**values | changed)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"landmark_shift": 0.2}, "identity moved"),
        ({"landmark_shift": None}, "face lost"),
        ({"flicker": 4}, "flicker"),
        ({"eye_contrast": 0.02}, "eyes lost"),
        ({"eyes_edited": 0.9, "eyes_hidden": True}, "eyes invented"),
        ({"eyes_edited": 0.9, "eye_contrast_before": 0.03}, "eyes invented"),
        ({"kept": "eyes hidden", "edited": 0}, "eyes hidden"),
        ({"kept": "face paint", "edited": 0}, "face paint"),
        ({"tint_before": 22, "tint": 14}, "tint left"),
        ({"turn": 70}, "turned away"),
    ],
)
def test_bad_stretches_are_warned_of(changed, kind, resolved):
    times = np.arange(100) / 25
    faces = [face(**changed) if 30 <= k < 70 else face() for k in range(100)]
    (warned,) = warnings_of(3, 200, faces, times, resolved)
    assert (warned.kind, warned.track, warned.start, warned.stop) == (kind, 3, 230, 270)
    assert warned.sentence.startswith("1.2 s to 2.8 s: ")
    assert not warnings_of(3, 200, [face()] * 100, times, resolved)
    if kind not in ("eyes hidden", "face paint", "eyes invented", "turned away"):
        assert not warnings_of(3, 200, [face(**changed, edited=0)] * 100, times, resolved)


@pytest.mark.parametrize(
    "changed",
    [
        {"eyes_edited": 0.9},  # rims overlap the eyes: that alone hides nothing
        {"eyes_edited": 0.9, "eye_contrast_before": 0.09, "eye_contrast": 0.1},  # narrow eyes
        {"eye_contrast_before": 0.09, "eye_contrast": 0.08},
        {"eyes_hidden": True},  # nothing was pasted over them
        {"tint_before": 7, "tint": 14},
        {"tint_before": 22, "tint": 5},
    ],
)
def test_ordinary_edits_cause_no_warning(changed, resolved):
    assert not warnings_of(3, 200, [face(**changed)] * 100, np.arange(100) / 25, resolved)


@pytest.fixture(scope="module")
def sample():
    return sample_clip(8)


def look(sample, made):
    analyser = create_analyser("mediapipe", max_faces=1)
    comparison = FrameComparison(analyser.topology)
    weights = np.full(sample.frames.shape[1:3], 255, np.uint8)
    found = []
    for original, result, points in zip(sample.frames, made, sample.landmarks):
        values = comparison.compare(original, result, weights, points)._asdict()
        shift = landmark_shift(analyser.analyse(result), points[:, :2], analyser.topology)
        found.append({**values, "landmark_shift": shift})
    return found


def test_an_edit_that_changes_nothing_looks_good(sample):
    for values in look(sample, sample.frames):
        assert values["change"] == 0 and values["flicker"] == 1
        assert values["landmark_shift"] < 0.04 and values["eye_contrast"] > 0.2


def test_faults_are_seen(sample):
    shifted = np.roll(sample.frames, 24, axis=2)
    assert look(sample, shifted)[4]["landmark_shift"] > 0.15
    rng = np.random.default_rng(0)
    noisy = np.clip(sample.frames + rng.normal(0, 25, sample.frames.shape), 0, 255).astype(np.uint8)
    assert look(sample, noisy)[4]["flicker"] > 3
    hidden = sample.frames.copy()
    for frame, points in zip(hidden, sample.landmarks):
        eyes = points[sample.topology.regions["left_eye"]], points[sample.topology.regions["right_eye"]]
        for eye in eyes:
            (x0, y0), (x1, y1) = eye[:, :2].min(axis=0).astype(int) - 4, eye[:, :2].max(axis=0).astype(int) + 4
            frame[y0:y1, x0:x1] = 15
    assert look(sample, hidden)[4]["eye_contrast"] < 0.1
    assert look(sample, np.zeros_like(sample.frames))[4]["landmark_shift"] is None
