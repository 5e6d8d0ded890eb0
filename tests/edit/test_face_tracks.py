"""Faces of a video over cuts, gaps and sizes."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.edit.config import CropConfig
from toolkit.edit.tracks import sightings as finding
from toolkit.edit.tracks.sightings import find_faces
from toolkit.edit.tracks.track import SourceVideo, groups_of, tracks_of
from toolkit.errors import InputError
from toolkit.faces.types import Face


class Scripted:
    """Finds scripted boxes, given in shares of the width."""

    name = "scripted"

    class topology:
        count = 3
        mean = np.float32([[-1, -1, 0], [1, -1, 1], [1, 1, 2]])

    def __init__(self, script):
        self._script, self._frame, self.resets, self.widths = script, 0, [], []

    def analyse(self, frame):
        self.widths.append(frame.shape[1])
        boxes = self._script[self._frame]
        self._frame += 1
        found = []
        for box in boxes:
            x0, y0, x1, y1 = sides = np.float32(box) * frame.shape[1]
            points = np.float32([[x0, y0, 0], [x1, y0, 1], [x1, y1, 2]])
            found.append(Face(sides, 0.7, points))
        return found

    def reset(self):
        self.resets.append(self._frame)


def followed(sightings):
    return tracks_of(sightings, SourceVideo(Path("v.mp4"), "0"), crop_scale=1.6, side=64, topology=Scripted.topology)


LEFT, RIGHT = (0.1, 0.1, 0.4, 0.4), (0.6, 0.1, 0.9, 0.4)


@pytest.fixture
def shots():
    """Two shots of eight frames."""
    y, x = np.mgrid[:96, :128].astype(np.float32)
    first = [np.stack([120 + 90 * np.sin((x + 3 * t) / 17), 100 + y, 80 + 50 * np.cos(y / 9)], -1) for t in range(8)]
    second = [np.stack([60 + x / 2, 120 + 80 * np.cos((x - y + 2 * t) / 13), 180 - y], -1) for t in range(8)]
    return np.array([*first, *second]).astype(np.uint8)


def test_a_track_ends_at_a_cut_even_where_the_face_stays(shots, write_video, tmp_path):
    source = write_video(tmp_path / "v.mp4", shots)
    analyser = Scripted([[LEFT]] * 16)
    found = find_faces(source, analyser, CropConfig(min_face=8), tmp_path)
    assert found.cuts.tolist() == [8] and analyser.resets == [0, 8]
    assert [(track.start, track.stop) for track in followed(found)] == [(0, 8), (8, 16)]


def test_what_the_reader_notices_is_kept_with_the_faces(shots, write_video, tmp_path):
    source = write_video(tmp_path / "v.mkv", shots, g="2")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="cut off"):
        find_faces(source, Scripted([[LEFT]] * 16), CropConfig(min_face=8), tmp_path, strict=True)
    found = find_faces(source, Scripted([[LEFT]] * 16), CropConfig(min_face=8), tmp_path)
    assert [note.kind for note in found.notes] == ["cut off"] and 4 < len(found.times) < 16
    assert find_faces(source, Scripted(None), CropConfig(), tmp_path).notes == found.notes  # read from the folder


def test_a_gap_is_not_bridged_over_a_cut_nor_when_it_is_long(shots, write_video, tmp_path):
    source = write_video(tmp_path / "v.mp4", shots)
    script = [[LEFT, RIGHT]] * 16
    script[7] = script[8] = [RIGHT]  # the left one is missed around the cut
    script[3] = [LEFT]  # the right one for a frame
    script[11] = script[12] = script[13] = [LEFT]  # and for long
    found = find_faces(source, Scripted(script), CropConfig(min_face=8, max_gap=0.04), tmp_path)
    tracks = followed(found)
    assert sorted((track.start, track.stop, round(track.boxes[0, 0] / 128, 1)) for track in tracks) == [
        (0, 7, 0.1),
        (0, 8, 0.6),
        (8, 11, 0.6),
        (9, 16, 0.1),
        (14, 16, 0.6),
    ]
    assert [track.number for track in tracks] == list(range(5))
    assert not next(track for track in tracks if track.stop == 8).found[3]
    assert [[track.start for track in group] for group in groups_of(tracks)] == [[0, 0], [8, 9, 14]]


def test_large_frames_are_shrunk_and_faces_are_in_pixels_of_the_video(shots, write_video, tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "MAX_SIDE", 64)
    source = write_video(tmp_path / "v.mp4", shots[:2])
    analyser = Scripted([[LEFT, (0.5, 0.5, 0.56, 0.56)]] * 2)
    found = find_faces(source, analyser, CropConfig(min_face=20), tmp_path)
    assert analyser.widths == [64, 64]
    assert found.size == (96, 128) and found.small == 2  # 8 pixels
    assert found.boxes[0].tolist() == pytest.approx([12.8, 12.8, 51.2, 51.2])
    assert found.landmarks[1, 2].tolist() == pytest.approx([51.2, 51.2, 4])


def test_a_video_without_a_face(shots, write_video, tmp_path):
    source = write_video(tmp_path / "v.mp4", shots[:3])
    for _ in range(2):  # found, and read again
        found = find_faces(source, Scripted([[]] * 3), CropConfig(), tmp_path)
        assert found.landmarks.shape == (0, 3, 3) and found.boxes.shape == (0, 4) and len(found.times) == 3
        assert followed(found) == [] and list(groups_of([])) == []


def test_an_interrupted_search_starts_again(shots, write_video, tmp_path):
    source = write_video(tmp_path / "v.mp4", shots[:6])

    def stop(count):
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_faces(source, Scripted([[RIGHT]] * 6), CropConfig(min_face=8), tmp_path, on_frame=stop)
    found = find_faces(source, Scripted([[LEFT]] * 6), CropConfig(min_face=8), tmp_path)
    assert found.frames.tolist() == list(range(6)) and (found.landmarks[:, 0, 0] < 64).all()
