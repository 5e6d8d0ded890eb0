"""dG: glasses that an edit took away, as a share of the frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from attributes.glasses.design import GlassesDesign
from attributes.glasses.fidelity import RemovedGlasses
from toolkit.task import FaceClip


@pytest.fixture(scope="module")
def worn(worn_clip):
    return worn_clip(GlassesDesign())


@pytest.fixture(scope="module")
def bare(worn):
    from toolkit.testing.sample import sample_frames

    return replace(worn, frames=sample_frames(16, 256))


@pytest.fixture(scope="module")
def removed():
    return RemovedGlasses()


def test_worked_out_by_hand(worn, monkeypatch):
    measure, asked = RemovedGlasses(), []

    def area(clip):
        asked.append(clip)
        return np.full(len(clip), 60 / 5000 if len(asked) == 1 else 10 / 5000)

    monkeypatch.setattr(measure, "area", area)
    landmarks = worn.landmarks[:3].copy()
    landmarks[1] = np.nan
    original = FaceClip(np.zeros((3, 50, 100, 3), np.uint8), landmarks, worn.topology, np.arange(3) / 25)
    found = measure(original, replace(original, landmarks=landmarks + 5))
    assert found[[0, 2]] == pytest.approx(0.01) and np.isnan(found[1])
    assert np.array_equal(asked[1].landmarks, landmarks, equal_nan=True), "the original's landmarks say where to look"
    measure(original, original)
    assert len(asked) == 3, "the original is looked at once for all methods"


def test_an_unedited_clip_has_lost_nothing(removed, worn, bare):
    assert (removed(worn, worn) == 0).all()
    assert (removed(bare, bare) == 0).all()


def test_what_is_gone_counts_and_what_appears_counts_against(removed, worn, bare):
    gone = removed(worn, bare)
    area = removed.area(worn)
    assert (gone > 0.02).all() and np.allclose(gone, area - removed.area(bare))
    drawn = (worn.frames != bare.frames).any(axis=3).mean(axis=(1, 2))
    assert 0.4 < np.median(area / drawn) < 2.5, "shadows are drawn too, and lenses belong to the glasses"
    assert np.allclose(removed(bare, worn), -gone)


def test_half_of_it(removed, worn, bare):
    half = worn.frames.copy()
    for t, middle in enumerate(worn.landmarks[:, 4, 0].astype(int)):
        half[t, :, :middle] = bare.frames[t, :, :middle]
    share = removed(worn, replace(worn, frames=half)) / removed(worn, bare)
    assert 0 < np.median(share) < 0.9, "what is left still counts"


def test_the_size_of_the_frame_does_not_matter(removed, worn, bare):
    def doubled(clip):
        frames = np.stack([cv2.resize(frame, (512, 512), interpolation=cv2.INTER_CUBIC) for frame in clip.frames])
        return replace(clip, frames=frames, landmarks=clip.landmarks * 2)

    small, large = removed(worn, bare).mean(), removed(doubled(worn), doubled(bare)).mean()
    assert large == pytest.approx(small, rel=0.1)


def test_real_glasses(removed, shared):
    from toolkit.faces import create_analyser
    from toolkit.video import read_frames

    frames = []
    for frame in read_frames(shared("media/glasses/video-retalking_face_5.mp4")):
        if frame.index == 4:
            break
        frames.append(frame.image)
    analyser = create_analyser("mediapipe")
    landmarks = np.stack([analyser.analyse(frame)[0].landmarks for frame in frames])
    clip = FaceClip(np.stack(frames), landmarks, analyser.topology, np.arange(4) / 25)
    area = removed.area(clip)
    assert ((area > 0.02) & (area < 0.1)).all()
    blurred = replace(clip, frames=np.stack([cv2.medianBlur(frame, 31) for frame in frames]))
    assert (removed(clip, blurred) > 0.3 * area).all()
