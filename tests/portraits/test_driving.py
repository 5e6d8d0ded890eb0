"""Made people who move as real heads do."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from toolkit.errors import InputError, UsageError
from toolkit.faces.topology import load_topology
from toolkit.portraits import PeopleConfig, driving, make_people
from toolkit.portraits.driving import LOWER, LOWER_LIP, UPPER, UPPER_LIP, fitting, load_movements
from toolkit.testing.sample import write_sample_video
from toolkit.testing.sample_portrait import load_portrait
from toolkit.video import VideoWriter


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """The sample turns, nods, blinks and speaks."""
    return write_sample_video(tmp_path_factory.mktemp("driving") / "driver.mp4", frames=40, size=256)


def posed(mean, angles, changes):
    """Landmarks in pixels of a face with known angles and changes in its own frame."""
    found = []
    for (yaw, pitch, roll), change in zip(angles, changes):
        turn = Rotation.from_euler("yxz", [-yaw, pitch, roll]).as_matrix()
        found.append((mean + change) @ turn.T * 140 + [300, 250, 0])
    return np.stack(found)


def test_head_and_face_are_taken_apart():
    topology = load_topology("mediapipe478")
    mean = topology.mean.astype(float)
    width = np.ptp(mean[:, 0])
    time = np.linspace(0, 2 * np.pi, 41)
    angles = np.stack([0.4 * np.sin(time), 0.2 * np.sin(2 * time), 0.1 * np.cos(time)], axis=1)
    changes = np.zeros((41, len(mean), 3))
    closed = slice(18, 23)
    gap = mean[LOWER, 1] - mean[UPPER, 1]
    changes[closed, UPPER, 1] = 0.8 * gap
    movement = driving._movement(posed(mean, angles, changes), mean)
    usual = np.median(angles, axis=0)
    assert np.allclose(movement.angles, angles - 0.5 * usual, atol=1e-4)
    assert np.allclose(movement.scales, 1, atol=1e-4)
    assert np.allclose(movement.changes * width, changes, atol=1e-4)


def test_lids_and_lips_meet_and_do_not_pass():
    points = load_topology("mediapipe478").mean.astype(np.float32) * 200 + 256
    wide = np.zeros_like(points)
    wide[UPPER, 1] = 60  # a driver with larger eyes blinks
    wide[LOWER_LIP, 1] = 90
    fitted = points + fitting(points, wide)
    assert ((fitted[LOWER] - fitted[UPPER])[:, 1] >= 0).all()
    width = np.ptp(points[:468, 0])
    opened = (fitted[LOWER_LIP] - fitted[UPPER_LIP])[:, 1] - (points[LOWER_LIP] - points[UPPER_LIP])[:, 1]
    assert (opened <= 1.3 * driving.OPENING * width).all() and opened.max() > 0.5 * driving.OPENING * width
    still = np.zeros_like(points)
    assert np.array_equal(fitting(points, still), still)
    assert not wide[UPPER, 0].any() and (wide[UPPER, 1] == 60).all(), "the input stays"


def test_movements_of_a_video(video, tmp_path):
    found = load_movements([video], tmp_path)
    assert len(found) == 1 and len(found[0]) == 39
    turned = np.degrees(np.ptp(found[0].angles, axis=0))
    assert turned[0] > 5, "it turns"
    lids = found[0].changes[:, UPPER, 1] - found[0].changes[:, LOWER, 1]
    assert np.ptp(lids.mean(axis=1)) > 0.01, "it blinks"
    cached = next(tmp_path.glob("movement-*.npz"))
    before = cached.stat().st_mtime_ns
    again = load_movements([video], tmp_path)
    assert cached.stat().st_mtime_ns == before
    assert all(np.array_equal(a, b) for a, b in zip(vars(found[0]).values(), vars(again[0]).values()))


def test_videos_without_a_face_are_refused(tmp_path):
    with VideoWriter(tmp_path / "grey.mp4", fps=25) as writer:
        for _ in range(20):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(InputError, match=r"show no face for 0\.6 seconds"):
        load_movements([tmp_path / "grey.mp4"], tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load_movements([tmp_path / "none.mp4"], tmp_path)


def test_people_move_as_the_video_does(video, tmp_path):
    from toolkit.portraits.making import _people
    from toolkit.seeds import generator

    portraits = tmp_path / "portraits"
    portraits.mkdir()
    Image.fromarray(load_portrait(512).image).save(portraits / "001_a.png")
    shared = {"portraits": portraits, "clips": 1, "frames": 30, "size": 128, "drive": [video]}
    make_people(PeopleConfig(output=tmp_path / "people", workers=1, **shared))
    people = _people(portraits, None, None, (video,), tmp_path / "people" / ".portraits", 0.0)
    clip = people.clip(generator("made people", 0, 0), 30, 128)
    lids = (clip.landmarks[:, LOWER, 1] - clip.landmarks[:, UPPER, 1]).mean(axis=1)
    assert lids.min() < 0.7 * lids.max()
    # Pictures and landmarks go together: where the lids are shut the eyes are less dark.
    from toolkit.faces import create_analyser

    analyser = create_analyser("mediapipe", max_faces=1)
    try:
        seen = [analyser.analyse(frame) for frame in clip.frames]
    finally:
        analyser.close()
    apertures = [
        (faces[0].landmarks[LOWER, 1] - faces[0].landmarks[UPPER, 1]).mean() if faces else np.nan for faces in seen
    ]
    known = np.isfinite(apertures)
    assert known.sum() > 20 and np.corrcoef(np.array(apertures)[known], lids[known])[0, 1] > 0.5
    other = write_sample_video(tmp_path / "other.mp4", frames=20, size=256)
    with pytest.raises(UsageError, match="made with other settings: drive"):
        make_people(PeopleConfig(output=tmp_path / "people", **shared | {"drive": [other]}))
