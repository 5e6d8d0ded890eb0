"""A face that comes in at the border is edited from where it does."""

import numpy as np

from toolkit.edit.config import CropConfig
from toolkit.edit.tracks.sightings import find_faces
from toolkit.faces import create_analyser
from toolkit.testing.sample import sample_frames


def test_a_face_is_followed_back_to_the_border(write_video, tmp_path):
    face = sample_frames(24, 256)
    frames = np.full_like(face, 120)
    for k in range(24):
        shown = min(16 * (k + 1), 256)
        frames[k, :, 256 - shown :] = face[k, :, :shown]
    source = write_video(tmp_path / "v.mp4", frames, sound=False)
    first = []
    for name, backwards in (("plain", None), ("back", create_analyser(max_faces=1))):
        (tmp_path / name).mkdir()
        found = find_faces(source, create_analyser(), CropConfig(), tmp_path / name, backwards=backwards)
        assert (np.diff(found.frames) >= 0).all() and len(found.landmarks) == len(found.frames)
        numbers = found.tracks[found.frames == 20]
        frame = found.frames[found.tracks == numbers[0]]
        assert (np.diff(frame) == 1).all()
        first.append(int(frame[0]))
        centres = found.landmarks[found.tracks == numbers[0]].mean(axis=1)[:, 0]
        assert centres[0] > centres[3] > centres[6]
    assert first[1] < first[0]
