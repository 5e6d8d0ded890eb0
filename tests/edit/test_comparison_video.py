import numpy as np
import pytest

from toolkit.edit.output.comparison import Comparison
from toolkit.video import VideoWriter, read_frames

KINDS = ("side", "slider", "toggle")


def flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_side_puts_original_left_and_edit_right():
    rng = np.random.default_rng(0)
    original, edited = rng.integers(0, 256, (2, 240, 320, 3), dtype=np.uint8)
    comparison = Comparison("side", 320, 240)
    picture = comparison.picture(original, edited, 1.7)
    assert picture.shape == (*comparison.size, 3) and picture.dtype == np.uint8
    # Below the labels nothing is changed, neither in size nor in value.
    assert (picture[120:, :320] == original[120:]).all()
    assert (picture[120:, -320:] == edited[120:]).all()
    assert (picture[:120, :320] != original[:120]).any() and (picture[:120, -320:] != edited[:120]).any()
    line = picture[:, 320:-320]
    assert 0 < line.shape[1] < 16
    assert line.max() == 255 and line.min() == 0, "the line shows on black and on white"


def test_slider_sweeps_from_left_to_right_and_back_in_four_seconds():
    comparison = Comparison("slider", 400, 300)
    original, edited = flat(300, 400, 60), flat(300, 400, 190)

    def share(time):
        return (comparison.picture(original, edited, time)[200] == 60).all(axis=-1).mean()

    shares = np.array([share(time) for time in np.arange(0, 4, 0.05)])
    assert shares[0] == 0 and shares[40] > 0.98
    assert shares[20] == pytest.approx(0.5, abs=0.02)
    assert (np.diff(shares[:41]) >= 0).all() and (np.diff(shares[41:]) <= 0).all()
    assert np.abs(np.diff(shares)).max() < 0.045, "no jumps"
    assert share(1.3) == share(5.3)


def test_slider_shows_the_original_left_of_the_divider():
    comparison = Comparison("slider", 400, 300)
    row = comparison.picture(flat(300, 400, 60), flat(300, 400, 190), 1.0)[200, :, 0]
    assert (row[:190] == 60).all() and (row[210:] == 190).all() and row[200] == 255


def test_slider_names_each_side_of_the_divider():
    comparison = Comparison("slider", 640, 480)
    frame = flat(480, 640, 128)
    upper = [comparison.picture(frame, frame, time)[:80] != 128 for time in (0.02, 1.98)]
    left, right = ([half.any(axis=(0, 2)) for half in (shown[:, :320], shown[:, 320:])] for shown in upper)
    # While all is the edit only its label, on the right, is there; while all is the original only that on the left.
    assert left[0][20:].sum() == 0 and left[1].sum() > 40
    assert right[0].sum() > 60 and right[1][:-20].sum() == 0


def test_toggle_takes_turns_by_the_second():
    comparison = Comparison("toggle", 200, 150)
    original, edited = flat(150, 200, 10), flat(150, 200, 240)
    shown = [comparison.picture(original, edited, time)[-1, -1, 0] for time in (0, 0.5, 0.99, 1 - 1e-7, 1.5, 2.2, 3.0)]
    assert shown == [10, 10, 10, 240, 240, 10, 240]
    labels = [comparison.picture(flat(150, 200, 128), flat(150, 200, 128), time) for time in (0, 1)]
    assert (labels[0] != labels[1]).any(), "the labels differ"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("width", "height"), [(2, 2), (16, 16), (64, 48), (361, 203), (1081, 1921), (1920, 1080), (3840, 2160), (333, 4001)]
)
def test_size_is_even_small_enough_and_keeps_the_aspect(kind, width, height):
    comparison = Comparison(kind, width, height)
    frame = flat(height, width, 90)
    picture = comparison.picture(frame, frame, 0.8)
    shown_height, shown_width = comparison.size
    assert picture.shape == (shown_height, shown_width, 3)
    assert shown_width % 2 == 0 and shown_height % 2 == 0 and shown_width <= 1920 and shown_height <= 1080
    if kind != "side":
        assert abs(shown_width / width - shown_height / height) < 2 / min(width, height) + 2 / min(comparison.size)
        fills = shown_height >= min(height, 1080) - 1 or shown_width >= min(width, 1920) - 1
        assert fills, "no smaller than it must be"


@pytest.mark.parametrize("kind", KINDS)
def test_labels_can_be_read_on_any_background(kind):
    for value in (0, 128, 255):
        frame = flat(480, 640, value)
        shown = Comparison(kind, 640, 480).picture(frame, frame, 1.0)[5:60, 5:110].astype(int)
        letters, plate = shown > 240, shown < 100
        assert letters.any() and plate.any(), f"white letters on a dark plate, on {value}"


def test_inputs_stay_as_they_are_and_results_repeat():
    original, edited = np.random.default_rng(1).integers(0, 256, (2, 100, 140, 3), dtype=np.uint8)
    before = original.copy(), edited.copy()
    for kind in KINDS:
        first = Comparison(kind, 140, 100).picture(original, edited, 1.23)
        assert (first == Comparison(kind, 140, 100).picture(original, edited, 1.23)).all()
        assert first.flags.writeable and not np.shares_memory(first, original)
    assert (original == before[0]).all() and (edited == before[1]).all()


def test_wrong_frames_and_kinds_are_refused():
    comparison = Comparison("side", 40, 30)
    with pytest.raises(ValueError, match=r"\[30, 40, 3\]"):
        comparison.picture(flat(30, 40, 0), flat(30, 42, 0), 0)
    with pytest.raises(ValueError, match="float64"):
        comparison.picture(flat(30, 40, 0).astype(float), flat(30, 40, 0), 0)
    with pytest.raises(ValueError, match="wipe"):
        Comparison("wipe", 40, 30)


@pytest.mark.parametrize("kind", KINDS)
def test_portrait_clip_can_be_encoded(kind, shared, tmp_path):
    frames = list(read_frames(shared("media/faces/liveportrait_source_s29.mp4"), stop=3))
    height, width, _ = frames[0].image.shape
    assert height > width
    comparison = Comparison(kind, width, height)
    with VideoWriter(tmp_path / "compared.mp4", fps=25) as writer:
        for frame in frames:
            writer.write(comparison.picture(frame.image, 255 - frame.image, frame.time))
    (first, *_rest) = read_frames(tmp_path / "compared.mp4")
    assert first.image.shape[:2] == comparison.size
