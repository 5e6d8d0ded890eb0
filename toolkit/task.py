"""Define the contract between the toolkit and a task plugin.

A plugin subclasses `AttributeTask` and declares the class in the entry-point group ``toolkit.tasks``. Every command
then accepts the task by name. `toolkit.testing` checks the values that the methods return.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, Protocol, TypeVar, cast, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict

from toolkit.errors import ContractError
from toolkit.faces.topology import Topology
from toolkit.faces.types import FaceAnalyser

# numpy and pydantic are the only heavy imports allowed here: `toolkit tasks list` imports this module.

API_VERSION = 1
"""Version of this contract. The registry refuses plugins that were written for a later version."""


class TaskOptions(BaseModel):
    """Base class of a task's options. Options are frozen, and unknown keys raise an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class FaceClip:
    """Consecutive frames of one face track, cropped around the face.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``, RGB. Read only: a task never writes into it.
        landmarks: float32 ``[T, N, 3]`` in pixels of `frames`; all NaN in frames without the face.
        topology: names the N landmarks and the regions that they outline.
        times: float64 ``[T]``, presentation times in the source, in seconds.
        start_frame: index of the first frame in the source.
        box: float32 ``[4]``, x0 y0 x1 y1 of the crop in pixels of the source frame.
        source: readable name of the source; `source_digest` identifies it.
        source_digest: sha256 of the source file in hex, or a name if the clip does not come from a file.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    topology: Topology
    times: np.ndarray
    start_frame: int = 0
    box: np.ndarray = field(default_factory=lambda: np.zeros(4, np.float32))
    source: str = "memory"
    source_digest: str = "memory"

    def __post_init__(self) -> None:
        t, n = len(self.frames), self.topology.count
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 [T, H, W, 3], not {self.frames.dtype} {self.frames.shape}")
        if self.landmarks.shape != (t, n, 3) or self.landmarks.dtype != np.float32:
            raise ValueError(
                f"landmarks must be float32 [{t}, {n}, 3], not {self.landmarks.dtype} {self.landmarks.shape}"
            )
        if len(self.times) != t:
            raise ValueError(f"times must have one entry per frame, {t}, not {len(self.times)}")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def present(self) -> np.ndarray:
        """bool ``[T]``, whether the face was found in each frame."""
        return np.asarray(np.isfinite(self.landmarks).all(axis=(1, 2)))

    def select(self, indices: np.ndarray) -> FaceClip:
        """A clip of the frames `indices`, int ``[K]``; the clip itself if there are as many indices as frames."""
        if len(indices) == len(self):
            return self
        return replace(self, frames=self.frames[indices], landmarks=self.landmarks[indices], times=self.times[indices])

    @property
    def scale(self) -> float:
        """Pixels of the crop per pixel of the source; above 1 if the crop was enlarged."""
        width = float(self.box[2] - self.box[0])
        return self.frames.shape[2] / width if width > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Pair:
    """One training sample, in the terms of diffusers.

    One of the two pictures is the clip's own frame, unchanged.

    Attributes:
        image: uint8 ``[H, W, 3]``, without the attribute.
        conditioning_image: uint8 ``[H, W, 3]``, with the attribute.
        mask: bool ``[H, W]``; the two pictures are equal outside it.
        index: index of the frame in its clip.
        info: numbers and short texts that are stored with the sample in the dataset.
    """

    image: np.ndarray
    conditioning_image: np.ndarray
    mask: np.ndarray
    index: int
    info: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inpainted:
    """A clip whose masked parts were inpainted.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``, equal to the input outside `mask`.
        mask: bool ``[T, H, W]``, the requested masks widened by a feathered edge, without the pixels to keep.
        change_outside: float32 ``[T]``, mean absolute change by the model outside `mask`, in 0..255, before the
            original pixels were restored there. A high value means that the model reproduces such pictures badly.
    """

    frames: np.ndarray
    mask: np.ndarray
    change_outside: np.ndarray


class Inpainter(Protocol):
    """Inpaints the masked parts of a clip, consistently over its frames."""

    def __call__(
        self,
        frames: np.ndarray,
        masks: np.ndarray,
        *,
        prompt: str,
        negative_prompt: str = "",
        seed: int = 0,
        keep: np.ndarray | None = None,
    ) -> Inpainted:
        """Inpaint a clip. The same input and seed give the same result.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB; left unchanged.
            masks: bool ``[T, H, W]``, True where pixels are replaced. Frames with an empty mask stay as they are.
            prompt: describes the inpainted face.
            negative_prompt: describes what the face must not show.
            seed: seed of the noise.
            keep: bool ``[T, H, W]``: pixels that stay as they are, such as eyes. Masks widen by a feathered edge, which
                would close small holes in them; around these pixels the edge lies inside the mask. None for none.
        """
        ...


class Tools(Protocol):
    """Models and services that the core offers to a pair generator."""

    def analyser(self, name: str | None = None) -> FaceAnalyser:
        """The face analyser called `name`, by default the run's; built once and reused."""
        ...

    def inpainter(self) -> Inpainter:
        """The run's inpainting model (`--backbone`), built on first use and reused."""
        ...

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Report why `count` frames or clips yield no pair. The build prints the totals at the end."""
        ...


class Masker(ABC):
    """Finds the attribute in a clip.

    A masker may hold models. It must return the same masks for the same clip and leave the clip unchanged.
    """

    @abstractmethod
    def __call__(self, clip: FaceClip) -> np.ndarray:
        """Masks of where the attribute is or may be: bool ``[T, H, W]``, or float32 in 0..1.

        Frames without the face have empty masks.
        """

    def opaque(self, clip: FaceClip) -> np.ndarray:
        """Parts of the attribute that hide everything behind them, such as rims: bool ``[T, H, W]``.

        Edits fill these parts from their surroundings before a remover sees the frame. If the task is `see_through`,
        only these parts are replaced wholly. They may lie outside the masks: a mask of glasses has holes at the eyes,
        and a rim that crosses an eye is still opaque. By default there are none.
        """
        return np.zeros(clip.frames.shape[:3], bool)

    def hides_eyes(self, clip: FaceClip) -> np.ndarray:
        """Frames in which the attribute hides the eyes, as dark lenses do: bool ``[T]``.

        An edit could only invent these eyes, so by default it keeps the attribute. By default there are no such frames.
        """
        return np.zeros(len(clip), bool)


MaskFunction = Callable[[FaceClip], np.ndarray]
"""A function with the same result as `Masker.__call__`, for tasks that know of no opaque parts and hidden eyes."""


def as_masker(masker: Masker | MaskFunction) -> Masker:
    """Turn the result of `AttributeTask.masker` into a `Masker`: a plain function becomes one without opaque parts.

    Raises:
        ContractError: it is neither a `Masker` nor a function of a clip, or it has a method `opaque` or `hides_eyes`
            without being a `Masker`.
    """
    if isinstance(masker, Masker):
        return masker
    if not callable(masker):
        raise ContractError(
            f"`masker` must return a Masker or a function from a clip to masks, found {type(masker).__name__}"
        )
    for method in ("opaque", "hides_eyes"):
        if hasattr(masker, method):  # ignoring the method silently would leave its author puzzled
            raise ContractError(
                f"{type(masker).__name__} defines `{method}` and is no Masker: derive it from toolkit.task.Masker"
            )
    return _FunctionMasker(masker)


class _FunctionMasker(Masker):
    def __init__(self, function: MaskFunction):
        self._function = function

    def __call__(self, clip: FaceClip) -> np.ndarray:
        return self._function(clip)


PairGenerator = Callable[[FaceClip, np.random.Generator, Tools], Iterable[Pair]]
"""clip, rng, tools -> pairs. Frames without the face yield no pair. All randomness comes from `rng`."""

Metric = Callable[[FaceClip, FaceClip], np.ndarray]
"""original, edited -> float ``[T]``: one number per frame, or NaN if the frame has none.

Both clips hold whole frames, and the landmarks are those of one face of the original. A share of the clip's pixels is
therefore a share of the frame's.
"""


@dataclass(frozen=True)
class Measure:
    """A quality measure that a task adds to the reports.

    Attributes:
        metric: computes the values. It may hold models and loads them on first use.
        label: heading in tables.
        description: one sentence.
        tool: the model or method behind the numbers, such as a segmenter; named in reports.
        unit: tables show values divided by it; 0.01 shows percent.
        digits: decimals in tables.
        better: ``higher`` or ``lower``.
        over_faces: how the values of several faces are combined: ``sum`` for shares of the frame, otherwise ``mean``.
        fidelity: whether this is the fidelity. Reports also show it multiplied by the identity (ID*dG in the paper).
    """

    metric: Metric
    label: str
    description: str
    tool: str = ""
    unit: float = 1.0
    digits: int = 2
    better: str = "higher"
    over_faces: str = "mean"
    fidelity: bool = False


OptionsT = TypeVar("OptionsT", bound=TaskOptions)


class AttributeTask(ABC, Generic[OptionsT]):
    """A kind of attribute, and how to learn to remove it.

    A task with options names their class in brackets, ``class HatsTask(AttributeTask[HatsOptions])``. That sets
    `Options` and gives `self.options` its type. A plain ``class HatsTask(AttributeTask)`` that sets `Options` itself
    also works; its options are then untyped.

    The constructor stores the options and does nothing else: no download, no device, no heavy import. The objects that
    `masker` and `pair_generator` return do the work. They may hold models and need not pickle; the task must.

    Class attributes:
        name: lower-case words joined by hyphens, equal to the name of the entry point.
        description: one sentence for `toolkit tasks list`.
        api_version: the `API_VERSION` that the plugin was written for, as a literal number.
        prompt, negative_prompt: condition the backbone; `prompt` describes a face without the attribute.
        exact_mask: True if `masker` finds the attribute itself, False if its masks cover the whole area in which one
            may be. Edits match colours to the surroundings only inside exact masks. A constructor may set it on the
            task, if it depends on the options.
        spares_eyes: True if the attribute never surrounds both eyes. What does so is make-up or face paint, and edits
            keep it by default.
        see_through: True if the face shows through all of the attribute but the parts that `Masker.opaque` returns, as
            through clear lenses. Edits keep the fine detail that is seen there.
        extra: the optional dependency group that the task needs, such as ``bfm``, or None.
        Options: class of the options. Every field needs a default and a description.
        removers: folders of the trained removers in the plugin's package, by the name of their backbone.
        recipes: JSON files in the plugin's package with settings for `toolkit finetune --recipe NAME`, by name.
        presets: values of options that belong to a preset, by its name: ``{"paper": {...}}`` for `--preset paper`.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    api_version: ClassVar[int]
    prompt: ClassVar[str]
    negative_prompt: ClassVar[str] = ""
    exact_mask: bool = True
    spares_eyes: ClassVar[bool] = False
    see_through: ClassVar[bool] = False
    extra: ClassVar[str | None] = None
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    removers: ClassVar[Mapping[str, Path]] = {}
    recipes: ClassVar[Mapping[str, Path]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, options: OptionsT | None = None):
        self.options: OptionsT = cast(OptionsT, self.Options()) if options is None else options
        if not isinstance(self.options, self.Options):
            raise ContractError(
                f"{type(self).__name__} takes {self.Options.__name__}, not {type(self.options).__name__}"
            )

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = _declared_options(cls)
        if declared is not None and "Options" not in vars(cls):
            cls.Options = declared
        if not abstract:
            _check_class(cls, declared)

    @abstractmethod
    def masker(self) -> Masker | MaskFunction:
        """Load the models and return the masker. A plain function from clip to masks also works; see `as_masker`."""

    @abstractmethod
    def pair_generator(self) -> PairGenerator:
        """Load the models and return the function that generates training pairs from a clip."""

    def metrics(self) -> Mapping[str, Measure]:
        """Measures of the removal that only this task knows, by name: lower-case words joined by underscores."""
        return {}

    def uses_inpainter(self) -> bool:
        """Whether the pair generator calls `tools.inpainter()`. The core then loads one model, not one per CPU."""
        return False

    def limits(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Lowest and highest accepted value of numbers in `Pair.info`, by name. Other pairs are dropped and counted."""
        return {}

    def example(self) -> FaceClip | None:
        """A clip that shows the attribute, for the conformance checks; None if any face will do."""
        return None


def _declared_options(cls: type[AttributeTask[Any]]) -> type[TaskOptions] | None:
    """The class in the brackets of the base, as in ``AttributeTask[HatsOptions]``; None if there is none."""
    for base in vars(cls).get("__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, AttributeTask):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, TaskOptions):
                    return argument
    return None


def _check_class(cls: type[AttributeTask[Any]], declared: type[TaskOptions] | None) -> None:
    """Refuse a class that breaks the contract.

    Args:
        cls: the class.
        declared: the options class in the brackets of its base, if any.

    Raises:
        ContractError: names the class and the attribute or method, what was expected and what was found.
    """

    def refuse(problem: str) -> NoReturn:
        raise ContractError(f"{cls.__module__}.{cls.__qualname__} breaks the AttributeTask contract: {problem}")

    for attribute in ("name", "description", "prompt", "negative_prompt"):
        value = getattr(cls, attribute, None)
        if not isinstance(value, str) or (not value and attribute != "negative_prompt"):
            kind = "string" if attribute == "negative_prompt" else "non-empty string"
            refuse(f"`{attribute}` must be a {kind}, set on the class, found {value!r}")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cls.name):
        refuse(f"`name` must be lower-case words joined by hyphens, found {cls.name!r}")
    version = getattr(cls, "api_version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        refuse(f"`api_version` must be a whole number from 1, such as {API_VERSION}, found {version!r}")
    for name in ("exact_mask", "spares_eyes", "see_through"):
        if not isinstance(getattr(cls, name), bool):
            refuse(f"`{name}` must be True or False, found {getattr(cls, name)!r}")
    if cls.extra is not None and not isinstance(cls.extra, str):
        refuse(f"`extra` must be the name of an extra or None, found {cls.extra!r}")
    if not (isinstance(cls.Options, type) and issubclass(cls.Options, TaskOptions)):
        refuse(f"`Options` must be a subclass of TaskOptions, found {cls.Options!r}")
    if declared is not None and not issubclass(cls.Options, declared):
        refuse(f"`Options` must be {declared.__name__}, as in the brackets of its base, found {cls.Options.__name__}")
    if not isinstance(cls.removers, Mapping) or not all(
        isinstance(name, str) and isinstance(folder, Path) for name, folder in cls.removers.items()
    ):
        refuse(f"`removers` must map backbone names to folders (Path), found {cls.removers!r}")
    if not isinstance(cls.recipes, Mapping) or not all(
        isinstance(name, str) and name and "/" not in name and isinstance(path, Path)
        for name, path in cls.recipes.items()
    ):
        refuse(f"`recipes` must map names without a slash to JSON files (Path), found {cls.recipes!r}")
    if not isinstance(cls.presets, Mapping) or not all(isinstance(values, Mapping) for values in cls.presets.values()):
        refuse(f"`presets` must map names to values of options, found {cls.presets!r}")
    undescribed = [name for name, info in cls.Options.model_fields.items() if not info.description]
    if undescribed:
        refuse(f"`Options` needs a description for {', '.join(undescribed)}")
    required = [name for name, info in cls.Options.model_fields.items() if info.is_required()]
    if required:
        refuse(f"`Options` needs a default for {', '.join(required)}")
    _check_methods(cls, refuse)


def _check_methods(cls: type[AttributeTask[Any]], refuse: Callable[[str], NoReturn]) -> None:
    for method in ("masker", "pair_generator", "metrics", "uses_inpainter", "limits", "example"):
        function = inspect.getattr_static(cls, method)
        if getattr(function, "__isabstractmethod__", False):
            refuse(f"it does not define `{method}`")
        if not inspect.isfunction(function):
            refuse(f"`{method}` must be a method, found {type(function).__name__}")
        parameters = inspect.signature(function).parameters.values()
        required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if len(required) != 1:
            refuse(f"`{method}` must take no argument but self, found {inspect.signature(function)}")
