"""Check that a task keeps the contract. Built-in and third-party tasks pass the same checks."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError

from toolkit.errors import ToolkitError
from toolkit.evaluate.task_measures import checked_values, measures_of
from toolkit.faces.types import FaceAnalyser
from toolkit.synthesis.validator import changed_outside, check_pair, pair_problem
from toolkit.task import (
    API_VERSION,
    AttributeTask,
    FaceClip,
    Inpainted,
    Inpainter,
    Masker,
    Pair,
    as_masker,
)
from toolkit.testing.building import building_problems
from toolkit.testing.clips import no_face_clip, synthetic_clip, two_face_clips


@dataclass(frozen=True)
class CheckResult:
    """Name of a check, whether it passed, and if not, what was expected and found."""

    name: str
    ok: bool
    detail: str = ""


class Subject:
    """A task under test. Its masker, its pair generator and its pairs are built once and kept."""

    def __init__(self, task: AttributeTask[Any]):
        self.task = task

    @cached_property
    def clip(self) -> FaceClip:
        """The task's example, or a synthetic clip."""
        example = self.task.example()
        return _read_only(synthetic_clip() if example is None else example)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Pairs of `clip` with seed 0."""
        return self.generate(self.clip)

    def generate(self, clip: FaceClip, seed: int = 0) -> list[Pair]:
        """Pairs of a clip."""
        return list(self.pair_generator(clip, np.random.default_rng(seed), tools()))

    @cached_property
    def pair_generator(self):
        return self.task.pair_generator()

    @cached_property
    def masker(self) -> Masker:
        return as_masker(self.task.masker())


@dataclass(frozen=True)
class Check:
    """One rule of the contract. `run` raises AssertionError that says what was expected and found."""

    name: str
    run: Callable[[Subject], None]

    def __call__(self, subject: Subject) -> CheckResult:
        try:
            self.run(subject)
        except AssertionError as error:
            return CheckResult(self.name, False, str(error))
        except ToolkitError as error:
            return CheckResult(self.name, False, f"raised {type(error).__name__}: {error}")
        except Exception as error:
            return CheckResult(self.name, False, f"raised {type(error).__name__}: {error}; {_where(error)}")
        return CheckResult(self.name, True)


class _Tools:
    """`Tools` for tests: real analysers, and an inpainter that needs no weights."""

    def __init__(self) -> None:
        self._analysers: dict[str, FaceAnalyser] = {}

    def analyser(self, name: str | None = None) -> FaceAnalyser:
        from toolkit.faces import create_analyser

        name = name or "mediapipe"
        if name not in self._analysers:
            self._analysers[name] = create_analyser(name)
        return self._analysers[name]

    def inpainter(self) -> Inpainter:
        return telea_inpainter

    def leave_out(self, reason: str, count: int = 1) -> None:
        assert isinstance(reason, str) and reason, f"a reason must be a non-empty string, found {reason!r}"


def telea_inpainter(
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    prompt: str,
    negative_prompt: str = "",
    seed: int = 0,
    keep: np.ndarray | None = None,
) -> Inpainted:
    """An `Inpainter` for tests that uses OpenCV frame by frame and needs no model (Telea 2004)."""
    import cv2

    masks = masks if keep is None else masks & ~keep
    filled = np.stack(
        [cv2.inpaint(frame, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA) for frame, mask in zip(frames, masks)]
    )
    return Inpainted(filled, masks.copy(), np.zeros(len(frames), np.float32))


def tools() -> _Tools:
    """The `tools` that the checks pass to pair generators, for use in a plugin's own tests."""
    return _Tools()


def check_task(task: type[AttributeTask[Any]] | AttributeTask[Any]) -> list[CheckResult]:
    """Run every check on a task, or on a task class with its default options."""
    if isinstance(task, type):
        if not issubclass(task, AttributeTask):
            return [CheckResult("class", False, f"expected a subclass of AttributeTask, found {task.__name__}")]
        name = task.__name__
        try:
            task = task()
        except Exception as error:
            return [CheckResult("class", False, f"{name}() raised {type(error).__name__}: {error}")]
    subject = Subject(task)
    return [check(subject) for check in conformance_checks()]


def assert_conforms(task: type[AttributeTask[Any]] | AttributeTask[Any]) -> None:
    """Raise AssertionError with every failed check, for a plugin's tests."""
    failed = [f"{result.name}: {result.detail}" for result in check_task(task) if not result.ok]
    assert not failed, "the task breaks the contract:\n  " + "\n  ".join(failed)


def conformance_checks() -> list[Check]:
    """All checks in order. Each takes a `Subject`; use them with pytest's parametrize."""
    return [Check(name, function) for name, function in _CHECKS.items()]


def _class(subject: Subject) -> None:
    task = subject.task
    assert task.api_version <= API_VERSION, f"written for contract {task.api_version}; this toolkit knows {API_VERSION}"
    type(task)(task.Options())


def _options(subject: Subject) -> None:
    options, model = subject.task.options, subject.task.Options
    back = model.model_validate_json(options.model_dump_json())
    assert back == options, f"options must survive JSON; {options!r} came back as {back!r}"
    try:
        model(**{"no_such_option": 1})
    except ValidationError:
        return
    raise AssertionError("unknown options must raise an error; `no_such_option` was accepted")


def _building(subject: Subject) -> None:
    problems = building_problems(subject.task)
    assert not problems, "; ".join(problems)


def _pickling(subject: Subject) -> None:
    try:
        back = pickle.loads(pickle.dumps(subject.task))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if "<locals>" in type(subject.task).__qualname__:
            return
        raise AssertionError(f"the task must pickle, because worker processes receive it: {error}") from error
    assert back.options == subject.task.options, "options must survive pickling"


def _masker(subject: Subject) -> None:
    _repeatable(subject.masker, _check_masks, subject.clip, "masks")


def _opaque(subject: Subject) -> None:
    _repeatable(subject.masker.opaque, _check_opaque, subject.clip, "opaque parts")


def _hides_eyes(subject: Subject) -> None:
    _repeatable(subject.masker.hides_eyes, _check_hides_eyes, subject.clip, "frames with hidden eyes")


def _repeatable(function: Callable[[FaceClip], Any], check: Callable[..., None], clip: FaceClip, what: str) -> None:
    found = function(clip)
    check(found, clip)
    assert np.array_equal(found, function(clip)), f"the masker must return the same {what} for the same clip"


def _masker_without_face(subject: Subject) -> None:
    clip = _read_only(no_face_clip())
    masks = subject.masker(clip)
    _check_masks(masks, clip)
    assert not masks.any(), f"without a face masks must be empty, found {int((masks > 0).sum())} pixels"
    parts = subject.masker.opaque(clip)
    _check_opaque(parts, clip)
    assert not parts.any(), f"without a face the opaque parts must be empty, found {int(parts.sum())} pixels"
    frames = subject.masker.hides_eyes(clip)
    _check_hides_eyes(frames, clip)
    assert not frames.any(), f"without a face no eyes are hidden, found {int(frames.sum())} frames"


def _check_masks(masks, clip: FaceClip) -> None:
    shape = clip.frames.shape[:3]
    assert isinstance(masks, np.ndarray), f"masks must be an array, found {type(masks).__name__}"
    assert masks.shape == shape, f"masks must be {shape}, found {masks.shape}"
    assert masks.dtype in (np.bool_, np.float32), f"masks must be bool or float32, found {masks.dtype}"
    if masks.dtype == np.float32:
        assert np.isfinite(masks).all() and masks.min() >= 0 and masks.max() <= 1, "float masks must lie in 0..1"


def _check_opaque(parts, clip: FaceClip) -> None:
    # Opaque parts may lie outside the masks: the masks of glasses have holes at the eyes, and rims may cross an eye.
    _check_bools(parts, clip.frames.shape[:3], "opaque parts must be")


def _check_hides_eyes(frames, clip: FaceClip) -> None:
    _check_bools(frames, (len(clip),), "hides_eyes must return")


def _check_bools(values, shape: tuple[int, ...], what: str) -> None:
    assert isinstance(values, np.ndarray), f"{what} an array, found {type(values).__name__}"
    assert values.shape == shape, f"{what} {shape}, found {values.shape}"
    assert values.dtype == np.bool_, f"{what} bool, found {values.dtype}"


def _pairs(subject: Subject) -> None:
    clip = subject.clip
    assert subject.pairs, "a clip with a face must yield at least one pair, found none"
    seen = set()
    for pair in subject.pairs:
        assert isinstance(pair, Pair), f"expected Pair, found {type(pair).__name__}"
        problem = pair_problem(pair, clip)
        assert problem is None, f"{problem} (pair of frame {pair.index})"
        assert pair.index not in seen, f"two pairs for frame {pair.index}"
        seen.add(pair.index)
        plain = all(isinstance(value, (str, int, float, np.integer, np.floating)) for value in pair.info.values())
        assert plain, f"info must hold strings and numbers, found {dict(pair.info)}"
        check_pair(pair, clip, subject.task.name, subject.task.limits())
    assert any(pair.mask.any() for pair in subject.pairs), "no pair shows the attribute: every mask is empty"


def _outside(subject: Subject) -> None:
    for pair in subject.pairs:
        changed = changed_outside(pair.image, pair.conditioning_image, pair.mask)
        assert not changed, f"{changed} pixels outside the mask differ in frame {pair.index}"


def _determinism(subject: Subject) -> None:
    again = subject.generate(subject.clip)
    assert [pair.index for pair in again] == [pair.index for pair in subject.pairs], (
        "the same seed must yield the same frames"
    )
    for first, second in zip(subject.pairs, again):
        for name in ("image", "conditioning_image", "mask"):
            same = np.array_equal(getattr(first, name), getattr(second, name))
            assert same, f"the same seed must yield the same {name}; frame {first.index} differs"
        assert dict(first.info) == dict(second.info), f"the same seed must yield the same info; {first.index} differs"


def _global_randomness(subject: Subject) -> None:
    import random

    states = random.getstate(), np.random.get_state()
    try:
        random.seed(12345)
        np.random.seed(54321)
        _determinism(subject)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _input(subject: Subject) -> None:
    clip = synthetic_clip(seed=1)
    before = copy.deepcopy((clip.frames, clip.landmarks, clip.times))
    subject.generate(clip)
    subject.masker(clip)
    subject.masker.opaque(clip)
    for name, value in zip(("frames", "landmarks", "times"), before):
        assert np.array_equal(getattr(clip, name), value, equal_nan=True), f"the clip's {name} were changed"


def _no_face(subject: Subject) -> None:
    found = subject.generate(_read_only(no_face_clip()))
    assert not found, f"a clip without a face must yield no pairs, found {len(found)}"


def _face_in_some(subject: Subject) -> None:
    landmarks = subject.clip.landmarks.copy()
    landmarks[1::2] = np.nan
    clip = replace(subject.clip, landmarks=landmarks)
    wrong = [pair.index for pair in subject.generate(clip) if not clip.present[pair.index]]
    assert not wrong, f"frames without the face must yield no pairs, found {wrong}"
    empty = ~subject.masker(clip)[1::2].any()
    assert empty, "masks of frames without the face must be empty"
    assert not subject.masker.opaque(clip)[1::2].any(), "opaque parts of frames without the face must be empty"


def _many_faces(subject: Subject) -> None:
    for number, clip in enumerate(two_face_clips()):
        clip = _read_only(clip)
        middle = clip.frames.shape[2] // 2
        other = slice(middle, None) if np.nanmean(clip.landmarks[..., 0]) < middle else slice(0, middle)
        masks = subject.masker(clip)
        _check_masks(masks, clip)
        assert not masks[..., other].any(), f"the masks of face {number} cover the other face"
        parts = subject.masker.opaque(clip)
        assert not parts[..., other].any(), f"the opaque parts of face {number} cover the other face"
        for pair in subject.generate(clip):
            changed = (pair.image != pair.conditioning_image).any(axis=-1)
            assert not changed[:, other].any(), f"the clip of face {number} changed the other face"


def _one_frame(subject: Subject) -> None:
    clip = _read_only(synthetic_clip(frames=1))
    _check_masks(subject.masker(clip), clip)
    assert all(pair.index == 0 for pair in subject.generate(clip)), "pairs of a one-frame clip must have index 0"


def _metrics(subject: Subject) -> None:
    task, clip = subject.task, subject.clip
    edited = replace(clip, frames=np.clip(clip.frames.astype(np.int16) + 9, 0, 255).astype(np.uint8))
    for name, measure in measures_of(task).items():
        pair = copy.deepcopy((clip, edited))
        values = checked_values(measure.metric(*pair), len(clip), name, task.name)
        for role, before, after in zip(("original", "edited"), (clip, edited), pair):
            for part in ("frames", "landmarks", "times"):
                same = np.array_equal(getattr(before, part), getattr(after, part), equal_nan=part == "landmarks")
                assert same, f"{name}: the {role} clip's {part} were changed"
        again = checked_values(measure.metric(clip, edited), len(clip), name, task.name)
        assert np.array_equal(values, again, equal_nan=True), f"{name} must be the same for the same clips"
        still = checked_values(measure.metric(clip, clip), len(clip), name, task.name)
        assert not np.isinf(still).any(), f"{name} of an unedited clip must be finite or NaN, found {still}"
        empty = _read_only(no_face_clip())
        checked_values(measure.metric(empty, empty), len(empty), name, task.name)


def _read_only(clip: FaceClip) -> FaceClip:
    for array in (clip.frames, clip.landmarks, clip.times):
        array.flags.writeable = False
    return clip


def _where(error: BaseException) -> str:
    """File and line of the innermost frame, for the plugin's author."""
    frames: Iterable = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else ()
    lines = [f"{frame.filename}:{frame.lineno}" for frame in frames if not frame.filename.startswith("<")]
    return f"at {lines[-1]}" if lines else ""


_CHECKS: dict[str, Callable[[Subject], None]] = {
    "class": _class,
    "options": _options,
    "import and building": _building,
    "pickling": _pickling,
    "masker": _masker,
    "opaque parts": _opaque,
    "hidden eyes": _hides_eyes,
    "masker without a face": _masker_without_face,
    "pairs": _pairs,
    "nothing outside the mask": _outside,
    "determinism": _determinism,
    "no global randomness": _global_randomness,
    "input unchanged": _input,
    "no face": _no_face,
    "face in some frames": _face_in_some,
    "many faces": _many_faces,
    "one frame": _one_frame,
    "metrics": _metrics,
}
