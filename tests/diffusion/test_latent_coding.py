"""A VAE works on a few frames at a time: with the same result, and in the memory of a small card."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toolkit.diffusion import latent_coding
from toolkit.diffusion.checks import OutOfMemory, is_out_of_memory
from toolkit.diffusion.latent_coding import decoded, encoded, frames_at_once
from toolkit.errors import ToolkitError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4, **kinds).eval()


def frames(count):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 32, 48, 3), np.uint8))


@pytest.mark.parametrize("sample", [True, False])
def test_few_frames_at_a_time_give_the_result_of_all_at_once(vae, monkeypatch, sample):
    sizes = []

    def counted(function):
        def count(x, *more, **options):
            sizes.append(len(x))
            return function(x, *more, **options)

        return count

    for name in ("encode", "decode"):
        monkeypatch.setattr(vae, name, counted(getattr(vae, name)))
    found = []
    for at_once in (5, 2):
        monkeypatch.setattr(latent_coding, "PIXELS", at_once * 32 * 48 + 7)
        latents = encoded(vae, frames(5), CPU, torch.Generator().manual_seed(3), sample=sample)
        found.append((latents, decoded(vae, latents, CPU)))
    assert sizes == [5, 5, 2, 2, 1, 2, 2, 1]
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert np.abs(found[0][1].astype(int) - found[1][1]).max() <= 1


class Live(TorchDispatchMode):
    """Bytes of the tensors that live at once, at most."""

    def __init__(self):
        super().__init__()
        self.peak, self._held = 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._held[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._held = {key: held for key, held in self._held.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._held.values()))
        return made


@pytest.mark.parametrize(("dtype", "gib"), [(torch.float16, 1.0), (torch.float32, 2.0)])
def test_stable_diffusions_vae_fits_beside_its_networks_at_512(dtype, gib):
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    vae = vae.to(dtype)
    count = frames_at_once(512, 512)
    for function, shape in ((vae.encode, (count, 3, 512, 512)), (vae.decode, (count, 4, 64, 64))):
        with torch.no_grad(), Live() as live:
            function(torch.zeros(shape, dtype=dtype, device="meta"))
        assert live.peak < gib * 2**30, f"{live.peak / 2**30:.2f} GiB"
    assert frames_at_once(2048, 2048) == 1


def test_allocations_that_fail_are_told_from_other_errors(vae, monkeypatch):
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):
        assert is_out_of_memory(error)

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(vae, "encode", fail)
        with pytest.raises(OutOfMemory, match="encode 3 frames of 48x32 pixels with the VAE") as raised:
            encoded(vae, frames(3), CPU)
        assert raised.value.stage == "vae" and isinstance(raised.value, ToolkitError)
    for error in (RuntimeError("size mismatch"), ValueError("out of memory")):
        assert not is_out_of_memory(error)
