"""The stickers task keeps the contract, with every option."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from attributes.stickers.degradation import ClipDegradation
from tasks.stickers import StickersOptions, StickersTask
from toolkit.testing import assert_conforms, no_face_clip, synthetic_clip, tools


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(frames=6, size=192)


def pairs(clip, seed=0, **options):
    generate = StickersTask(StickersOptions(**options)).pair_generator()
    return list(generate(clip, np.random.default_rng(seed), tools()))


def test_conforms():
    assert_conforms(StickersTask)


def test_image_is_the_frame_and_the_mask_is_where_they_differ(clip):
    for seed in range(3):
        made = pairs(clip, seed)
        assert [pair.index for pair in made] == list(range(len(clip)))
        for pair in made:
            np.testing.assert_array_equal(pair.image, clip.frames[pair.index])
            np.testing.assert_array_equal(pair.mask, (pair.image != pair.conditioning_image).any(axis=-1))
            assert pair.info["sticker"]
        assert sum(pair.mask.any() for pair in made) >= 4


def test_the_seed_decides(clip):
    first, again, other = pairs(clip, 1), pairs(clip, 1), pairs(clip, 2)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a.conditioning_image, b.conditioning_image)
    assert any((a.mask != b.mask).any() for a, b in zip(first, other))


def test_one_place_for_the_whole_clip(clip):
    assert len({(p.info["u"], p.info["v"], p.info["size"]) for p in pairs(clip)}) == 1


def test_frames_without_the_face_give_no_pair(clip):
    landmarks = clip.landmarks.copy()
    landmarks[2] = np.nan
    made = pairs(replace(clip, landmarks=landmarks))
    assert [pair.index for pair in made] == [0, 1, 3, 4, 5]
    assert pairs(no_face_clip()) == []


def test_number_of_stickers(clip):
    assert pairs(clip, number=(3, 3), size=(0.1, 0.15))[0].info["sticker"].count("+") == 2


def test_own_art(clip, tmp_path):
    green = np.zeros((40, 30, 4), np.uint8)
    green[4:-4, 4:-4] = (0, 255, 0, 255)
    Image.fromarray(green).save(tmp_path / "mine.png")
    pair = pairs(clip, art=tmp_path, degradation=0)[0]
    assert pair.info["sticker"] == "mine"
    inside = pair.conditioning_image[pair.mask].astype(int)
    assert (inside[:, 1] > inside[:, 0] + 20).mean() > 0.3


def test_degradation_stays_inside_the_sticker(clip):
    clean, worn = pairs(clip, 5, degradation=0), pairs(clip, 5, degradation=1)
    assert any((a.conditioning_image != b.conditioning_image).any() for a, b in zip(clean, worn))
    for pair in worn:
        np.testing.assert_array_equal(pair.image[~pair.mask], pair.conditioning_image[~pair.mask])


def test_degradation_is_one_draw_per_clip():
    picture = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    for seed in range(6):
        degrade = ClipDegradation(np.random.default_rng(seed))
        np.testing.assert_array_equal(degrade(picture), degrade(picture))
    different = {ClipDegradation(np.random.default_rng(seed))(picture).tobytes() for seed in range(12)}
    assert len(different) > 6


def test_masker_is_skin_without_forbidden_regions(clip):
    masks = StickersTask(StickersOptions(masker="skin")).masker()(clip)
    assert masks.dtype == bool and masks.shape == clip.frames.shape[:3]
    for mask, landmarks in zip(masks, clip.landmarks):
        x0, y0 = landmarks[:, :2].min(axis=0) - 2
        x1, y1 = landmarks[:, :2].max(axis=0) + 2
        ys, xs = np.nonzero(mask)
        assert xs.min() >= x0 and xs.max() <= x1 and ys.min() >= y0 and ys.max() <= y1
        for name in ("left_eye", "right_eye"):
            x, y = landmarks[clip.topology.regions[name], :2].mean(axis=0).astype(int)
            assert not mask[y, x]
    assert not StickersTask().masker()(no_face_clip()).any()


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0.5, 0.1)},
        {"size": (0.5, 9.0)},
        {"opacity": (0.0, 1.0)},
        {"number": (0, 2)},
        {"forbidden": ("ears",)},
        {"degradation": 2},
        {"coefficient_weights": "x.pth"},
        {"colour": "red"},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValidationError):
        StickersOptions(**options)


def test_albumentations_does_not_ask_the_network():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network access')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from attributes.stickers.degradation import ClipDegradation\n"
        "ClipDegradation(np.random.default_rng(0))(np.zeros((16, 16, 3), np.uint8))\n"
        "import sys\n"
        "assert 'torch' not in sys.modules, 'importing torch takes longer than everything else here'\n"
        "import albumentations.pytorch, huggingface_hub\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_on_a_real_clip(shared):
    """The sticker follows real skin: seen through the mesh, its colour does not swim from frame to frame."""
    from toolkit.faces import create_analyser
    from toolkit.faces.topology import load_topology
    from toolkit.task import FaceClip
    from toolkit.video import read_frames

    path = shared("media/faces/liveportrait_driving_d0.mp4")
    analyser = create_analyser("mediapipe", max_faces=1)
    frames, landmarks = [], []
    for frame in read_frames(path, stop=12):
        face = analyser.analyse(frame.image)[0]
        frames.append(frame.image)
        landmarks.append(face.landmarks)
    analyser.close()
    clip = FaceClip(
        np.stack(frames),
        np.stack(landmarks),
        load_topology("mediapipe478"),
        np.arange(12) / 25,
        box=np.float32([0, 0, 512, 512]),
    )
    made = pairs(clip, 3, degradation=0)
    assert len(made) == 12
    areas = np.array([pair.mask.sum() for pair in made], float)
    assert areas.min() > 100 and areas.std() / areas.mean() < 0.15
