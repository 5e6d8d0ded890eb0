"""The figures of the table of aims, from the results of all parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.nano_report import measures, real
from benchmarks.nano_report.aims import worst
from benchmarks.nano_report.data import TASKS, portrait_of


def figures(results: Mapping[str, Any], name: str) -> dict[str, float | None]:
    """The figures of a variant, named as in `aims.AIMS`; those of parts that were left out are missing."""
    found: dict[str, float | None] = {}
    if "made" in results:
        found |= _made(results["made"], name)
    if "real" in results:
        part = results["real"]
        found["detail"] = real.mean({video: part["detail"][video][name]["kept"] for video in part["large"]})
        found["remaining"] = worst(list(part["remaining"][name].values()))
        found["steadiness"] = real.mean(part["steadiness"][name])
    if "bare" in results:
        for task in TASKS:
            kinds = results["bare"][task][name]
            counted = [kinds["clips"], kinds["all portraits"]]
            found[f"{task} bare"] = sum(one["unchanged"] for one in counted) / sum(one["frames"] for one in counted)
    if "cost" in results:
        part = results["cost"]
        found["cpu"] = part["cpu"]["glasses"]["ratios"].get(name)
        found["weights"] = part["weights"][name] / 1e6
        for task in TASKS:
            found[f"{task} arithmetic"] = part["arithmetic"][task][name]["total"]
    return found


def _made(part: Mapping[str, Any], name: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for task in TASKS:
        london, synthetic = part["london"][task], part["synthetic"][task]
        codec, lossless = (london[kind][name]["means"][name] for kind in ("codec", "lossless"))
        values = measures.spread(measures.inside(synthetic["lossless"][name], name))
        found |= {
            f"{task} inside": codec.get(measures.INSIDE),
            f"{task} identity": codec.get("identity_target"),
            f"{task} temporal": lossless.get("temporal_error"),
            f"{task} outside": lossless.get("psnr_outside"),
            f"{task} synthetic": values["mean"],
            f"{task} synthetic worst": values["worst"],
        }
    stickers = part["london"]["stickers"]
    found["untouched"] = len(stickers["untouched"][name]) / len(stickers["outcomes"][name])
    behind = [
        grouping["behind"]
        for task in part["synthetic"].values()
        for grouping in task.get("groups", {}).get(name, {}).values()
    ]
    found["groups"] = worst(behind)
    return found


def grouped(
    result: Mapping[str, Any], name: str, ages: Mapping[str, int], tones: Mapping[str, float]
) -> dict[str, Any]:
    """PSNR inside by age and by skin tone of a task's synthetic people.

    Args:
        result: of the task, with the video of each person in ``people``.
        name: of the variant.
        ages: portrait -> age in years.
        tones: portrait -> individual typology angle in degrees.

    Returns:
        ``age`` and ``skin tone``: as `measures.group_means`.
    """
    values = measures.inside(result["lossless"][name], name)
    people = {video: portrait_of(source) for video, source in result["people"].items()}
    by_age = {video: measures.age_group(ages[who]) for video, who in people.items() if who in ages}
    by_tone = {video: measures.tone_group(tones[who]) for video, who in people.items() if who in tones}
    return {"age": measures.group_means(values, by_age), "skin tone": measures.group_means(values, by_tone)}
