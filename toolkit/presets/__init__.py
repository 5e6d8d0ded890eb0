"""Presets: settings of several commands in one flag, kept as files beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from toolkit.files import read_json
from toolkit.registry import load_task_class

PresetName = Literal["paper"]

Stage = Literal["build-dataset", "finetune", "edit"]


class PresetConfig(BaseModel):
    """Base of the settings that a preset can fill; a subclass names the stage whose values it takes."""

    PRESET_STAGE: ClassVar[Stage]

    preset: PresetName | None = Field(
        None,
        description="Settings of the V-LASIK paper in one flag. What the paper states is set, and what it does not do "
        "is left out; your own settings win.",
    )

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, values: Any) -> Any:
        """Put the values over those of their preset, so that Python, a file and flags work alike.

        Raises:
            ToolkitError: there is no such task, or it cannot be used.
        """
        if not isinstance(values, Mapping) or values.get("preset") not in get_args(PresetName):
            return values  # pydantic says what is wrong
        settings = read_preset(values["preset"], cls.PRESET_STAGE)
        task = values.get("task")
        if isinstance(task, str):
            settings["options"] = preset_options(values["preset"], task)
        return over(settings, values)


def read_preset(name: str, stage: Stage) -> dict[str, Any]:
    """The settings of a stage in a preset, without options of tasks."""
    settings: dict[str, Any] = read_json(Path(__file__).with_name(f"{name}.json"))[stage]
    return settings


def preset_options(name: str, task: str) -> dict[str, Any]:
    """The options of a task in a preset, which the task itself brings.

    Raises:
        ToolkitError: there is no such task, or it cannot be used.
    """
    return dict(load_task_class(task).presets.get(name, {}))


def over(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preset or recipe with the given ones over them; groups are merged field by field."""
    merged = dict(settings)
    for name, value in given.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        below = merged.get(name)
        merged[name] = over(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged
