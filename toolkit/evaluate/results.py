"""Models of `report.json`, the result of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1


def portable(value: Any) -> Any:
    """Escape path bytes that are not UTF-8, which JSON cannot hold."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [portable(one) for one in value]
    if isinstance(value, dict):
        return {key: portable(one) for key, one in value.items()}
    return value


Text = Annotated[str, AfterValidator(portable)]


class Column(BaseModel):
    """A measure, and how tables print it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Key in the results, such as `warp_error`.")
    label: str = Field(description="Heading, such as `E_warp`.")
    unit: float = Field(1.0, gt=0, description="Unit in which tables print values: 1e-4 prints 0.00036 as 3.6.")
    suffix: str = Field("", description="Unit of measurement, such as dB.")
    digits: int = Field(1, ge=0, description="Decimals that tables print.")
    better: Literal["higher", "lower"] = "higher"
    description: str = Field(description="Definition of the measure and its mean, without a full stop.")


class VideoResult(BaseModel):
    """One edited video."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    name: str = Field(description="Name of the original, relative to its folder.")
    original: Text = ""
    edited: Text = ""
    frames: int = 0
    frames_without_face: int = 0
    values: dict[str, float | None] = Field(
        default_factory=dict,
        description="Column -> value; null if it could not be measured. In JSON, infinite values are texts.",
    )
    per_frame: dict[str, list[float | None]] = Field(
        default_factory=dict,
        description="Column -> a value for each frame. Measures of two frames are stored at the second.",
    )
    times: list[float] = Field(default_factory=list, description="Presentation times in seconds.")
    notes: list[Text] = Field(default_factory=list, description="Remarks for readers of the report.")
    failed: Text | None = Field(None, description="Why the video could not be measured; null if it was.")


class MethodResult(BaseModel):
    """All videos of one method."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    name: str
    videos: list[VideoResult]


class Mean(BaseModel):
    """Mean of a measure over the videos of a method."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    value: float | None
    low: float | None = Field(
        None,
        description="Lower end of the 95 % interval, by bootstrap over videos; null below two videos.",
    )
    high: float | None = None
    videos: int = Field(description="Videos in which it could be measured.")


class Evaluation(BaseModel):
    """A finished evaluation: `report.json`."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    columns: list[Column]
    methods: list[MethodResult]
    tools: dict[str, Text] = Field(description="Tool behind each measure: fidelity, identity, flow, analyser.")
    means: dict[str, dict[str, Mean]] = Field(description="Method -> column -> mean over its videos.")
    notes: list[Text] = Field(default_factory=list)
    config: Annotated[dict[str, Any], AfterValidator(portable)] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
