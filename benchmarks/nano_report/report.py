"""The order of the report's stages, and what each depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.against import HERE
from benchmarks.nano_report import bare, clips, cost, data, drawing, measures, page, real, variants
from benchmarks.nano_report.figures import figures, grouped
from benchmarks.nano_report.material import Material
from benchmarks.nano_report.stages import Stages, digest, digest_of_code, folder_digest, source_digest
from benchmarks.nano_report.variants import Variant
from toolkit.evaluate.config import EvaluateConfig
from toolkit.files import write_json

PARTS = ("made", "real", "bare", "cost", "sheets", "page")
"""What can be run: made test videos, real clips with glasses, bare people, cost, pictures, and the page."""

SETS = ("london", "synthetic")

FULL = "london"
"""The set that `toolkit evaluate` measures in full, also through the codec. The others are measured by PSNR alone."""

TELEA, UNEDITED, BLANK = "Telea, true mask", "unedited", "blank"

BARE_SECONDS = 1.0
"""Length of each clip of bare people."""

EVERY = 4
"""Every this many frames, detail is measured."""


@dataclass
class Run:
    """What a report is made of.

    Attributes:
        material: portraits and clips.
        work: folder of everything that is made.
        variants: ways to edit; the first is "before", the last "now".
        size: of the test data.
        london: number of London videos to use; all if None.
        seconds: length of each real clip with glasses.
        quick: use a few frames only.
        sources: source folder of each variant; set by `write`.
    """

    material: Material
    work: Path
    variants: list[Variant]
    size: data.Size
    london: int | None = None
    seconds: float = 2.0
    quick: bool = False
    sources: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.stages = Stages(self.work / "results")
        self._digests: dict[Path, str] = {}

    def identity(self, variant: Variant) -> dict[str, Any]:
        """What decides the edits of a variant."""
        source = self.sources[variant.name]
        if source not in self._digests:
            self._digests[source] = source_digest(source)
        return {"source": self._digests[source], "arguments": list(variant.arguments)}

    def edited(self, variant: Variant, where: str, videos: Path, task: str, *options: str) -> dict[str, str]:
        """Edit a folder of videos, unless that was done; returns what happened to each."""
        return self.stages.run(
            f"{where}/{variant.folder}-edits",
            self.identity(variant) | {"videos": folder_digest(videos), "task": task, "options": list(options)},
            lambda: variants.edit(
                self.sources[variant.name], variant, videos, self.work / where / variant.folder, task, *options
            ),
        )

    def measured(self, name: str, where: str, videos: Path, edited: Path, task: str, target: Path | None) -> Any:
        """Measure one method, so that the others are kept when it changes; see `measures.measured`."""
        arcface = self.material.arcface
        config = EvaluateConfig(
            original=videos,
            edited=[f"{name}={edited}"],
            target=target,
            task=task,
            output=self.work / "evaluations" / where / edited.name,
            clips=False,
            arcface=arcface,
            identity=arcface is not None,
            workers=1,
        )
        inputs: dict[str, Any] = {"toolkit/evaluate": digest_of_code(HERE / "toolkit/evaluate")}
        if task == "glasses":
            inputs["segmenter"] = segmenter_digest()
        inputs |= {"edited": folder_digest(edited), "original": folder_digest(videos)}
        inputs |= {"target": target and folder_digest(target)}
        inputs |= {"identity": arcface and digest([arcface], arcface.parent)}
        return self.stages.run(f"{where}/{edited.name}-measures", inputs, lambda: measures.measured(config))

    def where(self, name: str, task: str) -> str:
        """The folder of a set and task, below the work folder for edits, and below ``sets`` for videos."""
        few = name == "london" and self.london is not None
        return f"{name}-{self.london}/{task}" if few else f"{name}/{task}"

    def edits(self, where: str) -> dict[str, Path]:
        """Folder of the edits of each variant."""
        return {variant.name: self.work / where / variant.folder for variant in self.variants}


def segmenter_digest() -> str:
    """`digest` of the weights that measure glasses."""
    folder = HERE / "attributes" / "glasses"
    return digest(list(folder.rglob("*.safetensors")), folder)


def write(run: Run, parts: Sequence[str], target: Path, pictures: Path) -> None:
    """Run the parts and write the page.

    Args:
        run: what is measured.
        parts: some of `PARTS`. Those that are left out are not measured, and the page says so.
        target: the page.
        pictures: folder of its pictures.
    """
    work: dict[str, Callable[[Run], Any]] = {"made": made, "real": worn, "bare": unworn, "cost": costs}
    with variants.sources(run.variants) as run.sources:
        results = {part: work[part](run) for part in work if part in parts}
    if "made" in results:
        add_groups(run, results["made"])
    found = {variant.name: figures(results, variant.name) for variant in run.variants}
    write_json(run.work / "results.json", {"figures": found, "results": results})
    if "sheets" in parts:
        drawing.draw(run, results, pictures)
    if "page" in parts:
        page.write(run, results, found, target, pictures)


def made(run: Run) -> dict[str, Any]:
    """Measure the edits of the made videos: set -> task -> results of `_made`.

    The attributes are drawn by the revision of the first variant, so that its figures are those of earlier reports.
    """
    sets, first = run.work / "sets", run.variants[0]
    run.stages.run("people", asdict(run.size), lambda: data.people(run.material, sets, run.size))
    found: dict[str, Any] = {}
    for name in SETS:
        found[name] = {}
        for task in data.TASKS:
            folder, where = sets / name, run.where(name, task)
            people = run.stages.run(
                f"{name}/{task}-videos",
                {"people": folder_digest(folder / "people"), "drawn by": run.identity(first)["source"]},
                partial(data.videos, run.sources[first.name], folder, task),
            )
            videos = folder / task
            if where != f"{name}/{task}":
                videos = data.evenly(videos, run.london or 1, sets / where)
            found[name][task] = _made(run, where, videos, task) | {"people": people}
    return found


def _made(run: Run, where: str, videos: Path, task: str) -> dict[str, Any]:
    """Edit the videos of a set by every variant, and measure them.

    Returns:
        ``lossless``: method -> measures; ``codec``: the same through the codec for `FULL`; ``outcomes``: variant ->
        video -> what happened to it; ``untouched``: variant -> names of videos.
    """
    source, bare_videos, full = videos / "with", videos / "without", where.startswith(FULL)
    outcomes = {one.name: run.edited(one, where, source, task, *variants.REMOVE_ALL) for one in run.variants}
    filled = run.work / where / "telea"
    run.stages.run(f"{where}/telea-edits", {"videos": folder_digest(videos)}, lambda: variants.telea(videos, filled))
    edits = run.edits(where)
    result: dict[str, Any] = {"outcomes": outcomes, "lossless": {}, "codec": {}}
    for name, path in (edits | {TELEA: filled, UNEDITED: source}).items():
        if full:
            result["lossless"][name] = run.measured(name, where, source, path, task, bare_videos)
        else:
            found = run.stages.run(
                f"{where}/{path.name}-likeness",
                {"edited": folder_digest(path), "videos": folder_digest(videos)},
                partial(measures.likeness, videos, path),
            )
            result["lossless"][name] = {"videos": {name: found}}
    result["untouched"] = {name: variants.untouched(path, videos, outcomes[name]) for name, path in edits.items()}
    for name, path in edits.items() if full else ():
        coded = path.with_name(f"{path.name}-codec")
        run.stages.run(
            f"{where}/{coded.name}",
            {"edited": folder_digest(path)},
            partial(variants.through_codec, path, outcomes[name], coded),
        )
        result["codec"][name] = run.measured(name, where, source, coded, task, bare_videos)
    return result


def add_groups(run: Run, results: dict[str, Any]) -> None:
    """Add the groups of synthetic people to the results: task -> ``groups``: variant -> grouping -> means."""
    portraits = {one.path.stem: one for one in run.material.portraits if one.test and one.set == "synthetic"}
    paths = [one.path for one in portraits.values()]
    tones = run.stages.run(
        "tones",
        {"portraits": digest(paths, run.material.stills)},
        lambda: {name: measures.tone_of(one.path) for name, one in portraits.items()},
    )
    ages = {name: one.age for name, one in portraits.items() if one.age is not None}
    for result in results["synthetic"].values():
        result["groups"] = {variant.name: grouped(result, variant.name, ages, tones) for variant in run.variants}


def worn(run: Run) -> dict[str, Any]:
    """Measure the edits of real people with glasses.

    Returns:
        ``videos``: their names; ``large``: those of videos that count for detail; ``detail``, ``remaining`` and
        ``steadiness``: by video and variant, or by variant and video.
    """
    where = "real/glasses"
    videos = run.work / "sets" / f"real-{run.seconds:g}"
    clips.beginnings(run.material.clips("worn"), videos, run.seconds)
    for variant in run.variants:
        run.edited(variant, where, videos, "glasses", *variants.REMOVE_ALL)
    edits, black = run.edits(where), run.work / where / BLANK
    run.stages.run(f"{where}/{BLANK}", {"videos": folder_digest(videos)}, lambda: clips.blank(videos, black))
    methods = edits | {UNEDITED: videos, BLANK: black}
    found = {
        name: run.measured(name, where, videos, path, "glasses", None)["videos"][name] for name, path in methods.items()
    }
    digests = {name: folder_digest(path) for name, path in edits.items()}
    inputs = {"videos": folder_digest(videos), "segmenter": segmenter_digest()}
    inputs["code"] = digest([HERE / "benchmarks" / "detail.py"], HERE)
    return {
        "videos": sorted(found[UNEDITED]),
        "large": real.large(videos),
        "detail": run.stages.run(
            f"{where}/detail", inputs | digests, lambda: real.details(videos, edits, 1 if run.quick else EVERY)
        ),
        "remaining": {name: real.remaining(found[name], found[BLANK]) for name in edits},
        "steadiness": {name: real.steadiness(found[name], found[UNEDITED]) for name in edits},
    }


def unworn(run: Run) -> dict[str, Any]:
    """Count the frames of bare people that stay unchanged: task -> variant -> kind -> results of `bare.counted`."""
    sets = run.work / "sets"
    seconds = 0.1 if run.quick else BARE_SECONDS
    films, pictures = sets / f"bare-{seconds:g}", sets / "bare-portraits"
    clips.beginnings(run.material.clips("bare")[: 2 if run.quick else None], films, seconds)
    clips.stills(run.material.portraits[: 2 if run.quick else None], pictures)
    tests = {f"{one.set}-{one.path.stem}.mkv" for one in run.material.portraits if one.test}
    result: dict[str, Any] = {}
    for task in data.TASKS:
        result[task] = {variant.name: {} for variant in run.variants}
        for variant in run.variants:
            for videos in (films, pictures):
                where = f"{videos.name}/{task}"
                run.edited(variant, where, videos, task)
                edited = run.work / where / variant.folder
                levels = run.stages.run(
                    f"{where}/{variant.folder}-levels",
                    {"edited": folder_digest(edited), "videos": folder_digest(videos)},
                    partial(bare.levels, videos, edited),
                )
                kinds = result[task][variant.name]
                if videos is films:
                    kinds["clips"] = bare.counted(levels)
                else:
                    kinds["test portraits"] = bare.counted({name: levels[name] for name in levels if name in tests})
                    kinds["all portraits"] = bare.counted(levels)
    return result


def costs(run: Run) -> dict[str, Any]:
    """Measure what edits cost: ``weights``, ``arithmetic`` and ``cpu``, by task and variant."""
    found: dict[str, Any] = {"arithmetic": {}, "cpu": {}}
    found["weights"] = {one.name: cost.weights(run.sources[one.name]) for one in run.variants}
    for task in data.TASKS:
        clip = cost.sample(task, run.work / "sets" / "sample", 4 if run.quick else 16)
        found["arithmetic"][task] = {
            one.name: run.stages.run(
                f"cost/{task}/{one.folder}-arithmetic",
                run.identity(one) | {"clip": clip.name},
                lambda one=one, clip=clip, task=task: cost.per_frame(
                    cost.arithmetic(run.sources[one.name], clip, task, one.arguments)
                ),
            )
            for one in run.variants
        }
        plain = [one for one in run.variants if not one.arguments]
        found["cpu"][task] = run.stages.run(
            f"cost/{task}/cpu",
            {one.name: run.identity(one) for one in plain} | {"quick": run.quick},
            lambda task=task, plain=plain: cost.cpu_times(
                {one.name: run.sources[one.name] for one in plain}, task, 1, run.quick
            ),
        )
    return found
