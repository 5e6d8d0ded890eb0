"""Counts the arithmetic of the networks in an edit; run as a script with the toolkit to measure on its path.

    python counting.py RESULT.json INPUT OUTPUT [ARGUMENT ...]

The last arguments are those of `toolkit edit`. Multiplications and additions count as two operations.
"""

import json
import sys
import threading
from collections import Counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from toolkit.cli import main


class Counting(threading.local):
    """The outermost network that runs in a thread, and the counter of its operations."""

    depth = 0
    counter = None


def count(arguments: list[str]) -> tuple[int, dict[str, float]]:
    """Run `toolkit` and return its exit code, and GFLOP by class of the outermost networks."""
    here, lock, total = Counting(), threading.Lock(), Counter()

    def before(module, _):
        if here.depth == 0:
            here.counter = FlopCounterMode(display=False)
            here.counter.__enter__()
        here.depth += 1

    def after(module, _, __):
        here.depth -= 1
        if here.depth == 0:
            here.counter.__exit__(None, None, None)
            with lock:
                total[type(module).__name__] += here.counter.get_total_flops() / 1e9

    hooks = [
        torch.nn.modules.module.register_module_forward_pre_hook(before),
        torch.nn.modules.module.register_module_forward_hook(after, always_call=True),
    ]
    try:
        code = main(arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return code, dict(total)


if __name__ == "__main__":
    result, *arguments = sys.argv[1:]
    code, networks = count(["edit", *arguments])
    if code:
        sys.exit(code)
    with open(f"{arguments[1]}.json", encoding="utf-8") as stream:
        frames = len(json.load(stream)["frames"])
    with open(result, "w", encoding="utf-8") as stream:
        json.dump({"frames": frames, "networks": networks}, stream)
