"""One face through the removers: crops on disk in, patches with soft edges out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from toolkit.diffusion.edit_pipeline import CHUNK
from toolkit.diffusion.edit_settings import EditSettings
from toolkit.diffusion.frame_store import FrameStore
from toolkit.edit.alpha import alphas, over, removed
from toolkit.edit.config import EditConfig
from toolkit.edit.masking import TaskMaskers, mask_blocks
from toolkit.edit.models import EditModels
from toolkit.errors import ToolkitError
from toolkit.faces.topology import Topology
from toolkit.filling import filled
from toolkit.seeds import generator

QUICK = 2
"""Denoising steps up to which a second look costs little."""


@dataclass(frozen=True, eq=False)
class RunInput:
    """What is known of a run besides its crops.

    Attributes:
        folder: of the run; `crops` lies in it.
        count: frames.
        start: first frame in the video.
        landmarks: function of a first frame of the run and the one after the last, which gives float32 ``[K, N, 3]``
            in pixels of the crops.
        topology: of the landmarks.
        times: ``[count]`` seconds.
        turns: ``[count]`` degrees by which the head is turned from the camera.
        box: ``[4]`` of the first crop in pixels of the video.
        source: name and digest of the video.
        name: unique in the video; randomness depends on it.
    """

    folder: Path
    count: int
    start: int
    landmarks: Callable[[int, int], np.ndarray]
    topology: Topology
    times: np.ndarray
    turns: np.ndarray
    box: np.ndarray
    source: tuple[str, str]
    name: str


class RunStores:
    """The pictures of a run, each kind in one file: what was cut out, and what the removers made of it so far."""

    def __init__(self, folder: Path, side: int):
        self.folder, self.side = folder, side
        self._opened: dict[str, FrameStore] = {}

    def store(self, name: str, channels: int = 3) -> FrameStore:
        """uint8, of crops with three channels or of weights and masks with one."""
        if name not in self._opened:
            shape = (self.side, self.side, 3) if channels == 3 else (self.side, self.side)
            self._opened[name] = FrameStore(shape, torch.uint8, self.folder, name)
        return self._opened[name]

    def read(self, name: str, start: int, stop: int, channels: int = 3) -> np.ndarray:
        return self.store(name, channels).read(start, stop).numpy()

    def write(self, name: str, start: int, values: np.ndarray, channels: int = 3) -> None:
        self.store(name, channels).write(start, torch.from_numpy(np.ascontiguousarray(values)))

    def close(self) -> None:
        for store in self._opened.values():
            store.close()
        self._opened.clear()


class Removal:
    """Applies all removers to runs, one run after the other.

    Args:
        config: of the edit.
        models: its removers and their backbone.
        maskers: of each remover; None where no masks are needed.
        on_windows: is told how many windows of how many timesteps were done, over all removers of the run.
    """

    def __init__(
        self,
        config: EditConfig,
        models: EditModels,
        maskers: Sequence[TaskMaskers] | None,
        on_windows: Callable[[int], None],
    ):
        self._config, self._models, self._maskers, self._on_windows = config, models, maskers, on_windows

    def run(self, given: RunInput) -> None:
        """Edit a run whose crops lie in its folder: afterwards `edited` and `alpha` lie there too, and `mask-N`.

        What an earlier process finished is not done again.

        Raises:
            ToolkitError: a model gave NaN, memory or the disk is full, or a masker breaks its contract.
        """
        stores = RunStores(given.folder, self._models.resolution)
        try:
            done = _count(given.folder)
            for index in range(done, len(self._models.removers)):
                self._remove(index, given, stores)
                for name in ("edited", "alpha"):
                    (given.folder / f"{name}-{index}.new").replace(given.folder / f"{name}-{index}")
                _keep_count(given.folder, index + 1)
                # Not before: half of a folder would be taken for one to go on in.
                for folder in given.folder.glob(f"denoising-{index}-*"):
                    shutil.rmtree(folder)
        except torch.OutOfMemoryError as error:
            raise ToolkitError(self._no_memory()) from error
        except RuntimeError as error:
            if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
                raise
            raise ToolkitError(self._no_memory()) from error
        finally:
            stores.close()

    @property
    def looks(self) -> int:
        """How often all removers together are applied, at most."""
        return sum(1 + self._looks_twice(index) for index in range(len(self._models.removers)))

    def _looks_twice(self, index: int) -> bool:
        wanted = self._config.masking.second_look
        if wanted == "off" or self._models.removers[index].hint != "frame":
            return False
        if wanted == "on":
            return True
        vague = self._maskers is not None and not self._maskers[index].exact
        return vague and self._config.denoising.num_inference_steps <= QUICK

    def _no_memory(self) -> str:
        length = self._config.motion.context_length
        return (
            f"a window of {length} frames of {self._models.resolution} pixels does not fit into the memory of "
            f"{self._models.compute.device} that is free: lower --context-length, or choose --dtype float16"
        )

    def _remove(self, index: int, given: RunInput, stores: RunStores) -> None:
        """One remover on a run: only stretches with its attribute, and a window around them, are edited."""
        masked = np.ones(given.count, bool) if self._maskers is None else self._find_masks(index, given, stores)
        shown = given.turns <= self._config.region.max_turn
        parts = active_parts(masked & shown, self._config.motion.context_length)
        if not parts:
            self._pass(index, given, stores)
            return
        for start in range(0, given.count, CHUNK):
            stop = min(start + CHUNK, given.count)
            stores.write(f"made-{index}", start, self._input(index, start, stop, stores))
        for number, part in enumerate(parts):
            self._denoise(index, given, stores, part, given.folder / f"denoising-{index}-{number}")
            if self._looks_twice(index) and self._find_removed(index, stores, part):
                again = given.folder / f"denoising-{index}-{number}-again"
                self._denoise(index, given, stores, part, again, second=True)
        self._lay_over(index, given, shown, stores)

    def _find_removed(self, index: int, stores: RunStores, part: tuple[int, int]) -> bool:
        """Store where a remover took something off; whether it did anywhere."""
        found = False
        for k in range(*part):
            original, made = self._input(index, k, k + 1, stores)[0], stores.read(f"made-{index}", k, k + 1)[0]
            where = removed(original, made, self._config.masking.certain_change)
            stores.write(f"removed-{index}", k, where.astype(np.uint8)[None], 1)
            found |= bool(where.any())
        return found

    def _denoise(
        self,
        index: int,
        given: RunInput,
        stores: RunStores,
        part: tuple[int, int],
        folder: Path,
        second: bool = False,
    ) -> None:
        folder.mkdir(exist_ok=True)
        remover = self._models.removers[index]
        tasks = self._maskers[index].tasks if self._maskers is not None else []
        denoising, motion, masking = self._config.denoising, self._config.motion, self._config.masking
        seed = int(generator(self._config.seed, "edit", given.source[1], given.name, part[0], index).integers(2**63))
        made = self._models.pipeline(index).stream(
            self._chunks(index, part, stores, remover.resolution, second),
            settings=EditSettings(
                prompt=remover.prompt,
                negative_prompt=", ".join(task.negative_prompt for task in tasks if task.negative_prompt),
                num_inference_steps=denoising.num_inference_steps,
                strength=denoising.strength,
                guidance_scale=denoising.guidance_scale,
                controlnet_conditioning_scale=denoising.controlnet_conditioning_scale,
                context_length=motion.context_length,
                context_overlap=motion.context_overlap,
                shared_noise=self._shares_noise(),
                reference_frames=motion.reference_frames,
                blend_masks=masking.masks == "on",
                blend_range=masking.blend_range,
                blend_width=masking.blend_width,
                normalisation=self._normalisation(index),
            ),
            generator=torch.Generator().manual_seed(seed),
            folder=folder,
            resume=True,
            on_windows=self._on_windows,
        )
        place = part[0]
        for pictures in made:
            stores.write(f"made-{index}", place, _resized(pictures, stores.side))
            place += len(pictures)

    def _shares_noise(self) -> bool:
        wanted, denoising = self._config.motion.shared_noise, self._config.denoising
        if wanted != "auto":
            return wanted == "on"
        # In one step motion layers cannot bring together what began apart.
        return "motion_adapter" not in self._models.parts or denoising.num_inference_steps == 1

    def _normalisation(self, index: int) -> str:
        """What `auto` means: with masks on colours are kept already, and eq. 2 would only spoil them."""
        masking = self._config.masking
        if masking.normalisation != "auto":
            return masking.normalisation
        return "ion" if masking.masks == "off" and self._maskers[index].exact else "none"

    def _find_masks(self, index: int, given: RunInput, stores: RunStores) -> np.ndarray:
        """Fill the stores of masks; bool ``[T]``: the frames in which there is anything."""
        masked = np.zeros(given.count, bool)
        blocks = mask_blocks(
            self._maskers[index],
            given.count,
            lambda start, stop: self._input(index, start, stop, stores),
            given.landmarks,
            given.topology,
            given.times,
            given.box,
            given.source,
            given.start,
        )
        for start, masks, opaque in blocks:
            masked[start : start + len(masks)] = masks.any(axis=(1, 2))
            stores.write(f"mask-{index}", start, masks.astype(np.uint8), 1)
            stores.write(f"opaque-{index}", start, opaque.astype(np.uint8), 1)
        return masked

    def _input(self, index: int, start: int, stop: int, stores: RunStores) -> np.ndarray:
        """What a remover sees: the crops, with what the ones before it made laid over; uint8 ``[K, R, R, 3]``."""
        return result_of(stores, index - 1, start, stop)

    def _chunks(
        self, index: int, part: tuple[int, int], stores: RunStores, side: int, second: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        hidden = [f"removed-{index}"] if second else []
        if self._maskers is not None and self._config.masking.fill and self._models.removers[index].hint == "frame":
            hidden.append(f"opaque-{index}")
        for start in range(*part, CHUNK):
            stop = min(start + CHUNK, part[1])
            frames = _resized(self._input(index, start, stop, stores), side)
            masks = None
            if self._maskers is not None:
                masks = _shrunk(stores.read(f"mask-{index}", start, stop, 1), side)
            if hidden:
                parts = [_shrunk(stores.read(name, start, stop, 1), side) for name in hidden]
                frames = filled(frames, np.logical_or.reduce(parts))
            yield frames, masks

    def _lay_over(self, index: int, given: RunInput, shown: np.ndarray, stores: RunStores) -> None:
        """Weigh what a remover made, and lay it over what there was; bool ``[T]`` `shown` says in which frames."""
        masks, certain = None, 0.0
        if self._maskers is not None:
            certain = 0.0 if self._maskers[index].exact else self._config.masking.certain_change
            masks = lambda start, stop: stores.read(f"mask-{index}", start, stop, 1) > 0  # noqa: E731
        weights = alphas(
            given.count,
            lambda start, stop: self._input(index, start, stop, stores),
            lambda start, stop: stores.read(f"made-{index}", start, stop),
            masks,
            stores.side,
            self._config.masking,
            certain,
        )
        for k, weight in enumerate(weights):
            made = stores.read(f"made-{index}", k, k + 1)[0].astype(np.float32)
            weight = weight * shown[k]
            if index:
                below, below_weight = layer(stores, index - 1, k, k + 1)
                made, weight = over(below[0], below_weight[0], made, weight)
            stores.write(f"edited-{index}.new", k, np.rint(made).astype(np.uint8)[None])
            stores.write(f"alpha-{index}.new", k, np.rint(255 * weight).astype(np.uint8)[None], 1)
        stores.close()

    def _pass(self, index: int, given: RunInput, stores: RunStores) -> None:
        """The attribute is nowhere in the run: what there was stays."""
        for start in range(0, given.count, CHUNK):
            stop = min(start + CHUNK, given.count)
            if index:
                edited, weight = layer(stores, index - 1, start, stop)
                weight = np.rint(255 * weight)
            else:
                edited = stores.read("crops", start, stop)
                weight = np.zeros(edited.shape[:3])
            stores.write(f"edited-{index}.new", start, edited.astype(np.uint8))
            stores.write(f"alpha-{index}.new", start, weight.astype(np.uint8), 1)
        stores.close()


def layer(stores: RunStores, index: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours float32 ``[K, R, R, 3]`` in 0..255, and their weights ``[K, R, R]`` in 0..1, after a remover."""
    colours = stores.read(f"edited-{index}", start, stop).astype(np.float32)
    return colours, stores.read(f"alpha-{index}", start, stop, 1).astype(np.float32) / 255


def result_of(stores: RunStores, index: int, start: int, stop: int) -> np.ndarray:
    """Crops after the remover of that index, uint8 ``[K, R, R, 3]``; before the first with -1."""
    crops = stores.read("crops", start, stop)
    if index < 0:
        return crops
    colours, weights = layer(stores, index, start, stop)
    return np.rint(crops + weights[..., None] * (colours - crops)).astype(np.uint8)


def active_parts(masked: np.ndarray, margin: int) -> list[tuple[int, int]]:
    """First frames and the ones after the last of the stretches to edit: masked frames, and `margin` around them.

    Args:
        masked: bool ``[T]``.
    """
    near = np.convolve(masked, np.ones(2 * margin + 1))[margin : margin + len(masked)]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], near > 0.5, [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def windows_of(count: int, config: EditConfig, looks: int) -> int:
    """How many windows of how many timesteps a run of `count` frames takes, if removers are applied so often."""
    from toolkit.diffusion.context_windows import context_windows

    denoising = config.denoising
    steps = int(denoising.num_inference_steps * denoising.strength)
    if denoising.scheduler == "HeunDiscreteScheduler":
        steps = 2 * steps - 1  # it predicts twice in each step but the last
    elif denoising.scheduler == "PNDMScheduler" and denoising.num_inference_steps > 1:
        steps += 1  # it predicts twice in one step
    windows = context_windows(count, config.motion.context_length, config.motion.context_overlap)
    return len(windows) * steps * looks


def _count(folder: Path) -> int:
    path = folder / "removed.json"
    return json.loads(path.read_text()) if path.is_file() else 0


def _keep_count(folder: Path, count: int) -> None:
    temporary = folder / "removed.json.part"
    temporary.write_text(json.dumps(count))
    temporary.replace(folder / "removed.json")


def _resized(frames: np.ndarray, side: int) -> np.ndarray:
    import cv2

    if frames.shape[1] == side:
        return frames
    method = cv2.INTER_AREA if side < frames.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (side, side), interpolation=method) for frame in frames])


def _shrunk(masks: np.ndarray, side: int) -> np.ndarray:
    """bool ``[K, side, side]``: a pixel is masked where any of those that it stands for is."""
    import cv2

    if masks.shape[1] == side:
        return masks > 0
    sized = [cv2.resize(mask * 255, (side, side), interpolation=cv2.INTER_AREA) for mask in masks]
    return np.stack(sized) > 0
