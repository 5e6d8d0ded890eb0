"""Write a remover with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def tiny_remover(
    folder: str | Path, backbone: str | Path, tasks: Sequence[str] = ("stickers",), resolution: int = 64, seed: int = 0
) -> Path:
    """Write a remover for a tiny backbone in the format of finetuning. Its edits are noise, but deterministic.

    Args:
        folder: where to write the remover.
        backbone: folder written by `tiny_backbone`.
        tasks: names of the tasks that the remover claims to handle.
        resolution: side of its pictures in pixels.
        seed: seed of the weights; removers with other seeds differ.

    Returns:
        The folder.
    """
    import torch
    from diffusers import ControlNetModel

    from toolkit.backbones import describe, identity
    from toolkit.remover import DatasetUse, RemoverRecord, write_remover
    from toolkit.remover.layout import CURVE, GRID

    folder, backbone = Path(folder), Path(backbone)
    controlnet = ControlNetModel.from_pretrained(backbone / "controlnet_tile")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        controlnet.controlnet_mid_block.weight.normal_()
    used = DatasetUse(name="d", task=tasks[0], sha256="0" * 64, pairs=9, clips=3, perfect=True)
    record = RemoverRecord(
        tasks=list(tasks),
        prompts=dict.fromkeys(tasks, "a face"),
        backbone=identity(describe(backbone)),
        resolution=resolution,
        prediction_type="epsilon",
        step=1,
        held_out={},
        stopped="max_train_steps",
        datasets=[used],
        config={},
        versions={},
        licence="",
    )
    write_remover(folder, controlnet.save_pretrained, record, {GRID: b"jpeg", CURVE: b"png"})
    return folder
