"""The contract between the core and a plugin. numpy and pydantic only: importing it must stay cheap.

A plugin subclasses `AttributeTask`, names it in the entry-point group ``toolkit.tasks`` and is then known to every
verb of the command line. `toolkit.testing` checks the rest of the contract: what the methods must return.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from toolkit.errors import ContractError
from toolkit.faces.topology import Topology
from toolkit.faces.types import FaceAnalyser

API_VERSION = 1
"""Version of this contract. A plugin made for a later one is refused with a sentence, never half used."""


class TaskOptions(BaseModel):
    """Base of a task's options: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class FaceClip:
    """Consecutive frames of one face track, cropped around the face.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``, RGB. Read only: a task never writes into it.
        landmarks: float32 ``[T, N, 3]`` in pixels of `frames`; a frame without the face is all NaN.
        topology: what the N landmarks are.
        times: float64 ``[T]``, presentation times in seconds in the source.
        start_frame: index of the first frame in the source.
        box: float32 ``[4]``, x0 y0 x1 y1 of the crop in pixels of the source frame.
        source: name of the source, for people; `source_digest` identifies it.
        source_digest: sha256 of the source file in hex, or a name where there is no file.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    topology: Topology
    times: np.ndarray
    start_frame: int = 0
    box: np.ndarray = field(default_factory=lambda: np.zeros(4, np.float32))
    source: str = "memory"
    source_digest: str = "memory"

    def __post_init__(self):
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
        """bool ``[T]``: the frames in which the face was found."""
        return np.isfinite(self.landmarks).all(axis=(1, 2))

    def select(self, indices: np.ndarray) -> FaceClip:
        """The clip of only these frames, int ``[K]``; itself where they are all."""
        if len(indices) == len(self):
            return self
        return replace(self, frames=self.frames[indices], landmarks=self.landmarks[indices], times=self.times[indices])

    @property
    def scale(self) -> float:
        """Pixels of the crop per pixel of the source; over 1 where the crop was enlarged."""
        width = float(self.box[2] - self.box[0])
        return self.frames.shape[2] / width if width > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Pair:
    """One training sample, the terms as in diffusers.

    Attributes:
        image: uint8 ``[H, W, 3]``, without the attribute.
        conditioning_image: uint8 ``[H, W, 3]``, with it.
        mask: bool ``[H, W]``; the two pictures are equal outside it.
            One of the two is the clip's own frame, unchanged.
        index: the frame's index in its clip.
        info: numbers and words about the sample that go into the dataset's rows.
    """

    image: np.ndarray
    conditioning_image: np.ndarray
    mask: np.ndarray
    index: int
    info: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inpainted:
    """A clip whose masked parts were made anew.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``, equal to the input outside `mask`.
        mask: bool ``[T, H, W]``, where they may differ: the mask that was asked for with a soft edge.
        change_outside: float32 ``[T]``, mean absolute difference in 0..255 that the model itself made outside `mask`
            and that was put right: a measure of how well it knows these pictures.
    """

    frames: np.ndarray
    mask: np.ndarray
    change_outside: np.ndarray


class Inpainter(Protocol):
    """Fills the masked parts of a clip, consistently over its frames."""

    def __call__(
        self, frames: np.ndarray, masks: np.ndarray, *, prompt: str, negative_prompt: str = "", seed: int = 0
    ) -> Inpainted:
        """Fill a clip.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB; not changed.
            masks: bool ``[T, H, W]``, True where the picture is made anew; a frame with an empty mask stays.
            prompt: what the filled face shows.
            negative_prompt: what it does not show.
            seed: the same seed and input give the same result.
        """
        ...


class Tools(Protocol):
    """What the core offers to a pair generator."""

    def analyser(self, name: str | None = None) -> FaceAnalyser:
        """The face analyser of that name, or the run's own; built once and kept."""
        ...

    def inpainter(self) -> Inpainter:
        """The run's inpainting model (`--backbone`), built at its first use and kept."""
        ...

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Report that `count` frames or clips gave no pair, and why; shown at the end of the build."""
        ...


Masker = Callable[[FaceClip], np.ndarray]
"""clip -> where the attribute is or may be: bool ``[T, H, W]``, or float32 in 0..1. False where there is no face.

It may also have a method ``opaque``, clip -> bool ``[T, H, W]``: parts of the attribute that nothing behind them shows
through, such as rims. Edits fill them in from around them before a remover sees the frame.
"""

PairGenerator = Callable[[FaceClip, np.random.Generator, Tools], Iterable[Pair]]
"""clip, rng, tools -> pairs. A frame without the face gives none; all randomness comes from `rng`."""

Metric = Callable[[FaceClip, FaceClip], np.ndarray]
"""original, edited -> float ``[T]``, one number a frame, NaN where there is none.

Both clips are whole frames, with one face's landmarks in the original, so that a share of the clip is one of the frame.
"""


@dataclass(frozen=True)
class Measure:
    """A measure of a task's own.

    Attributes:
        metric: gives its values; it may hold models, which it loads at its first use.
        label: heading in tables.
        description: one sentence.
        tool: what measures it, such as the name of a segmenter; the report says so.
        unit: tables print values in it, such as 0.01.
        digits: decimals that tables print.
        better: ``higher`` or ``lower``.
        over_faces: how values of several faces become one: ``sum`` for shares of the frame, else ``mean``.
        fidelity: whether it is the fidelity, which is also reported times the identity (ID*dG in the paper).
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


class AttributeTask(ABC):
    """A kind of attribute and how to learn to remove it.

    Building a task stores its options and does nothing else: no download, no device, no heavy import. The work is
    done by what `masker` and `pair_generator` return, which may hold models and need not pickle; the task must.

    Class attributes:
        name: lower case, equal to the entry point's name.
        description: one sentence for `toolkit tasks list`.
        api_version: the `API_VERSION` that the plugin was written for; state it as a number.
        prompt, negative_prompt: the text that the backbone is conditioned on, describing a face without the attribute.
        exact_mask: whether `masker` finds the attribute itself; False where its masks are all of the skin on which one
            may be. Only inside exact masks colours are fitted to those outside.
        extra: the optional dependency group that the task needs, such as ``bfm``, or None.
        Options: its options, a subclass of `TaskOptions` in which every field has a description.
        removers: trained removers that lie in the plugin's package, as folders by the name of their backbone.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    api_version: ClassVar[int]
    prompt: ClassVar[str]
    negative_prompt: ClassVar[str] = ""
    exact_mask: ClassVar[bool] = True
    extra: ClassVar[str | None] = None
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    removers: ClassVar[Mapping[str, Path]] = {}

    def __init__(self, options: TaskOptions | None = None):
        self.options = self.Options() if options is None else options
        if not isinstance(self.options, self.Options):
            raise ContractError(
                f"{type(self).__name__} takes {self.Options.__name__}, not {type(self.options).__name__}"
            )

    def __init_subclass__(cls, abstract: bool = False, **kwargs):
        super().__init_subclass__(**kwargs)
        if not abstract:
            _check_class(cls)

    @abstractmethod
    def masker(self) -> Masker:
        """Load what is needed and return the function that finds the attribute in a clip."""

    @abstractmethod
    def pair_generator(self) -> PairGenerator:
        """Load what is needed and return the function that makes training pairs from a clip."""

    def metrics(self) -> Mapping[str, Measure]:
        """Measures of removal of the task's own, by name: lower-case words joined by underscores."""
        return {}

    def uses_inpainter(self) -> bool:
        """Whether the pair generator calls `tools.inpainter()`; the core then loads one model and not one per core."""
        return False

    def limits(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Lowest and highest good value of numbers in `Pair.info`; pairs beyond are left out, counted by name."""
        return {}

    def example(self) -> FaceClip | None:
        """A clip that shows the attribute, for the conformance checks; None where any face will do."""
        return None


def _check_class(cls: type[AttributeTask]) -> None:
    """Refuse a class that breaks the contract.

    Raises:
        ContractError: names the class and the attribute or method, what was expected and what was found.
    """

    def refuse(what: str):
        raise ContractError(f"{cls.__module__}.{cls.__qualname__} breaks the AttributeTask contract: {what}")

    for attribute in ("name", "description", "prompt", "negative_prompt"):
        value = getattr(cls, attribute, None)
        if not isinstance(value, str) or (not value and attribute != "negative_prompt"):
            refuse(f"`{attribute}` must be a text set on the class, found {value!r}")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cls.name):
        refuse(f"`name` must be lower-case words joined by hyphens, found {cls.name!r}")
    version = getattr(cls, "api_version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        refuse(f"`api_version` must be a whole number from 1, such as {API_VERSION}, found {version!r}")
    if not isinstance(cls.exact_mask, bool):
        refuse(f"`exact_mask` must be True or False, found {cls.exact_mask!r}")
    if cls.extra is not None and not isinstance(cls.extra, str):
        refuse(f"`extra` must be the name of an extra or None, found {cls.extra!r}")
    if not (isinstance(cls.Options, type) and issubclass(cls.Options, TaskOptions)):
        refuse(f"`Options` must be a subclass of TaskOptions, found {cls.Options!r}")
    if not isinstance(cls.removers, Mapping) or not all(
        isinstance(name, str) and isinstance(folder, Path) for name, folder in cls.removers.items()
    ):
        refuse(f"`removers` must map names of backbones to folders, found {cls.removers!r}")
    undescribed = [name for name, info in cls.Options.model_fields.items() if not info.description]
    if undescribed:
        refuse(f"`Options` needs a description for {', '.join(undescribed)}")
    required = [name for name, info in cls.Options.model_fields.items() if info.is_required()]
    if required:
        refuse(f"`Options` needs a default for {', '.join(required)}")
    for method in ("masker", "pair_generator", "metrics", "uses_inpainter", "limits", "example"):
        function = inspect.getattr_static(cls, method)
        if getattr(function, "__isabstractmethod__", False):
            refuse(f"it does not define `{method}`")
        if not inspect.isfunction(function):
            refuse(f"`{method}` must be a method, found {type(function).__name__}")
        parameters = list(inspect.signature(function).parameters.values())
        if (
            len([p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)])
            != 1
        ):
            refuse(f"`{method}` must take no argument but self, found {inspect.signature(function)}")
