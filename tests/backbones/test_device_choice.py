"""Choosing device, dtype and memory format."""

import threading

import pytest
import torch

from toolkit.device import DTYPES, ComputeDevice, available_devices, choose_device, choose_device_name, intra_op_threads
from toolkit.errors import UsageError


@pytest.fixture
def cuda(monkeypatch):
    """Pretend that there is a CUDA device of the given compute capability."""

    def pretend(major, minor, count=1):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, minor))

    return pretend


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_cpu(no_accelerator):
    assert available_devices() == ["cpu"]
    assert choose_device() == ComputeDevice("cpu", "float32", True)


def test_half_precision_needs_tensor_cores(cuda):
    cuda(8, 0)
    assert choose_device() == ComputeDevice("cuda:0", "float16", True)
    cuda(7, 0)
    assert choose_device() == ComputeDevice("cuda:0", "float16", True)
    cuda(6, 1)
    assert choose_device() == ComputeDevice("cuda:0", "float32", False)


def test_mps(monkeypatch, no_accelerator):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == ComputeDevice("mps", "float32", False)
    assert choose_device_name("cpu") == "cpu"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_named_dtype_wins(dtype, no_accelerator, cuda):
    assert choose_device(dtype=dtype).dtype == dtype
    cuda(8, 6)
    assert choose_device("cuda", dtype).dtype == dtype


def test_a_named_device_wins(cuda):
    cuda(8, 0, count=2)
    assert choose_device("cpu").device == "cpu"
    assert choose_device("cuda:1").device == "cuda:1"
    assert choose_device("cuda").device == "cuda"


def test_an_unavailable_device_lists_the_available_ones(no_accelerator, cuda):
    with pytest.raises(UsageError, match=r"no device 'cuda' on this machine; choose one of cpu$"):
        choose_device("cuda")
    with pytest.raises(UsageError, match="no device 'gpu'"):
        choose_device_name("gpu")
    cuda(8, 0)
    with pytest.raises(UsageError, match=r"no device 'cuda:1' on this machine; choose one of cuda:0, .*cpu$"):
        choose_device_name("cuda:1")


def test_bad_dtype_and_a_card_without_bfloat16(cuda):
    with pytest.raises(UsageError, match=r"unknown dtype 'float61', did you mean float16\?"):
        choose_device("cpu", "float61")
    cuda(7, 5)
    with pytest.raises(UsageError, match=r"compute capability 7\.5, but bfloat16 needs 8\.0"):
        choose_device(dtype="bfloat16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prepare(dtype):
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.BatchNorm2d(8))
    placed = ComputeDevice("cpu", dtype, True).prepare(module)
    assert placed is module
    assert placed[0].weight.dtype == getattr(torch, dtype)
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert placed[1].num_batches_tracked.dtype == torch.int64


def test_threads_of_an_operation_hold_in_the_block_and_in_threads_that_start_there():
    def seen():
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0], torch.get_num_threads()

    before = torch.get_num_threads()
    with intra_op_threads(3):
        assert seen() == (3, 3)
        with intra_op_threads(None):
            assert seen() == (3, 3)
    assert seen() == (before, before)
