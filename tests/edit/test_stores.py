"""What an edit keeps on disk for each frame."""

import re
from pathlib import Path

import numpy as np
import torch

from toolkit.diffusion.chunks import Chunk
from toolkit.diffusion.edit_progress import EditProgress
from toolkit.diffusion.stored_clip import StoredClip
from toolkit.edit.removal.stores import Edit, TrackStores

DOCS = Path(__file__).parents[2] / "docs"


def test_masks_are_bits(tmp_path):
    stores = TrackStores(tmp_path, 12)
    wanted = np.random.default_rng(0).integers(0, 2, (5, 12, 12), np.uint8)
    stores.masks(0).reserve(6)
    stores.masks(0).write(1, wanted)
    assert np.array_equal(stores.masks(0).read(1, 6), wanted) and not stores.masks(0).read(0, 1).any()
    stores.close()
    assert (tmp_path / "masks-0").stat().st_size == 6 * 12 * 12 // 8


def test_only_what_is_pasted_takes_room(tmp_path):
    stores = TrackStores(tmp_path, 512)
    stores.reserve(0, 4)
    edit = Edit(np.full((1, 512, 512, 3), 9.0), np.zeros((1, 512, 512)), np.zeros((1, 512, 512)))
    edit.weights[:, 200:264, 100:400], edit.replaced[:, 210:250, 100:400] = 1.0, 0.5
    for k in range(4):
        stores.write_edit(0, k, edit)
    found = stores.edit(0, 3, 4)
    assert np.array_equal(found.weights, edit.weights)
    assert np.array_equal(np.rint(255 * found.replaced), np.rint(255 * edit.replaced))
    assert (found.colours[:, 195:269] == 9).all(), "interpolation looks at some pixels around those that are pasted"
    stores.close()
    used = sum((tmp_path / name).stat().st_blocks * 512 for name in ("colours-0", "paste-weights-0", "replaced-0"))
    assert used < 4 * 0.3 * 5 * 512 * 512


def test_the_documentation_says_how_much(tmp_path):
    """Bytes of a frame of 512 pixels, one remover, Stable Diffusion 1.5 in float16, if all of the crop is pasted."""
    stores = TrackStores(tmp_path, 512)
    stores.reserve(0, 1)
    stores.crops.reserve(1)
    stores.removed(0).reserve(1)
    stores.close()
    (tmp_path / "clip").mkdir()
    progress = EditProgress(tmp_path / "clip", keep=True)
    clip = StoredClip(progress, (512, 512, 3), (4, 64, 64), torch.float16, masked=True)
    chunk = Chunk(np.zeros((1, 512, 512, 3), np.uint8), np.zeros((1, 512, 512), bool))
    clip.add(torch.from_numpy(chunk.shown), torch.zeros(1, 4, 64, 64), chunk.masks, 8)
    clip.write_noise(0, torch.zeros(1, 4, 64, 64))
    for name in ("latents-0", "latents-1"):
        progress.store(name, (4, 64, 64), torch.float16).write(0, torch.zeros(1, 4, 64, 64))
    clip.flush()
    clip.close()
    total = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    said = float(re.search(r"a frame of the longest shot needs at most ([\d.]+) MB", (DOCS / "edit.md").read_text())[1])
    assert total / 1e6 <= said < total / 1e6 + 0.1
