"""Imports of large packages: the collector rests, and what an edit does not use is left for later."""

import gc
import subprocess
import sys

import pytest

from toolkit.imports import uncollected

UNUSED = ("torch._dynamo", "sympy", "torchvision", "transformers.modeling_utils", "transformers.models")
UNUSED += (
    "scipy.stats._stats_py",
    "diffusers.models.transformers.transformer_flux",
    "matplotlib",
    "jax",
    "sounddevice",
)
"""Modules that an edit with nano does not use."""


def run(code: str) -> str:
    """What a new process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_collector_is_off_inside_and_as_before_outside():
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_an_edit_imports_nothing_that_it_does_not_use():
    """Everything that an edit with nano imports and loads before its first frame."""
    code = f"""
import sys
from toolkit.edit.config import EditConfig
from toolkit.edit.removal import removal
from toolkit.edit.session import Session
session = Session(EditConfig(task=["glasses"], device="cpu"))
session.analyser.close()
session.pipelines.with_remover(0)
assert session.maskers
print(*[name for name in {UNUSED!r} if name in sys.modules])
"""
    assert run(code).split() == []


def test_what_was_left_out_comes_when_it_is_used():
    code = """
import sys, types
import torch
real = torch.compiler.disable
import toolkit.libraries
assert torch.compiler.disable is real and "torch._dynamo" not in sys.modules

import diffusers.loaders.lora_base as lora, diffusers.loaders.single_file_utils as single
assert not isinstance(torch.nn.Linear(1, 1), lora.PreTrainedModel)
assert not issubclass(torch.nn.Linear, (lora.PreTrainedModel, dict))
assert "transformers.modeling_utils" not in sys.modules
from transformers import AutoImageProcessor, CLIPTextConfig, CLIPTextModel, PreTrainedModel
assert isinstance(PreTrainedModel, type) and isinstance(AutoImageProcessor, type)
model = CLIPTextModel(CLIPTextConfig(hidden_size=8, intermediate_size=8, num_attention_heads=1, num_hidden_layers=1))
assert isinstance(model, lora.PreTrainedModel) and issubclass(CLIPTextModel, lora.PreTrainedModel)
assert not isinstance(torch.nn.Linear(1, 1), lora.PreTrainedModel)
assert single.AutoImageProcessor.from_pretrained == AutoImageProcessor.from_pretrained

import scipy, scipy.stats
assert scipy.stats.norm.cdf(0) == 0.5 and type(scipy.stats) is types.ModuleType
from scipy.integrate import quad
assert round(quad(lambda x: x, 0, 1)[0], 6) == 0.5
import diffusers.models.transformers
from diffusers.models.transformers import FluxTransformer2DModel
from diffusers.models.autoencoders import AutoencoderKL
assert AutoencoderKL is diffusers.AutoencoderKL is toolkit.libraries.AutoencoderKL
import torch._dynamo, torchvision.ops
from torch.nn.attention import flex_attention
assert callable(flex_attention.create_block_mask)
pipeline = diffusers.StableDiffusionControlNetInpaintPipeline
assert issubclass(pipeline, diffusers.DiffusionPipeline)

shape = {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 8}
blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "attention_head_dim": 4}
unet = diffusers.UNet2DConditionModel(**shape, **blocks, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval()
with torch.no_grad():
    inputs = torch.ones(1, 4, 8, 8), torch.tensor(1), torch.ones(1, 2, 8)
    compiled = torch.compile(unet, backend="eager")(*inputs).sample
    assert torch.allclose(compiled, unet(*inputs).sample, atol=1e-5)
print("good")
"""
    assert run(code) == "good\n"


def test_modules_that_are_left_for_later_run_once_for_all_threads(tmp_path):
    """Names, files and specifications are known before; other threads import as always."""
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "__init__.py").write_text(
        "import time\ntime.sleep(0.2)\nprint('run')\nfrom later.part import x\n"
    )
    (tmp_path / "later" / "part.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "plain.py").write_text("print('plain')\n")
    code = f"""
import sys, threading
sys.path.insert(0, {str(tmp_path)!r})
from toolkit.imports import _deferred
with _deferred(["later", "broken", "plain"]):
    import later.part, broken
    import later
    thread = threading.Thread(target=lambda: __import__("plain"))
    thread.start(); thread.join()
assert later.__name__ == "later" and later.__file__ and later.__spec__
print("asked")
found = []
threads = [threading.Thread(target=lambda: found.append(later.x)) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert found == [1] * 4
for _ in range(2):
    try:
        broken.name
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert run(code).split() == ["plain", "asked", "run", "no_such_module", "no_such_module"]
