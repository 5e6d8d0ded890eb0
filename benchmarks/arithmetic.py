"""Compare engines and number formats for nano's UNet and ControlNet on one thread of the CPU.

    python -m benchmarks.arithmetic [--frames N] [--rounds N] [--engines NAME ...]

Each engine predicts the same faces of the embedded sample clip, at nano's one step and with its prompt, two frames at a
time, as an edit does. Their rounds alternate, so that other load affects all alike. The table shows CPU time for each
frame (user and system time of this process), and how far the predicted pictures are from those of torch in float32, in
dB. int8 is calibrated on other frames of the clip. Engines that are not installed are skipped visibly:
``pip install openvino nncf onnx onnxruntime`` adds them.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # before torch

import argparse
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import diffusers.utils.logging
import numpy as np
import torch

from toolkit.cli.console import out, print_table
from toolkit.diffusion.shared_sample import SharedSample
from toolkit.edit.config import EditConfig
from toolkit.edit.pipelines import Pipelines
from toolkit.edit.resolve import resolve
from toolkit.testing.sample import sample_clip

BATCH = 2
CALIBRATION = 24
"""Frames that int8 is calibrated on."""

SAMPLE = 72
"""Frames of the sample clip."""

TIMESTEP = 999
REFERENCE = "torch float32 NCHW"

Predict = Callable[[torch.Tensor], torch.Tensor]
"""Hints ``[B, 3, 256, 256]`` in 0..1 -> predicted latents ``[B, 48, 64, 64]``."""


class MissingError(Exception):
    """Something that an engine needs is not installed."""


class Networks(torch.nn.Module):
    """ControlNet and UNet at a fixed sample, timestep and prompt."""

    def __init__(self, dtype: torch.dtype = torch.float32, channels_last: bool = True):
        super().__init__()
        pipeline = Pipelines(resolve(EditConfig(task=["glasses"], device="cpu"))).with_remover(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.unet, self.controlnet = (
            model.to(dtype).to(memory_format=layout) for model in (pipeline.unet, pipeline.controlnet)
        )
        self.embeds = pipeline.text_encoder()[0].to(dtype)
        generator = torch.Generator().manual_seed(0)
        self.sample = torch.randn(1, 48, 64, 64, generator=generator).to(dtype)
        self.timestep = torch.tensor(TIMESTEP)
        self.layout, self.dtype = layout, dtype

    def residuals(self, hints: torch.Tensor, sample: torch.Tensor) -> list[torch.Tensor]:
        """The ControlNet's."""
        down, mid = self.controlnet(
            sample,
            self.timestep,
            encoder_hidden_states=self.embeds.expand(len(hints), -1, -1),
            controlnet_cond=hints,
            return_dict=False,
        )
        return [*down, mid]

    def forward(self, hints: torch.Tensor) -> torch.Tensor:
        """Both networks on the whole batch."""
        hints = hints.to(self.dtype)
        sample = self.sample.expand(len(hints), -1, -1, -1)
        *down, mid = self.residuals(hints, sample)
        return self.unet(
            sample,
            self.timestep,
            encoder_hidden_states=self.embeds.expand(len(hints), -1, -1),
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]


def torch_engine(dtype: torch.dtype = torch.float32, channels_last: bool = True) -> Predict:
    """diffusers as it is."""
    networks = Networks(dtype, channels_last)
    return lambda hints: networks(hints.contiguous(memory_format=networks.layout)).float()


def toolkit_engine() -> Predict:
    """As `toolkit edit` does: what all frames share is computed once."""
    networks = Networks()
    shared = SharedSample(networks.unet, networks.sample, networks.timestep, networks.embeds)

    def predict(hints: torch.Tensor) -> torch.Tensor:
        return shared.predict(networks.residuals(hints.contiguous(memory_format=torch.channels_last), networks.sample))

    return predict


def compiled_engine() -> Predict:
    """torch.compile, which needs a C++ compiler."""
    networks = Networks()
    compiled = torch.compile(networks)
    return lambda hints: compiled(hints.contiguous(memory_format=torch.channels_last))


def openvino_engine(precision: str) -> Predict:
    """OpenVINO; int8 by NNCF's post-training quantisation with its mixed preset."""
    _need("openvino", *(["nncf"] if precision == "int8" else []))
    import openvino as ov

    networks = Networks(channels_last=False)
    model = ov.convert_model(networks, example_input=torch.rand(BATCH, 3, 256, 256))
    model.reshape([BATCH, 3, 256, 256])
    if precision == "int8":
        import nncf

        frames = batches(pictures(CALIBRATION, offset=1))
        dataset = nncf.Dataset([hints.numpy() for hints in frames])
        model = nncf.quantize(model, dataset, preset=nncf.QuantizationPreset.MIXED, subset_size=len(frames))
    hint = "bf16" if precision == "bfloat16" else "f32"
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(model, "CPU", options)
    return lambda hints: torch.from_numpy(compiled(hints.numpy())[0])


def onnx_engine(precision: str) -> Predict:
    """ONNX Runtime; int8 by its static quantisation of activations and weights."""
    _need("onnx", "onnxruntime")
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "networks.onnx"
        torch.onnx.export(
            Networks(channels_last=False), (torch.rand(BATCH, 3, 256, 256),), path, input_names=["hints"], dynamo=False
        )
        if precision == "int8":
            path = _quantised(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda hints: torch.from_numpy(session.run(None, {"hints": hints.numpy()})[0])


def _quantised(path: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = batches(pictures(CALIBRATION, offset=1))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"hints": self._left.pop().numpy()} if self._left else None

    target = path.with_name("int8.onnx")
    quantize_static(path, target, Frames(), per_channel=True)
    return target


def _need(*modules: str) -> None:
    if missing := [name for name in modules if find_spec(name) is None]:
        raise MissingError(f"{' and '.join(missing)} not installed")


ENGINES: dict[str, Callable[[], Predict]] = {
    REFERENCE: lambda: torch_engine(channels_last=False),
    "torch float32 channels_last": torch_engine,
    "torch float32, as the toolkit runs it": toolkit_engine,
    "torch bfloat16 channels_last": lambda: torch_engine(torch.bfloat16),
    "torch.compile float32 channels_last": compiled_engine,
    "OpenVINO float32": lambda: openvino_engine("float32"),
    "OpenVINO bfloat16": lambda: openvino_engine("bfloat16"),
    "OpenVINO int8": lambda: openvino_engine("int8"),
    "ONNX Runtime float32": lambda: onnx_engine("float32"),
    "ONNX Runtime int8": lambda: onnx_engine("int8"),
}


def pictures(count: int, offset: int = 0) -> torch.Tensor:
    """Crops of the sample clip, float32 ``[count, 3, 256, 256]`` in 0..1, spread over it."""
    clip = sample_clip(SAMPLE).frames
    chosen = np.stack([clip[(k * SAMPLE // count + offset) % SAMPLE] for k in range(count)])
    return torch.from_numpy(chosen).permute(0, 3, 1, 2).contiguous().float() / 255


def batches(hints: torch.Tensor) -> list[torch.Tensor]:
    """The frames as the networks get them."""
    return list(hints.split(BATCH))


def run(predict: Predict, hints: torch.Tensor) -> tuple[float, torch.Tensor]:
    """CPU seconds for each frame, and the predictions."""
    start = time.process_time()
    predicted = torch.cat([predict(part) for part in batches(hints)])
    return (time.process_time() - start) / len(hints), predicted


def difference(predicted: torch.Tensor, reference: torch.Tensor, scaling: float = 2.0) -> float:
    """PSNR in dB of the pictures that the latents stand for: nano's coder only moves and scales pixels."""
    error = (((predicted - reference) / scaling / 2) ** 2).mean().item()
    return math.inf if error == 0 else -10 * math.log10(error)


@torch.no_grad()
def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16, help="frames of a round; a multiple of 2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore")  # of tracing: the shapes are fixed
    hints = pictures(args.frames)
    _, reference = run(ENGINES[REFERENCE](), hints)
    engines, skipped = {}, {}
    for name in args.engines:
        try:
            engines[name] = ENGINES[name]()
            engines[name](hints[:BATCH])  # compiles
        except MissingError as error:
            skipped[name] = str(error)
        except Exception as error:  # an engine that cannot run these networks is a result, too
            skipped[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    distance = {}
    for _ in range(args.rounds):
        for name, predict in engines.items():
            taken, predicted = run(predict, hints)
            seconds[name].append(taken)
            distance[name] = difference(predicted, reference)
    fastest = {name: min(taken) for name, taken in seconds.items()}
    base = fastest.get("torch float32 channels_last", min(fastest.values()))
    rows = [
        [name, f"{1000 * taken:.0f} ms", f"{base / taken:.2f}", f"{distance[name]:.1f} dB"]
        for name, taken in fastest.items()
    ]
    rows += [[name, "skipped", "-", reason] for name, reason in skipped.items()]
    print_table(["engine", "CPU time a frame", "times as fast as channels_last", "PSNR against float32"], rows)
    out.print(f"{os.cpu_count()} cores; torch {torch.__version__}; {args.rounds} rounds of {args.frames} frames")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
