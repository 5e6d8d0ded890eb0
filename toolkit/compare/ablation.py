"""Plans an ablation: our settings, and variants of them with one change each."""

from __future__ import annotations

from typing import Any, get_args

from toolkit.compare.config import OURS, AblateConfig, Variant
from toolkit.compare.methods import EditMethod
from toolkit.compare.plan import Plan
from toolkit.edit.config import EditConfig
from toolkit.edit.resolved import ResolvedEdit
from toolkit.errors import ToolkitError, UsageError

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "cross-frame": ("motion", {"reference_frames": "first+middle"}),
    "ion": ("masking", {"normalisation": "ion"}),
    "ion-ring": ("masking", {"normalisation": "ion-ring"}),
    "adain": ("masking", {"normalisation": "adain"}),
    "no-normalisation": ("masking", {"normalisation": "none"}),
    "masks-on": ("masking", {"masks": "on"}),
    "masks-off": ("masking", {"masks": "off"}),
    "papers-motion-layers": ("motion", {"motion_layers": "paper"}),
    "all-motion-layers": ("motion", {"motion_layers": "all"}),
    "no-motion": ("motion", {"motion_layers": "none"}),
}
"""Variant -> the group of settings, and the change in it."""


def plan_ablation(config: AblateConfig) -> Plan:
    """Plan our settings, and each variant that differs from them.

    Raises:
        UsageError: a named variant equals our settings.
        ToolkitError: as for `toolkit.edit.edit_video`.
    """
    base = config.edit(config.remover)
    ours = EditMethod(base)
    plan = Plan({OURS: ours})
    for name in config.variants if config.variants is not None else get_args(Variant):
        group, change = CHANGES[name]
        changed = base.model_copy(update={group: getattr(base, group).model_copy(update=change)})
        try:
            method = EditMethod(EditConfig.model_validate(changed.model_dump()))
            if _effect(method.resolved) == _effect(ours.resolved):
                raise UsageError(f"{name} equals the settings of {OURS}")
            plan.methods[name] = method
        except ToolkitError as error:
            if config.variants is not None:
                raise
            plan.left_out[name] = str(error)
    return plan


def _effect(resolved: ResolvedEdit) -> tuple[Any, ...]:
    """The settings that variants change; whether masks are searched for at all follows from them."""
    masking = resolved.masking.model_dump(exclude={"finds_masks"})
    return resolved.motion, masking, [remover.normalisation for remover in resolved.removers]
