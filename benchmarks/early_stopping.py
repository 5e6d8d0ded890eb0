"""Whether early stopping ends at a knee and not by chance: trains beyond it on imperfect pairs, and resamples them.

python -m benchmarks.early_stopping --data DATASET [--steps 160] [--region 256 128] [--backbone nano]

DATASET has inpainted pairs of its backbone's resolution, for example by `toolkit build-dataset --task glasses` on clips
of people with glasses. The training does not stop; what early stopping would keep is computed from its validations.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.finetune import FinetuneConfig, finetune
from toolkit.finetune.early_stopping import EarlyStopping
from toolkit.finetune.measures import Measures
from toolkit.finetune.trials import Trials

PARTS = ("blur", "agreement", "outside", "eye_holes")
RESAMPLES = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone", default="nano")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--every", type=int, default=10, help="steps between two validations")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--samples", type=int, default=12, help="held-out pairs")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--region", type=int, nargs=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    each: dict[int, tuple[Measures, ...]] = {}
    _record(each, args.every)
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            FinetuneConfig.model_validate(
                {
                    "data": [args.data],
                    "output": Path(folder) / "remover",
                    "backbone": args.backbone,
                    "region": args.region,
                    "max_train_steps": args.steps,
                    "checkpointing_steps": args.steps,
                    "report_to": "none",
                    "seed": args.seed,
                    "optimisation": {"train_batch_size": args.batch_size, "learning_rate": args.learning_rate},
                    "validation": {
                        "validation_steps": args.every,
                        "validation_samples": args.samples,
                        "early_stopping": False,
                    },
                }
            )
        )
    print("| step | removal | artefact | blur | agreement | outside | eye holes | score | score with all four |")
    print("|---|---|---|---|---|---|---|---|---|")
    for step, measures in each.items():
        removal, artefact = _means(measures, "removal", "artefact")
        parts = _means(measures, *PARTS)
        figures = (removal, artefact, *parts, removal - artefact, removal - float(np.nanmean(parts)))
        print(f"| {step} | {' | '.join(f'{value:.3f}' for value in figures)} |")
    steps = list(each)
    kept = _kept(each, range(args.samples))
    dice = np.random.default_rng(args.seed)
    count = len(each[steps[0]])
    drawn = [_kept(each, dice.integers(count, size=count)) for _ in range(RESAMPLES)]
    close = np.mean([abs(steps.index(one) - steps.index(kept)) <= 1 for one in drawn])
    low, high = np.percentile(drawn, (5, 95))
    print(f"kept: step {kept}; of {RESAMPLES} resamples of the held-out pairs, {close:.0%} keep that validation or a")
    print(f"neighbour; nine in ten keep a step from {low:.0f} to {high:.0f}")
    return 0


def _record(each: dict[int, tuple[Measures, ...]], every: int) -> None:
    """Keep the measures of each pair in each validation."""
    run = Trials.run

    def recorded(self: Trials, controlnet: Any) -> Any:
        trial = run(self, controlnet)
        each[len(each) * every] = trial.each
        return trial

    Trials.run = recorded  # type: ignore[method-assign]


def _means(measures: Sequence[Measures], *names: str) -> list[float]:
    return [float(np.nanmean([getattr(one, name) for one in measures])) for name in names]


def _kept(each: dict[int, tuple[Measures, ...]], pairs: Sequence[int] | np.ndarray | range) -> int:
    """The step that early stopping keeps if these are the held-out pairs."""
    options = FinetuneConfig(data=[Path()], output=Path()).validation
    stopping = EarlyStopping(options.patience, options.min_delta, options.artefact_weight)
    for step, measures in each.items():
        chosen = [measures[number] for number in pairs if number < len(measures)]
        stopping.update(step, *_means(chosen, "removal", "artefact"))
        if stopping.stop:
            break
    assert stopping.best_step is not None
    return stopping.best_step


if __name__ == "__main__":
    raise SystemExit(main())
