"""Faces that overlap: who is in front, and whose edit a pixel shows."""

from pathlib import Path

import cv2
import numpy as np

from toolkit.edit import EditConfig, edit_video
from toolkit.edit.output.patch import patch_of, write_patch
from toolkit.edit.output.patches import PATCHES, PatchPaster, paste
from toolkit.edit.tracks.layers import Layers, touches_of
from toolkit.edit.tracks.sightings import Sightings
from toolkit.edit.tracks.track import SourceVideo, tracks_of
from toolkit.faces.topology import load_topology
from toolkit.video import read_frames

TOPOLOGY = load_topology("mediapipe478")
SIDE, SIZE = 64, (200, 400)
COLOURS = (250, 0, 0), (0, 0, 250), (0, 250, 0)


def points_at(x, y=100.0, width=90.0, bend=0.0):
    """Landmarks of a frontal face; bent ones have one half squeezed, like guesses for a hidden half."""
    mean = TOPOLOGY.mean.copy()
    mean[mean[:, 0] > 0, 0] *= 1 - bend
    return mean * (width / np.ptp(mean[:, 0])) + np.float32([x, y, 0])


def tracks_from(script, frames):
    """Tracks of faces, given for each face as a function of the frame that returns landmarks or None."""
    rows = [
        (frame, number, points)
        for frame in range(frames)
        for number, face in enumerate(script)
        if (points := face(frame)) is not None
    ]
    landmarks = np.float32([row[2] for row in rows])
    sightings = Sightings(
        times=np.arange(frames) / 25,
        cuts=np.zeros(0, np.int64),
        size=SIZE,
        frames=np.array([row[0] for row in rows]),
        tracks=np.array([row[1] for row in rows]),
        boxes=np.concatenate([landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)], axis=1),
        scores=np.ones(len(rows), np.float32),
        small=0,
        landmarks=landmarks,
    )
    return tracks_of(sightings, SourceVideo(Path("v.mp4"), "0"), 1.6, SIDE, TOPOLOGY)


def left_of(tracks):
    return sorted(tracks, key=lambda track: track.boxes[0, 0])


def pasted(tracks, folder, frames=1):
    """Frames of grey into which every face's whole crop is pasted, each in a colour of its own."""
    weights = np.full((SIDE, SIDE), 255, np.uint8)
    for track in tracks:
        (folder / track.name / PATCHES).mkdir(parents=True)
        colours = np.full((SIDE, SIDE, 3), COLOURS[track.number], np.uint8)
        for k in range(len(track)):
            write_patch(folder / track.name / PATCHES / f"{k:06d}.patch", patch_of(colours, weights))
    paster, grey, made = PatchPaster(tracks, folder), np.full((*SIZE, 3), 128, np.uint8), []
    for index in range(frames):
        picture, (x0, y0, x1, y1) = paster.onto(grey, index)
        outside = picture.copy()
        outside[y0:y1, x0:x1] = 128
        assert (outside == 128).all() and (grey == 128).all()
        made.append(picture)
    return made


def test_the_hidden_face_is_the_one_that_is_missed():
    front = lambda frame: points_at(120 + 10 * frame)  # noqa: E731
    back = lambda frame: points_at(280 - 10 * frame, width=110) if not 6 <= frame <= 9 else None  # noqa: E731
    tracks = left_of(tracks_from([front, back], 16))
    assert all(Layers().in_front(*tracks, frame) for frame in range(16))
    assert not any(Layers().in_front(*tracks[::-1], frame) for frame in range(16))


def test_the_hidden_face_is_the_one_that_vanishes():
    front = lambda frame: points_at(120 + 10 * frame)  # noqa: E731
    back = lambda frame: points_at(280 - 10 * frame, width=110) if frame < 7 else None  # noqa: E731
    assert Layers().in_front(*left_of(tracks_from([front, back], 16)), 6)


def test_else_the_hidden_face_is_the_one_whose_landmarks_are_guesses():
    front = lambda frame: points_at(150)  # noqa: E731
    back = lambda frame: points_at(220, width=110, bend=0.3)  # noqa: E731
    assert Layers().in_front(*left_of(tracks_from([front, back], 4)), 2)


def test_else_the_larger_face_is_in_front():
    tracks = left_of(tracks_from([lambda _: points_at(150), lambda _: points_at(220, width=110)], 4))
    assert not Layers().in_front(*tracks, 2)


def test_the_order_is_decided_once_for_each_touch():
    """One face is guessed at in some frames of a touch; when they meet again, the other one is hidden."""

    def one(frame):
        return points_at(150 if 4 <= frame < 8 or frame >= 12 else 60)

    def other(frame):
        return points_at(215, bend=0.3 * (frame in (5, 6, 7)))

    def one_guessed(frame):
        return points_at(150, bend=0.3) if frame >= 12 else one(frame)

    tracks = left_of(tracks_from([one_guessed, other], 16))
    assert [(touch.start, touch.stop, touch.first) for touch in touches_of(*tracks)] == [(4, 8, True), (12, 16, False)]
    order = [Layers().in_front(*tracks, frame) for frame in range(16)]
    assert order == [True] * 10 + [False] * 6


def test_a_face_that_was_not_found_never_covers_one_that_was(tmp_path):
    """However the touch as a whole is decided."""
    gaps = (lambda frame: points_at(150) if frame != 4 else None, lambda frame: points_at(215, bend=0.3))
    tracks = left_of(tracks_from(gaps, 12))
    layers = Layers()
    assert [layers.in_front(*tracks, frame) for frame in (3, 4, 5)] == [True, False, True]
    frames = pasted(tracks, tmp_path, 12)
    overlap = frames[3][100, 185], frames[4][100, 185]
    assert tuple(overlap[0]) == COLOURS[tracks[0].number]
    assert tuple(overlap[1]) == COLOURS[tracks[1].number]


def test_a_pixel_shows_the_edit_of_one_face(tmp_path):
    tracks = left_of(tracks_from([lambda _: points_at(150), lambda _: points_at(215, bend=0.3)], 1))
    row = pasted(tracks, tmp_path)[0][100]
    front, back = (np.abs(row.astype(int) - COLOURS[track.number]).max(axis=1) <= 1 for track in tracks)
    assert front[115:194].all()  # all of the face in front
    assert back[212:245].all()  # the rest of the hidden face
    assert (~front & ~back)[195:212].sum() <= 8  # a soft border between them
    assert not front[212:].any()


def test_faces_that_do_not_touch_share_the_space_between_them(tmp_path):
    """Large crops overlap; each face's edit ends half-way."""
    tracks = left_of(tracks_from([lambda _: points_at(120), lambda _: points_at(230)], 1))
    row = pasted(tracks, tmp_path)[0][100]
    owners = [np.flatnonzero((row == COLOURS[track.number]).all(axis=1)) for track in tracks]
    assert 166 <= owners[0].max() < owners[1].min() <= 184


def test_three_faces_in_a_row(tmp_path):
    faces = [lambda _, x=x, bend=bend: points_at(x, bend=bend) for x, bend in ((110, 0.4), (175, 0.0), (240, 0.4))]
    tracks = left_of(tracks_from(faces, 1))
    row = pasted(tracks, tmp_path)[0][100]
    shown = [tuple(row[x]) for x in (85, 140, 175, 210, 250)]
    order = [COLOURS[track.number] for track in tracks]
    assert shown == [order[0], order[1], order[1], order[1], order[2]]


def test_where_crops_do_not_overlap_nothing_depends_on_the_neighbours(tmp_path):
    tracks = left_of(tracks_from([lambda _: points_at(90), lambda _: points_at(300)], 1))
    made = pasted(tracks, tmp_path)[0]
    alone = np.full((*SIZE, 3), 128, np.uint8)
    for track in tracks:
        colours = np.full((SIDE, SIDE, 3), COLOURS[track.number], np.uint8)
        alone = paste(alone, colours, np.ones((SIDE, SIDE)), track.to_crop(0))
    assert (made == alone).all()


def traces(original, edited, box):
    """How much of the rims is left: the share of the original's fine dark lines that the edit has too."""
    x0, y0, x1, y1 = map(int, box)
    area = slice(y0 + (y1 - y0) // 5, y0 + (y1 - y0) // 2), slice(x0 + (x1 - x0) // 8, x1 - (x1 - x0) // 8)
    fine = [cv2.GaussianBlur(p, (0, 0), 1) - cv2.GaussianBlur(p, (0, 0), 2.5) for p in (original, edited)]
    lines, kept = (detail.mean(axis=2)[area] for detail in fine)
    rims = lines < np.percentile(lines, 5)
    return float((lines * kept)[rims].sum() / (lines**2)[rims].sum())


def test_a_real_crossing_keeps_the_front_faces_edit(shared, tmp_path):
    """The edit of the hidden man, who is not found in frames 7 to 10, must not bring the woman's rims back."""
    source = shared("cases/faces_crossing.mp4")
    config = EditConfig.model_validate(
        {"task": ["glasses"], "motion": {"motion_layers": "none"}, "writing": {"lossless": True}}
    )
    report = edit_video(source, tmp_path / "out.mp4", config)
    before, after = ([np.float32(item.image) for item in read_frames(path)] for path in (source, tmp_path / "out.mp4"))
    hidden = [frame for frame, entry in enumerate(report.frames) if not all(face.found for face in entry.faces)]
    assert len(hidden) >= 3
    for frame in hidden:
        woman = next(face for face in report.frames[frame].faces if face.found)
        assert traces(before[frame], after[frame], woman.box) < 0.08
