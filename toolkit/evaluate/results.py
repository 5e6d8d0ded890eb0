"""What an evaluation found: the models of `report.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


def portable(value: Any) -> Any:
    """With escapes for the bytes of paths that are no UTF-8, which JSON cannot hold."""
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
    """One measure, and how tables print it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="key in the results, such as `warp_error`")
    label: str = Field(description="heading, such as `E_warp`")
    unit: float = Field(1.0, gt=0, description="tables print values in it: 1e-4 prints 0.00036 as 3.6")
    suffix: str = Field("", description="unit of measurement after it, such as dB")
    digits: int = Field(1, ge=0, description="decimals that tables print")
    better: Literal["higher", "lower"] = "higher"
    description: str = Field(description="one sentence: what it is, and of what it is the mean")


class VideoResult(BaseModel):
    """One edited video."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    name: str = Field(description="of the original, below its folder")
    original: Text = ""
    edited: Text = ""
    frames: int = 0
    frames_without_face: int = 0
    values: dict[str, float | None] = Field(
        default_factory=dict,
        description="the measures by column; null: could not be measured; in JSON infinite ones are texts",
    )
    per_frame: dict[str, list[float | None]] = Field(
        default_factory=dict, description="the same for each frame; of consecutive pairs the value is at the second"
    )
    times: list[float] = Field(default_factory=list, description="presentation times in seconds")
    notes: list[Text] = Field(default_factory=list, description="what a reader should know, in sentences")
    failed: Text | None = Field(None, description="why it could not be measured, a sentence")


class MethodResult(BaseModel):
    """All videos of one method."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    name: str
    videos: list[VideoResult]


class Mean(BaseModel):
    """A measure over the videos of a method."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    value: float | None
    low: float | None = Field(None, description="95 % confidence interval, by bootstrap over videos; null below two")
    high: float | None = None
    videos: int = Field(description="videos in which it could be measured")


class Evaluation(BaseModel):
    """A finished evaluation: `report.json`."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    columns: list[Column]
    methods: list[MethodResult]
    tools: dict[str, Text] = Field(description="what measured: fidelity, identity, flow, analyser")
    means: dict[str, dict[str, Mean]] = Field(description="method -> column -> mean over its videos")
    notes: list[Text] = Field(default_factory=list)
    config: Annotated[dict[str, Any], AfterValidator(portable)] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
