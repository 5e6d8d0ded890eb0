import pytest
import torch

from toolkit.diffusion.frame_store import FrameStore


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_frames_are_read_as_written(dtype):
    store = FrameStore((3, 4, 5), dtype)
    frames = (torch.rand(7, 3, 4, 5) * 200).to(dtype)
    store.write(0, frames[:4])
    store.write(4, frames[4:].clone())
    assert len(store) == 7
    assert torch.equal(store.read(0, 7), frames)
    assert torch.equal(store.read(2, 5), frames[2:5])
    store.write(3, frames[:1])
    assert torch.equal(store.read(3, 4), frames[:1])
    assert store.read(2, 2).shape == (0, 3, 4, 5)
    store.close()


def test_wrong_indices_and_shapes_are_refused():
    store = FrameStore((2,), torch.float32)
    store.write(0, torch.zeros(3, 2))
    with pytest.raises(IndexError):
        store.read(1, 4)
    with pytest.raises(ValueError, match="expected frames"):
        store.write(3, torch.zeros(1, 3))


def test_views_in_other_memory_formats(tmp_path):
    frames = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    store = FrameStore((3, 4, 4), torch.float32, tmp_path)
    store.write(0, frames)
    assert torch.equal(store.read(0, 2), frames)
    assert list(tmp_path.iterdir()) == []
