"""Choose the device, dtype and memory format that models run with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from toolkit.errors import UsageError
from toolkit.validation import did_you_mean

if TYPE_CHECKING:
    import torch

Module = TypeVar("Module", bound="torch.nn.Module")

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ComputeDevice:
    """Device, dtype and memory format of a model, as plain values that can be compared and saved.

    Attributes:
        device: torch's name, such as ``cpu``, ``cuda:0`` or ``mps``.
        dtype: one of `DTYPES`.
        channels_last: store four-dimensional weights and inputs as NHWC.
    """

    device: str
    dtype: str
    channels_last: bool

    @property
    def torch_dtype(self) -> torch.dtype:
        """`dtype` as a `torch.dtype`."""
        import torch

        return getattr(torch, self.dtype)

    def prepare(self, module: Module) -> Module:
        """Move a module to the device, dtype and memory format, in place, and return it."""
        import torch

        memory_format = torch.channels_last if self.channels_last else torch.preserve_format
        module = module.to(device=self.device, memory_format=memory_format)
        # diffusers warns about every cast, so skip casts that change nothing.
        if any(tensor.is_floating_point() and tensor.dtype != self.torch_dtype for tensor in module.parameters()):
            module = module.to(dtype=self.torch_dtype)
        return module


def available_devices() -> list[str]:
    """Names of the devices that this machine and this build of torch support, preferred first."""
    import torch

    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device_name(device: str | None = None) -> str:
    """Return the named device if it is available, or the first of `available_devices` if None.

    ``cuda`` without an index is accepted and returned unchanged.

    Raises:
        UsageError: the device is unknown or not available.
    """
    available = available_devices()
    if device is None:
        return available[0]
    if device in available or (device == "cuda" and "cuda:0" in available):
        return device
    raise UsageError(f"no device {device!r} on this machine; choose one of {', '.join(available)}")


def choose_device(device: str | None = None, dtype: str | None = None) -> ComputeDevice:
    """Choose the device, dtype and memory format of diffusion models by the table in docs/backbones.md.

    CPU: float32, channels last. CUDA: float16 and channels last with tensor cores (compute capability 7.0 and later),
    float32 without. MPS: float32. `benchmarks/device.py` measures the alternatives.

    Args:
        device: as for `choose_device_name`.
        dtype: one of `DTYPES`, or None to choose by device.

    Raises:
        UsageError: the device is not available, or does not support the dtype.
    """
    import torch

    device = choose_device_name(device)
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)}; choose one of {', '.join(DTYPES)}")
    if device == "cpu":
        return ComputeDevice(device, dtype or "float32", True)
    if device == "mps":
        return ComputeDevice(device, dtype or "float32", False)
    capability = torch.cuda.get_device_capability(device)
    if dtype == "bfloat16" and capability < (8, 0):
        raise UsageError(
            f"{device} has compute capability {capability[0]}.{capability[1]}, but bfloat16 needs 8.0: use float16"
        )
    dtype = dtype or ("float16" if capability >= (7, 0) else "float32")
    return ComputeDevice(device, dtype, dtype != "float32")


def training_precision() -> Literal["no", "fp16", "bf16"]:
    """The mixed precision for training on the device that `choose_device_name` prefers.

    CUDA: bf16 from compute capability 8.0 on, fp16 on 7.x, whose tensor cores know no bf16. Elsewhere none.
    """
    import torch

    if not torch.cuda.is_available():
        return "no"
    capability = torch.cuda.get_device_capability()
    return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "no"


@contextlib.contextmanager
def tensor_float_32(device: str) -> Iterator[None]:
    """On CUDA, let tensor cores multiply float32 numbers rounded to ten bits of mantissa (TF32), in the block.

    Args:
        device: torch's name. Other devices than CUDA stay as they are.
    """
    import torch

    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv) if device.startswith("cuda") else ()
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        yield
    finally:
        for place, value in zip(places, before):
            place.fp32_precision = value


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Flush denormal numbers to zero, because CPUs are slow with them. Restores the previous mode at the end."""
    import numpy as np
    import torch

    for kind in (np.float32, np.float64):
        np.finfo(kind)  # cached by numpy, which warns if denormals are already flushed
    flushed_before = not torch.tensor(1e-310, dtype=torch.float64) * 1
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


@contextlib.contextmanager
def intra_op_threads(count: int | None) -> Iterator[None]:
    """Let each torch operation use `count` threads in the block, here and in threads that start in it.

    Results may differ in the last bits between numbers of threads. None leaves the number as it is.
    """
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
