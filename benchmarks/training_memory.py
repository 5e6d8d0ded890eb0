"""The memory that finetuning needs with Stable Diffusion 1.5, computed from shapes: no GPU and no weights are used.

python -m benchmarks.training_memory [--batch-size 8] [--size 512]
"""

from __future__ import annotations

import argparse

import torch

from toolkit.finetune.memory import GIB, training_memory

SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8}
"""Settings of SD 1.5's UNet and ControlNets that differ from the defaults of diffusers' classes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    args = parser.parse_args()
    print("| trains | number format | checkpointing | models | gradients and moments | step | total |")
    print("|---|---|---|---|---|---|---|")
    for rank in (None, 16):
        for dtype in (torch.float32, torch.bfloat16):
            for checkpointing in (False, True):
                found = training_memory(
                    SD15,
                    SD15,
                    batch=args.batch_size,
                    latents=(4, args.size // 8, args.size // 8),
                    tokens=77,
                    dtype=dtype,
                    checkpointing=checkpointing,
                    lora_rank=rank,
                )
                trains = "all" if rank is None else f"rank {rank}"
                parts = (found.models, found.learning, found.step, found.total)
                figures = " | ".join(f"{part / GIB:.1f}" for part in parts)
                name, kept = str(dtype).removeprefix("torch."), "yes" if checkpointing else "no"
                print(f"| {trains} | {name} | {kept} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
