"""Checks a task's own measures against the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from toolkit.errors import ContractError
from toolkit.task import AttributeTask, Measure

_OWN = re.compile(r"(identity|warp_error|temporal_error|lpips|psnr|ssim)(_.*)?")
"""Names reserved for the toolkit's own columns."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def measures_of(task: AttributeTask) -> dict[str, Measure]:
    """Return the measures that a task defines.

    Raises:
        ContractError: they break the contract; the message names the task.
    """

    def refuse(what: str) -> NoReturn:
        raise ContractError(f"the metrics of the task {task.name} break the contract: {what}")

    measures = task.metrics()
    if not isinstance(measures, Mapping):
        refuse(f"`metrics` must return a mapping, found {type(measures).__name__}")
    for name, measure in measures.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            refuse(f"expected a name in lower case with words joined by underscores, found {name!r}")
        if _OWN.fullmatch(name):
            refuse(f"the name {name} is one of the toolkit's own measures; choose another")
        if not isinstance(measure, Measure):
            refuse(f"expected a Measure as {name}, found {type(measure).__name__}")
        if not callable(measure.metric):
            refuse(f"expected a function as the metric of {name}, found {type(measure.metric).__name__}")
        for attribute in ("label", "description"):
            if not isinstance(getattr(measure, attribute), str) or not getattr(measure, attribute):
                refuse(f"expected a text as `{attribute}` of {name}, found {getattr(measure, attribute)!r}")
        if measure.better not in ("higher", "lower"):
            refuse(f"expected `better` of {name} to be higher or lower, found {measure.better!r}")
        if measure.over_faces not in ("sum", "mean"):
            refuse(f"expected `over_faces` of {name} to be sum or mean, found {measure.over_faces!r}")
        if not (isinstance(measure.unit, int | float) and 0 < measure.unit < np.inf):
            refuse(f"expected `unit` of {name} to be a number above 0, found {measure.unit!r}")
        if not isinstance(measure.digits, int) or measure.digits < 0:
            refuse(f"expected `digits` of {name} to be a whole number, 0 or more, found {measure.digits!r}")
    return dict(measures)


def checked_values(values: object, count: int, name: str, task: str) -> np.ndarray:
    """Check the values that a metric returned for `count` frames; returns them as float64 ``[T]``.

    Raises:
        ContractError: they are not floats ``[T]``; the message names task and measure.
    """
    found = f"a {type(values).__name__}"
    if isinstance(values, np.ndarray):
        if values.shape == (count,) and np.issubdtype(values.dtype, np.floating):
            return values.astype(np.float64)
        found = f"{values.dtype} {list(values.shape)}"
    raise ContractError(
        f"the metric {name} of the task {task} breaks the contract: expected floats [{count}], one for each frame, "
        f"found {found}"
    )
