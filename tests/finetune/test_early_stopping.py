"""Early stopping, on curves whose knee is known."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from toolkit.errors import ToolkitError
from toolkit.finetune.curve import render_curve
from toolkit.finetune.early_stopping import EarlyStopping
from toolkit.finetune.grid import COLUMNS, render_grid


def follow(curve, patience=3, min_delta=0.005, weight=1.0):
    stopping = EarlyStopping(patience, min_delta, weight)
    for step, (removal, artefact) in enumerate(curve):
        stopping.update(step, removal, artefact)
        if stopping.stop:
            break
    return stopping


def prior(steps, noise=0.0):
    """Curves that learn removal first and artefacts later, as in Deep Video Prior."""
    rng = np.random.default_rng(0)
    times = np.arange(steps)
    removal, artefact = 1 - np.exp(-times / 4), 0.6 / (1 + np.exp(-(times - 25) / 4))
    return list(zip(removal + rng.normal(0, noise, steps), artefact + rng.normal(0, noise, steps)))


def test_stops_between_removal_and_artefacts():
    stopping = follow(prior(60))
    curve = prior(60)
    best = max(range(60), key=lambda step: curve[step][0] - curve[step][1])
    assert abs(stopping.best_step - best) <= 2
    assert stopping.history[-1][0] == stopping.best_step + 3
    # At the knee the marginal gain is the marginal cost.
    slopes = np.diff([r for r, _ in curve])[best] / np.diff([a for _, a in curve])[best]
    assert 0.4 < slopes < 2


def test_weight_moves_the_knee():
    careful, keen = follow(prior(60), weight=8.0), follow(prior(60), weight=0.3)
    assert careful.best_step < follow(prior(60)).best_step < keen.best_step


def test_noise_does_not_end_it_early():
    assert follow(prior(60, noise=0.01), patience=5, min_delta=0.01).best_step >= 8


def test_plateau_keeps_the_earliest():
    stopping = follow([(0.0, 0.0), (0.9, 0.1), (0.902, 0.1), (0.903, 0.1), (0.904, 0.1)])
    assert stopping.best_step == 1
    assert stopping.stop
    assert "3 validations after step 1" in stopping.reason
    assert "removal changed by +0.004" in stopping.reason


def test_goes_on_while_it_gains():
    stopping = follow([(0.01 * k, 0.0) for k in range(30)])
    assert not stopping.stop
    assert stopping.best_step == 29


@pytest.mark.parametrize("values", [(math.nan, 0.1), (0.1, math.inf)])
def test_values_that_decide_nothing_are_an_error(values):
    with pytest.raises(ToolkitError, match="gave removal"):
        EarlyStopping(3, 0.0, 1.0).update(250, *values)


@given(
    st.lists(st.tuples(st.floats(-2, 1), st.floats(0, 3)), min_size=1, max_size=30),
    st.integers(1, 5),
    st.floats(0, 0.1),
    st.floats(0, 3),
    st.data(),
)
def test_resumed_one_decides_the_same(curve, patience, min_delta, weight, data):
    whole = EarlyStopping(patience, min_delta, weight)
    parted = EarlyStopping(patience, min_delta, weight)
    cut = data.draw(st.integers(0, len(curve)))
    for step, values in enumerate(curve):
        if step == cut:
            parted = EarlyStopping.from_state(json.loads(json.dumps(parted.state())))
        assert whole.update(step, *values) == parted.update(step, *values)
        assert (whole.stop, whole.best_step, whole.reason) == (parted.stop, parted.best_step, parted.reason)
    scores = [whole.score(*values) for values in curve]
    assert max(scores) - scores[whole.best_step] <= min_delta + 1e-12
    assert all(score < scores[whole.best_step] for score in scores[: whole.best_step])


def test_curve_is_a_picture_and_always_the_same():
    history = [(250 * step, *values) for step, values in enumerate(prior(20))]
    drawn = render_curve(history, 2500, "5 validations after step 2500 had none that was better", 1.0)
    assert drawn == render_curve(history, 2500, "5 validations after step 2500 had none that was better", 1.0)
    picture = Image.open(io.BytesIO(drawn))
    assert picture.width > 800
    assert len(set(picture.convert("RGB").getdata())) > 50
    assert "Software" not in picture.info
    assert drawn != render_curve(history, 2250, "another", 1.0)
    assert render_curve(history[:1], 0, "only one", 1.0)


def test_curve_shows_the_parts_of_the_artefact():
    history = [(250 * step, *values) for step, values in enumerate(prior(20))]
    plain = render_curve(history, 2500, "reason", 1.0)
    parts = {step: {"outside": 0.4, "blur": 0.2, "agreement": step / 9000} for step, _, _ in history}
    shown = render_curve(history, 2500, "reason", 1.0, parts)
    assert shown != plain
    assert shown != render_curve(history, 2500, "reason", 1.0, {step: {**parts[step], "blur": 0.3} for step in parts})
    perfect = {step: {"outside": 0.4} for step, _, _ in history}  # the artefact itself
    assert render_curve(history, 2500, "reason", 1.0, perfect) == plain


def test_grid_shows_the_pictures_and_their_change():
    source, target = (np.full((64, 64, 3), value, np.uint8) for value in (100, 200))
    output = source.copy()
    output[10:30, 10:30] = 120
    sheet = render_grid([(source, output, target), (source, source, target)], ["one", "two"], "step 7", tile=64)
    assert sheet.dtype == np.uint8
    rows = [y for y in range(sheet.shape[0] - 64) if (sheet[y : y + 64, 6:70] == source).all()]
    assert len(rows) == 2
    tiles = [sheet[rows[0] : rows[0] + 64, 6 + 70 * column : 70 + 70 * column] for column in range(len(COLUMNS))]
    assert (tiles[1] == output).all()
    assert (tiles[2] == target).all()
    assert (tiles[3][10:30, 10:30] == 80).all()
    assert not tiles[3][40:].any()
