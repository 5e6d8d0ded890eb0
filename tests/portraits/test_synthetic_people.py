"""Synthetic people from the public-domain portrait, and from real portraits if they are available."""

import random
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.errors import InputError, MissingExtra
from toolkit.faces import create_analyser
from toolkit.portraits import SyntheticPeople, load_portraits
from toolkit.portraits.painting import painted
from toolkit.portraits.relief import Pose, Relief
from toolkit.portraits.scenery import covering

WITHOUT = Pose(0.0, 0.0, 0.0, (0.0, 0.0), 1.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("portraits") / "collins.png"
    cv2.imwrite(str(path), cv2.resize(astronaut()[:300, 80:380], (600, 600))[..., ::-1])
    return path


@pytest.fixture(scope="module")
def portrait(file):
    return load_portraits([file])[0]


@pytest.fixture(scope="module")
def people(portrait):
    return SyntheticPeople([portrait])


def test_a_portrait_fills_its_canvas(portrait):
    face = portrait.landmarks[:468, :2]
    assert np.ptp(face, axis=0).max() == pytest.approx(0.42 * 384, rel=1e-3)
    assert portrait.matte[192, 192] > 0.95 and portrait.matte[:20, :20].max() < 0.2
    x, y = np.round(portrait.landmarks[4, :2]).astype(int)
    assert portrait.depth[y, x] == pytest.approx(portrait.landmarks[4, 2], abs=6)
    assert portrait.depth[y, x] < portrait.depth[y, x + 90], "the nose is nearer than the side of the head"


def test_the_cache_gives_the_same_even_when_damaged(file, portrait, tmp_path):
    for _ in range(2):
        (again,) = load_portraits([file], tmp_path / "cache")
        for name in ("image", "matte", "landmarks", "depth"):
            np.testing.assert_array_equal(getattr(again, name), getattr(portrait, name))
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:5000])
    np.testing.assert_array_equal(load_portraits([file], tmp_path / "cache")[0].image, portrait.image)


def test_without_a_turn_the_portrait_comes_back(portrait):
    view = Relief(portrait).view(WITHOUT)
    rows = np.arange(384, dtype=np.float32)
    on = portrait.matte > 0.9
    on[:4] = on[-4:] = False
    assert np.abs(view.x - rows[None])[on].max() < 0.6
    assert np.abs(view.y - rows[:, None])[on].max() < 0.6
    np.testing.assert_allclose(view.landmarks, portrait.landmarks, atol=1e-3)


@pytest.mark.parametrize(("yaw", "side"), [(0.5, 1), (-0.5, -1)])
def test_a_turn_moves_the_nose_to_its_side_and_hides_the_far_cheek(portrait, yaw, side):
    view = Relief(portrait).view(Pose(yaw, 0.0, 0.0, (0.0, 0.0), 1.0))
    nose, left, right = (view.landmarks[k, 0] for k in (4, 234, 454))
    middle = (left + right) / 2
    assert side * (nose - middle) > 15
    near, far = (nose - left, right - nose) if side > 0 else (right - nose, nose - left)
    assert near > 1.8 * far


def test_landmarks_agree_with_an_analyser_on_what_is_drawn(people):
    analyser = create_analyser("mediapipe", max_faces=1)
    errors, missed = [], 0
    for seed in range(12):
        clip, _ = people.scene(np.random.default_rng(seed), size=320)
        analyser.reset()
        faces = analyser.analyse(clip.frames[0])
        if not faces:
            missed += 1
            continue
        eyes = np.linalg.norm(clip.landmarks[0, 33] - clip.landmarks[0, 263])
        stable = [1, 4, 6, 33, 263, 133, 362, 61, 291, 168]
        errors.append(
            np.linalg.norm(faces[0].landmarks[stable, :2] - clip.landmarks[0, stable, :2], axis=1).mean() / eyes
        )
    analyser.close()
    assert missed <= 2
    assert np.median(errors) < 0.08


def test_clips_have_the_form_of_the_readers(people):
    clip, camera = people.scene(np.random.default_rng(3), frames=4, size=160)
    assert clip.frames.shape == (4, 160, 160, 3) and clip.landmarks.shape == (4, 478, 3)
    assert clip.present.all() and clip.topology.name == "mediapipe478"
    steps = np.abs(np.diff(clip.landmarks, axis=0)).max()
    assert 0 < steps < 12, "heads move smoothly"
    seen = camera(clip.frames)
    assert seen.shape == clip.frames.shape and seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, camera(clip.frames))


def test_the_seed_decides_and_nothing_else(people):
    def make(seed):
        return people.clip(np.random.default_rng(seed), size=128)

    random.seed(1)
    np.random.seed(1)
    first = make(5)
    random.seed(2)
    np.random.seed(2)
    again = make(5)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert np.abs(first.frames.astype(int) - make(6).frames).mean() > 5


def test_paint_changes_the_picture_of_some_and_nothing_else(portrait):
    changed = []
    for seed in range(16):
        one, again = (painted(np.random.default_rng(seed), portrait) for _ in range(2))
        np.testing.assert_array_equal(one.image, again.image)
        np.testing.assert_array_equal(one.landmarks, portrait.landmarks)
        np.testing.assert_array_equal(one.matte, portrait.matte)
        changed.append(np.abs(one.image.astype(int) - portrait.image).max() > 8)
    assert 4 <= sum(changed) <= 15, "some people are painted and some are not"


def test_coverings_leave_the_eyes_free(portrait):
    empty = np.full((384, 384, 3), -1000, np.float32)
    for seed in range(40):
        drawn = covering(np.random.default_rng(seed), empty, portrait.landmarks)[..., 0] > -500
        assert drawn.sum() > 200
        for eye in ((33, 133), (263, 362)):
            x, y = portrait.landmarks[list(eye), :2].mean(axis=0).astype(int)
            assert not drawn[y, x]


def test_a_picture_without_a_face_is_refused(tmp_path):
    plain = tmp_path / "plain.png"
    cv2.imwrite(str(plain), np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(InputError, match=r"no face was found in .*plain\.png"):
        load_portraits([plain])


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.jpg"):
        load_portraits([path])


def test_a_mediapipe_without_matting_is_a_sentence(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions.selfie_segmentation", None)
    with pytest.raises(MissingExtra, match=r"mediapipe==0\.10\.21"):
        load_portraits([file])


def test_no_portraits():
    with pytest.raises(InputError, match="at least one portrait"):
        load_portraits([])
    with pytest.raises(InputError, match="at least one portrait"):
        SyntheticPeople([])
    with pytest.raises(InputError, match=r"gone\.png cannot be read"):
        load_portraits([Path("gone.png")])


def test_real_portraits_make_people_of_mixed_identity(shared):
    folder = shared("stills/london")
    portraits = load_portraits(sorted(folder.glob("00[1-3]_neutral.jpg")))
    people = SyntheticPeople(portraits)
    shapes = [people.scene(np.random.default_rng(seed))[0].landmarks[0] for seed in range(4)]
    assert all(np.abs(a - b).max() > 4 for k, a in enumerate(shapes) for b in shapes[k + 1 :])


def test_photos_show_the_portrait_in_its_own_resolution(file, portrait):
    photos = SyntheticPeople([portrait], photos=1.0)
    clip, _ = photos.scene(np.random.default_rng(4), 3, 600, 1.6)
    again, _ = photos.scene(np.random.default_rng(4), 3, 600, 1.6)
    np.testing.assert_array_equal(clip.frames, again.frames)
    (face,) = create_analyser("mediapipe").analyse(clip.frames[1])
    error = np.abs(face.landmarks[:468, :2] - clip.landmarks[1, :468, :2]).mean()
    assert error < 0.01 * 600, "the landmarks follow the picture"
    morphed, _ = SyntheticPeople([portrait]).scene(np.random.default_rng(4), 1, 600, 1.6)
    detail = [
        np.abs(cv2.Laplacian(frames[0, 200:400, 200:400], cv2.CV_32F)).mean()
        for frames in (clip.frames, morphed.frames)
    ]
    assert detail[0] > 1.5 * detail[1], "the canvas would have softened it"


def test_without_photos_people_stay_the_same(portrait, people):
    same = SyntheticPeople([portrait], photos=0.0)
    one, other = (source.clip(np.random.default_rng(3), 1) for source in (people, same))
    np.testing.assert_array_equal(one.frames, other.frames)
