"""Step 3 of the method: a video and removers in, the video without the attributes out."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from toolkit.edit.check import comparison_name, preview_name, report_name
from toolkit.edit.config import EditConfig
from toolkit.edit.report import EditObserver, EditReport, FaceReport, FrameReport, Status, Warned
from toolkit.edit.workplace import Workplace
from toolkit.errors import ContractError, InputError, MissingExtra, ToolkitError, UsageError
from toolkit.interruption import termination_interrupts
from toolkit.versions import installed

_LIBRARIES = (
    *("vlasik-toolkit", "accelerate", "av", "diffusers", "mediapipe", "numpy", "opencv-contrib-python"),
    *("pyfacer", "scipy", "torch", "transformers"),
)

_PLACES = {
    "task": True,
    "remover": True,
    "backbone": True,
    "work_dir": True,
    "writing": {"c2pa_certificate", "c2pa_key"},
}
"""Settings that name places on this machine; what lay there is in the report by its checksums."""


def edit_video(
    source: str | Path, target: str | Path, config: EditConfig, observer: EditObserver | None = None
) -> EditReport:
    """Remove attributes from a video (V-LASIK, section 4.3); everything else stays as it was.

    Memory is bounded by a window of frames; intermediate files of the longest shot lie on disk, about 3 MB for each
    frame and face of 512 pixels. The result appears when it is complete, with ``TARGET.json`` beside it; a run that was
    killed goes on when it is repeated.

    Args:
        source: a video of any kind that FFmpeg reads.
        target: the new video: ``.mp4``, ``.mov`` or ``.mkv``.
        config: removers and settings.
        observer: is told how it goes.

    Returns:
        What was done to each frame. Where nothing was to be edited its `outcome` says so, and the video was copied.

    Raises:
        UsageError: source and target are one file, the container cannot hold the streams, or a setting is wrong.
        InputError: the video, a remover or the backbone is unusable, or they do not fit each other.
        MissingExtra: weights or a library are not here.
        ToolkitError: a model gave NaN, or memory or the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    return Editor(config).edit(Path(source), Path(target), observer or EditObserver())


class Editor:
    """Edits videos, one after the other, with models that are loaded once.

    Raises:
        ToolkitError: as for `edit_video`, of what does not depend on the video.
    """

    def __init__(self, config: EditConfig):
        from toolkit.backbones import identity
        from toolkit.edit.masking import make_maskers
        from toolkit.edit.models import EditModels
        from toolkit.edit.provenance import check_signer

        check_signer(config.writing)
        self.models = EditModels(config)
        self.config = self.models.config
        self.maskers = make_maskers(self.config, self.models.removers)
        self.backbone = identity(self.models.spec, self.models.parts)
        self._analysers: dict[int, Any] = {}

    def edit(self, source: Path, target: Path, observer: EditObserver) -> EditReport:
        """Edit one video; see `edit_video`."""
        from toolkit.edit.check import check_target
        from toolkit.files import sha256_of
        from toolkit.video import probe

        target = preview_name(target) if self.config.writing.preview else target
        probe(source)
        check_target(source, target, self.config.writing)
        try:
            digest = sha256_of(source)
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror}") from error
        parent = self.config.work_dir or target.parent
        document = self._document(digest)
        with termination_interrupts(), Workplace(parent / f".{target.name}.edit", document) as place:
            job = _Job(self, source, target, digest, place, observer)
            try:
                with job.disk_errors():
                    report = job.run()
            except (UsageError, InputError, MissingExtra, ContractError):
                place.done()  # repeating it as it is would end in the same way
                raise
            place.done()
        observer.finished(report, target)
        return report

    def finished(self, source: Path, target: Path) -> EditReport | None:
        """The report of an earlier run that made `target` from the same video with the same settings; None if none."""
        from toolkit.files import sha256_of

        target = preview_name(target) if self.config.writing.preview else target
        path = report_name(target)
        if not (target.is_file() and path.is_file()):
            return None
        try:
            report = EditReport.model_validate_json(path.read_bytes())
            same = report.fingerprint == self.fingerprint(sha256_of(source))
        except (OSError, ValidationError):
            return None
        if not same or (report.comparison is not None and not comparison_name(target).is_file()):
            return None
        return report

    def fingerprint(self, digest: str) -> str:
        """sha256 of all that decides the output."""
        output = self.config.writing.model_dump(mode="json")
        text = json.dumps([self._document(digest), output], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def analyser(self, max_faces: int) -> Any:
        """The analyser that follows so many faces; built once."""
        from toolkit.faces import create_analyser

        if max_faces not in self._analysers:
            region = self.config.region
            weights = {name: getattr(region, name) for name in ("detector_file", "parser_file", "aligner_file")}
            extra = {"device": self.config.device} if region.analyser == "facer" else {}
            self._analysers[max_faces] = create_analyser(
                region.analyser, max_faces=max_faces, model_file=region.model_file, **extra, **weights
            )
        return self._analysers[max_faces]

    def _document(self, digest: str) -> dict[str, Any]:
        """What decides the edited faces: a run with the same one may go on with the files of another."""
        return {
            "source": digest,
            "config": self.config.content(),
            "preview": self.config.writing.preview,
            "removers": self.removers(),
            "backbone": self.backbone,
            "placement": vars(self.models.compute),
            "versions": installed(_LIBRARIES),
        }

    def removers(self) -> list[dict[str, Any]]:
        """Name, tasks and checksum of each remover."""
        return [
            {"name": remover.name, "tasks": list(remover.tasks), **remover.origin} for remover in self.models.removers
        ]


@dataclass
class _Job:
    """One video on its way."""

    editor: Editor
    source: Path
    target: Path
    digest: str
    place: Workplace
    observer: EditObserver
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ToolkitError):
                raise
            raise ToolkitError(
                f"the intermediate files in {self.place.root} cannot be written or read: {error.strerror}; check the "
                "disk's free space and access rights, or name another place with --work-dir; the same command goes on"
            ) from error

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - begun

    def run(self) -> EditReport:
        from toolkit.edit.copying import copy_video
        from toolkit.edit.editing import edit_runs
        from toolkit.edit.faces import find_faces, runs_of
        from toolkit.edit.pasting import paste_runs
        from toolkit.video import probe

        config = self.editor.config
        info = probe(self.source)
        preview = config.writing.preview
        total = info.frame_count if preview is None else min(info.frame_count, math.ceil(preview * info.fps))
        with self._timed("finding faces"):
            self.observer.phase("finding faces", total, "frames")
            sightings = find_faces(
                self.source,
                self.editor.analyser(config.region.max_faces),
                config.region,
                self.place.root,
                preview,
                self.observer.advance,
            )
        stop = None if preview is None else len(sightings.times)
        runs = runs_of(sightings)
        with self._timed("editing"):
            done = edit_runs(self.editor, self.source, self.digest, sightings, runs, self.place, self.observer)
        faces: dict[int, list[FaceReport]] = {}
        for run, reports in zip(runs, done):
            for k, report in enumerate(reports.faces):
                faces.setdefault(run.start + k, []).append(report)
        limit = self.editor.config.region.max_turn
        frames = [_frame_report(index, when, faces.get(index, []), limit) for index, when in enumerate(sightings.times)]
        for run, reports in zip(runs, done):
            share = reports.seconds / max(len(run), 1)
            for index in range(run.start, run.stop):
                frames[index].seconds += share
        edited = any(frame.status == "edited" for frame in frames)
        comparison, signed = None, False
        with self._timed("writing"):
            if edited or stop is not None:
                comparison, signed = paste_runs(
                    self.editor, self.source, self.target, sightings, runs, self.place, stop, frames, self.observer
                )
            else:
                copy_video(self.source, self.target)
        report = self._report(frames, [warned for reports in done for warned in reports.warnings], sightings)
        report.comparison, report.signed = comparison, signed
        self._write(report)
        return report

    def _report(self, frames: list[FrameReport], warned: list[Warned], sightings: Any) -> EditReport:
        counts = Counter(frame.status for frame in frames)
        config = self.editor.config
        outcome = next((status for status in get_args(Status) if counts[status]), "no face")
        return EditReport(
            fingerprint=self.editor.fingerprint(self.digest),
            source=self.source.name,
            source_sha256=self.digest,
            target=self.target.name,
            outcome=outcome,
            removers=self.editor.removers(),
            backbone=self.editor.backbone,
            config=config.model_dump(mode="json", exclude=_PLACES),
            motion_layers_left_out=self.editor.models.left_out,
            versions=installed(_LIBRARIES),
            seconds={part: round(value, 3) for part, value in self.seconds.items()},
            resumed=self.place.resumed,
            counts={**counts, "small faces": sightings.small, "cuts": len(sightings.cuts)},
            warnings=sorted(warned, key=lambda one: (one.start, one.run)),
            frames=frames,
        )

    def _write(self, report: EditReport) -> None:
        path = report_name(self.target)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(report.model_dump_json(indent=1), encoding="utf-8")
        os.replace(temporary, path)


def _frame_report(index: int, when: float, faces: list[FaceReport], max_turn: float) -> FrameReport:
    status = "no face"
    if any(face.edited > 0 for face in faces):
        status = "edited"
    elif faces:
        status = "no attribute" if any(face.turn <= max_turn for face in faces) else "turned away"
    return FrameReport(index=index, time=round(float(when), 6), status=status, seconds=0.0, faces=faces)
