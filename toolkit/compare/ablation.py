"""Plans an ablation: our settings, and variants with one of them changed."""

from __future__ import annotations

from typing import Any, get_args

from toolkit.compare.config import OURS, AblateConfig, Variant
from toolkit.compare.methods import EditMethod
from toolkit.compare.plan import Plan
from toolkit.edit.config import EditConfig
from toolkit.edit.settling import settle
from toolkit.errors import ToolkitError, UsageError
from toolkit.registry import load_task

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "cross-frame": ("motion", {"reference_frames": "first+middle"}),
    "ion": ("masking", {"normalisation": "ion"}),
    "adain": ("masking", {"normalisation": "adain"}),
    "no-normalisation": ("masking", {"normalisation": "none"}),
    "masks-on": ("masking", {"masks": "on"}),
    "masks-off": ("masking", {"masks": "off"}),
    "all-motion-layers": ("motion", {"removed_motion_layers": []}),
    "no-motion": ("motion", {"motion": False}),
}
"""Variant -> the group of settings, and the change in it."""


def plan_ablation(config: AblateConfig) -> Plan:
    """Plan ours, and each variant that differs from it.

    Raises:
        UsageError: a named variant equals our settings, or needs a motion adapter that the backbone lacks.
        ToolkitError: as for `toolkit.edit.edit_video`.
    """
    task = load_task(config.task, config.options)
    base = config.edit(config.remover)
    _, spec = settle(base)
    adapter = spec.motion_adapter is not None
    plan = Plan({OURS: EditMethod(base)})
    for name in config.variants if config.variants is not None else get_args(Variant):
        group, change = CHANGES[name]
        changed = base.model_copy(update={group: getattr(base, group).model_copy(update=change)})
        try:
            if group == "motion" and "reference_frames" not in change and not adapter:
                raise UsageError(f"{name} needs a motion adapter, and the backbone {spec.name} has none")
            if _effect(changed, adapter, task.exact_mask) == _effect(base, adapter, task.exact_mask):
                raise UsageError(f"{name} equals the settings of {OURS}")
            plan.methods[name] = EditMethod(EditConfig.model_validate(changed.model_dump()))
        except ToolkitError as error:
            if config.variants is not None:
                raise
            plan.left_out[name] = str(error)
    return plan


def _effect(config: EditConfig, adapter: bool, exact: bool) -> dict[str, Any]:
    """The settings with `auto` replaced by its meaning: settings with the same effect become equal."""
    values = config.model_dump()
    masking, motion = values["masking"], values["motion"]
    if masking["normalisation"] == "auto":
        masking["normalisation"] = "ion" if masking["masks"] == "off" and exact else "none"
    if not adapter or not motion["motion"]:
        motion |= {"motion": False, "removed_motion_layers": None}
    return values
