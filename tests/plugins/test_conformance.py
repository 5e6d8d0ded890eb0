"""Each check of the kit passes a good task and names the fault of a bad one."""

import os
from types import new_class
from typing import ClassVar, TypeVar

import numpy as np
import pytest
from pydantic import Field

from toolkit.errors import ContractError
from toolkit.task import AttributeTask, Masker, Measure, Pair, TaskOptions, as_masker
from toolkit.testing import assert_conforms, check_task, conformance_checks, synthetic_clip


class Dot(AttributeTask):
    """A dot on the nose; what a subclass changes is its fault."""

    name = "dot"
    description = "A dot on the nose."
    api_version = 1
    prompt = "a face"
    fault: ClassVar[str] = ""

    def masker(self):
        return self.masks

    def masks(self, clip):
        masks = np.zeros(clip.frames.shape[:3], bool)
        for t in np.flatnonzero(clip.present):
            x, y = clip.landmarks[t, 1, :2].astype(int)
            masks[t, y - 3 : y + 3, x - 3 : x + 3] = True
        return masks

    def pair_generator(self):
        return self.pairs

    def pairs(self, clip, rng, tools):
        colour = rng.integers(0, 255, 3)
        for t, mask in enumerate(self.masks(clip)):
            if mask.any():
                drawn = clip.frames[t].copy()
                drawn[mask] = colour
                yield Pair(clip.frames[t], drawn, mask, t)


class SoftMask(Dot):
    def masker(self):
        return lambda clip: self.masks(clip).astype(np.float64)


class DotMasker(Masker):
    """A `Masker` with opaque parts: the dot itself. Subclasses change one thing, and that is their fault."""

    def __init__(self, task):
        self.task = task

    def __call__(self, clip):
        return self.task.masks(clip)

    def opaque(self, clip):
        return self.task.masks(clip)


class OpaqueDot(Dot):
    """A task whose masker is a `Masker` and not a function."""

    kind: ClassVar[type[Masker]] = DotMasker

    def masker(self):
        return self.kind(self)


class OpaqueEverywhere(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            return np.ones(clip.frames.shape[:3], bool)


class OpaqueInColour(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            return np.ones(clip.frames.shape, bool)


class OpaqueSoft(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            return super().opaque(clip).astype(np.float32)


class OpaqueByChance(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            return super().opaque(clip) & (np.random.default_rng().random(clip.frames.shape[:3]) < 0.5)


class OpaqueInTheNextFrame(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            return np.roll(super().opaque(clip), 1, axis=0)


class OpaqueInTheOtherFace(OpaqueDot):
    class kind(DotMasker):
        def opaque(self, clip):
            parts = super().opaque(clip)
            return parts | parts[..., ::-1]


class FunctionWithOpaque(Dot):
    """Its masker is a function that was given an attribute `opaque`, and no `Masker`."""

    def masker(self):
        def masks(clip):
            return self.masks(clip)

        masks.opaque = self.masks
        return masks


class MaskAnywhere(Dot):
    def masker(self):
        return lambda clip: np.ones(clip.frames.shape[:3], bool)


class Leaks(Dot):
    def pairs(self, clip, rng, tools):
        for pair in super().pairs(clip, rng, tools):
            pair.conditioning_image[0, 0] ^= 255
            yield pair


class GlobalSeed(Dot):
    def pairs(self, clip, rng, tools):
        return super().pairs(clip, np.random.default_rng(np.random.randint(2**31)), tools)


class Unseeded(Dot):
    def pairs(self, clip, rng, tools):
        return super().pairs(clip, np.random.default_rng(), tools)


class WritesInput(Dot):
    def pairs(self, clip, rng, tools):
        clip.landmarks[:] += 1
        return super().pairs(clip, rng, tools)


class Always(Dot):
    def pairs(self, clip, rng, tools):
        for t, frame in enumerate(clip.frames):
            yield Pair(frame, frame, np.zeros(frame.shape[:2], bool), t)


class Nothing(Dot):
    def pairs(self, clip, rng, tools):
        return []


class Everywhere(Dot):
    def pairs(self, clip, rng, tools):
        for t in np.flatnonzero(clip.present):
            yield Pair(clip.frames[t], 255 - clip.frames[t], np.ones(clip.frames.shape[1:3], bool), int(t))


class Twice(Dot):
    def pairs(self, clip, rng, tools):
        for pair in super().pairs(clip, rng, tools):
            yield from (pair, pair)


class OtherImage(Dot):
    def pairs(self, clip, rng, tools):
        for pair in super().pairs(clip, rng, tools):
            yield Pair(pair.conditioning_image, pair.conditioning_image, pair.mask, pair.index)


class ListInInfo(Dot):
    def pairs(self, clip, rng, tools):
        for pair in super().pairs(clip, rng, tools):
            yield Pair(pair.image, pair.conditioning_image, pair.mask, pair.index, {"points": [1, 2]})


class OpensAFile(Dot):
    def __init__(self, options=None):
        super().__init__(options)
        with open(os.devnull) as file:
            file.read()


class LoadsAHeavyLibrary(Dot):
    def __init__(self, options=None):
        super().__init__(options)
        import cv2

        cv2.getVersionString()


class Measured(Dot):
    """Measures how much an edit changed the mask; what a subclass changes is its fault."""

    def metrics(self):
        return {"change": Measure(self.change, label="change", description="levels by which the mask was changed")}

    def change(self, original, edited):
        difference = np.abs(original.frames.astype(float) - edited.frames).mean(axis=(1, 2, 3))
        return np.where(original.present, difference, np.nan)


class MetricOfOneNumber(Measured):
    def change(self, original, edited):
        return super().change(original, edited).mean()


class MetricOfWholeNumbers(Measured):
    def change(self, original, edited):
        return np.zeros(len(original), int)


class MetricByChance(Measured):
    def change(self, original, edited):
        return super().change(original, edited) + np.random.default_rng().random()


class MetricWrites(Measured):
    def change(self, original, edited):
        edited.frames[:] = 0
        return super().change(original, edited)


class MetricDivides(Measured):
    def change(self, original, edited):
        with np.errstate(divide="ignore"):
            return 1 / super().change(original, edited)


class MetricNeedsAFace(Measured):
    def change(self, original, edited):
        return super().change(original, edited) + original.landmarks[original.present][0, 0, 0]


class MetricWithATakenName(Measured):
    def metrics(self):
        return {"warp_error": super().metrics()["change"]}


class MetricIsAFunction(Measured):
    def metrics(self):
        return {"change": self.change}


class MetricWithoutADirection(Measured):
    def metrics(self):
        return {"change": Measure(self.change, label="change", description="levels", better="more")}


class Crashes(Dot):
    def masker(self):
        raise RuntimeError("no model")


def failures(task):
    return {result.name: result.detail for result in check_task(task) if not result.ok}


def test_a_good_task_passes():
    assert failures(Dot) == {}
    assert failures(Measured) == {}
    assert failures(OpaqueDot) == {}
    assert_conforms(Dot())


@pytest.mark.parametrize(
    ("task", "check", "word"),
    [
        (SoftMask, "masker", "float64"),
        (MaskAnywhere, "masker without a face", "empty"),
        (OpaqueEverywhere, "masker without a face", "opaque"),
        (OpaqueInColour, "opaque parts", "opaque parts must be"),
        (OpaqueSoft, "opaque parts", "bool"),
        (OpaqueByChance, "opaque parts", "same"),
        (OpaqueInTheNextFrame, "face in some frames", "opaque"),
        (OpaqueInTheOtherFace, "many faces", "opaque"),
        (FunctionWithOpaque, "masker", "derive it from toolkit.task.Masker"),
        (Leaks, "nothing outside the mask", "outside the mask"),
        (GlobalSeed, "no global randomness", "same"),
        (Unseeded, "determinism", "same"),
        (WritesInput, "input unchanged", "changed"),
        (Always, "no face", "no pairs"),
        (Always, "face in some frames", "without the face"),
        (Nothing, "pairs", "at least one"),
        (Everywhere, "many faces", "other face"),
        (Twice, "pairs", "two pairs"),
        (Crashes, "masker", "no model"),
        (OtherImage, "pairs", "unchanged"),
        (ListInInfo, "pairs", "info"),
        (OpensAFile, "import and building", "opens"),
        (LoadsAHeavyLibrary, "import and building", "cv2"),
        (MetricOfOneNumber, "metrics", "one for each frame"),
        (MetricOfWholeNumbers, "metrics", "found int64"),
        (MetricByChance, "metrics", "must be the same"),
        (MetricWrites, "metrics", "frames were changed"),
        (MetricDivides, "metrics", "finite or NaN"),
        (MetricNeedsAFace, "metrics", "IndexError"),
        (MetricWithATakenName, "metrics", "one of the toolkit's own"),
        (MetricIsAFunction, "metrics", "expected a Measure"),
        (MetricWithoutADirection, "metrics", "higher or lower"),
    ],
)
def test_a_fault_is_found_and_named(task, check, word):
    found = failures(task)
    assert check in found and word in found[check], found
    with pytest.raises(AssertionError, match=check):
        assert_conforms(task)


def test_checks_have_names_for_pytest():
    names = [check.name for check in conformance_checks()]
    assert len(set(names)) == len(names) > 10


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"masker": None}, "masker"),
        ({"name": "Bad Name"}, "name"),
        ({"api_version": 0}, "api_version"),
        ({"description": ""}, "description"),
        ({"prompt": 3}, "prompt"),
        ({"extra": 3}, "extra"),
        ({"Options": dict}, "Options"),
        ({"pair_generator": lambda self, clip: None}, "pair_generator"),
        ({"Options": type("O", (TaskOptions,), {"__annotations__": {"size": int}, "size": 3})}, "size"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused_when_defined(body, word):
    with pytest.raises(ContractError, match=word):
        type("Broken", (Dot,), body)


def test_a_class_without_its_methods_is_refused_when_defined():
    body = {"name": "x", "description": "x", "api_version": 1, "prompt": "x", "masker": Dot.masker}
    with pytest.raises(ContractError, match="pair_generator"):
        type("Half", (AttributeTask,), body)


def test_options_of_another_task_are_refused():
    class Own(TaskOptions):
        pass

    class WithOptions(Dot):
        Options = Own

    with pytest.raises(ContractError, match="Own"):
        WithOptions(TaskOptions())


def test_a_plain_function_becomes_a_masker_without_opaque_parts():
    clip = synthetic_clip()
    masker = as_masker(Dot().masks)
    assert isinstance(masker, Masker) and as_masker(masker) is masker
    assert np.array_equal(masker(clip), Dot().masks(clip))
    parts = masker.opaque(clip)
    assert parts.shape == clip.frames.shape[:3] and parts.dtype == bool and not parts.any()
    for wrong in (None, np.zeros(3)):
        with pytest.raises(ContractError, match="must return a Masker or a function"):
            as_masker(wrong)


class Sized(TaskOptions):
    size: int = Field(3, description="Side of the dot in pixels.")


class SizedMore(Sized):
    pass


def definition(base, **body):
    facts = {"name": "dot", "description": "A dot.", "api_version": 1, "prompt": "a face"}
    methods = {"masker": Dot.masker, "pair_generator": Dot.pair_generator}
    return new_class("Sized", (base,), {}, lambda names: names.update(facts | methods | body))


def test_brackets_set_the_class_of_the_options():
    task = definition(AttributeTask[Sized])
    assert task.Options is Sized and task().options == Sized()
    assert definition(task).Options is Sized
    assert definition(AttributeTask[Sized], Options=SizedMore).Options is SizedMore
    assert definition(AttributeTask, Options=Sized)().options == Sized()
    assert definition(AttributeTask)().options == TaskOptions()


def test_options_unlike_those_in_the_brackets_are_refused():
    with pytest.raises(ContractError, match="`Options` must be Sized, as in the brackets of its base, found Own"):
        definition(AttributeTask[Sized], Options=type("Own", (TaskOptions,), {}))


def test_brackets_reach_through_a_generic_base():
    options = TypeVar("options", bound=TaskOptions)

    class Base(AttributeTask[options], abstract=True):
        pass

    assert definition(Base[SizedMore]).Options is SizedMore
