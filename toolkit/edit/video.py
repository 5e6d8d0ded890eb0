"""One video through all steps: find faces, cut them out, mask, remove, paste, write (V-LASIK, section C.2)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from toolkit.edit.config import EditConfig
from toolkit.edit.output.checks import check_target, remove_trials
from toolkit.edit.output.copying import copy_bytes, copy_whole, other_name
from toolkit.edit.output.names import comparison_name, preview_name, report_name
from toolkit.edit.output.pasting import WrittenVideo, write_video
from toolkit.edit.output.patches import PATCHES, PatchPaster, write_patches
from toolkit.edit.output.signing import check_signer
from toolkit.edit.pipelines import ImportAhead
from toolkit.edit.removal.parts import side_by_side
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.removal.stretches import count_windows
from toolkit.edit.report import (
    EditObserver,
    EditReport,
    counts_of,
    frame_reports,
    frames_per_second,
    outcome_of,
    saved_config,
    stage_reports,
)
from toolkit.edit.results import TrackResult, warning_of
from toolkit.edit.review import review_track
from toolkit.edit.session import Session
from toolkit.edit.tracks.crops import Cropper
from toolkit.edit.tracks.sightings import Sightings, find_faces
from toolkit.edit.tracks.track import FaceTrack, SourceVideo, groups_of, tracks_of
from toolkit.edit.workspace import Workspace
from toolkit.errors import ContractError, InputError, MissingExtra, ToolkitError, UsageError
from toolkit.files import derived_path, model_json, readable, remove, sha256_of, sync, write_text
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.video import probe
from toolkit.video.carrying import CarryingPlan
from toolkit.video.notes import OF_SOURCE, VideoNote

RESULT = "result.json"
"""Name of a finished track's result in its folder."""


def edit_video(
    source: str | Path, target: str | Path, config: EditConfig, observer: EditObserver | None = None
) -> EditReport:
    """Remove attributes from a video and leave everything else as it is (V-LASIK, section C.2).

    Memory is bounded by a window of frames. Intermediate files of the longest shot are kept on disk, about 4 MB for
    each frame and face of 512 pixels. The result appears once it is complete, with ``TARGET.json`` beside it.
    Interrupted runs resume when they are repeated.

    Args:
        source: a video of any kind that FFmpeg reads.
        target: the new video: ``.mp4``, ``.mov`` or ``.mkv``.
        config: removers and settings.
        observer: follows the progress.

    Returns:
        What was done to each frame. If there was nothing to edit, the video was copied, and `outcome` says why; if the
        container of `target` cannot hold it, the copy has the source's own suffix, and the report's `target` its name.

    Raises:
        UsageError: source and target are one file, the container cannot hold the streams, or a setting is wrong.
        InputError: the video, a remover or the backbone is unusable, or they do not fit each other.
        MissingExtra: weights are not downloaded, or a library is not installed.
        ToolkitError: a model returned NaN, or memory or the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    return edit_in_session(open_session(config), Path(source), Path(target), observer or EditObserver())


def open_session(config: EditConfig) -> Session:
    """Check the settings and prepare the models; `edit_in_session` then edits one video after the other.

    Raises:
        ToolkitError: as for `edit_video`, for reasons that do not depend on the video.
    """
    check_signer(config.writing)
    return Session(config)


def work_folder(session: Session, target: Path) -> Path:
    """The folder of intermediate files of a result."""
    return target.parent / session.resolved.work_dir / derived_path(target, before=".", after=".edit").name


def edit_in_session(
    session: Session,
    source: Path,
    target: Path,
    observer: EditObserver,
    *,
    carrying: CarryingPlan | None = None,
    copy: Path | None = None,
    exact: bool = False,
) -> EditReport:
    """Edit one of several videos with models that are loaded once; the rest is as for `edit_video`.

    Args:
        carrying: what becomes of the source's other tracks; if None, this is found out.
        copy: where a copy goes if there is nothing to edit. If None, to `target`, or under another suffix.
        exact: write `target` even if there is nothing to edit and its container cannot hold the source unchanged: the
            pictures are then encoded anew.
    """
    config = session.config
    target = preview_name(target) if config.writing.preview else target
    probe(source)
    carrying = check_target(source, target, config.writing, carrying)
    for note in carrying.notes:
        observer.warning(note.sentence)
    try:
        video = SourceVideo(source, sha256_of(source))
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error
    root = work_folder(session, target)
    with termination_interrupts(RESUMES), Workspace(root, session.description(video.digest)) as workspace:
        try:
            with _disk_errors(root):
                remove_trials(target)
                destination = _Destination(target, carrying, copy, exact)
                report, written = _VideoEdit(session, video, destination, workspace, observer).run()
        except (UsageError, InputError, MissingExtra, ContractError):
            workspace.done()  # the same command would fail in the same way
            raise
        workspace.done()
    observer.finished(report, written)
    return report


def finished_report(session: Session, source: Path, target: Path) -> EditReport | None:
    """The report of an earlier run that wrote `target` from the same video with the same settings, if there is one."""
    target = preview_name(target) if session.config.writing.preview else target
    found = earlier_report(session, source, [target])
    return found[0] if found is not None else None


def earlier_report(session: Session, source: Path, targets: Iterable[Path]) -> tuple[EditReport, Path] | None:
    """The report of an earlier run that wrote one of `targets` from the same video with the same settings, and which.

    Args:
        targets: paths that the result may have.
    """
    fingerprint: str | None = None
    for target in targets:
        path = report_name(target)
        if not (target.is_file() and path.is_file()):
            continue
        try:
            fingerprint = fingerprint or session.fingerprint(sha256_of(source))
            report = EditReport.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if report.fingerprint != fingerprint or report.source != readable(source.name):
            continue
        if report.comparison is None or comparison_name(target).is_file():
            return report, target
    return None


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, ToolkitError):
            raise
        raise ToolkitError(
            f"the intermediate files in {root} cannot be written or read: {error.strerror}; check the disk's free "
            "space and access rights, or name another folder with --work-dir; the same command resumes"
        ) from error


@dataclass(frozen=True)
class _Destination:
    """Where the result goes; as the arguments of `edit_in_session`."""

    target: Path
    carrying: CarryingPlan
    copy: Path | None
    exact: bool


class _VideoEdit:
    """The steps of one video, in their order."""

    def __init__(
        self,
        session: Session,
        source: SourceVideo,
        destination: _Destination,
        workspace: Workspace,
        observer: EditObserver,
    ):
        self._session, self._source, self._destination = session, source, destination
        self._target = destination.target
        self._workspace, self._observer = workspace, observer
        self._resolved, self._writing, self._clock = session.resolved, session.config.writing, session.clock
        self._notes: tuple[VideoNote, ...] = destination.carrying.notes
        self._seconds: dict[str, float] = {}
        self._windows = 0

    def run(self) -> tuple[EditReport, Path]:
        """Returns the report and the path of the new video."""
        self._clock.reset()
        with self._timed("finding faces"), self._clock.stage("finding faces", pooled=True):
            sightings = self._find_faces()
        tracks = self._tracks(sightings)
        with self._timed("editing"):
            results = self._edit(tracks)
        with self._timed("writing"), self._clock.stage("writing", pooled=True):
            written = self._write(sightings, tracks, results)
        report = self._report(sightings, tracks, results, written)
        write_text(report_name(self._target), model_json(report, indent=1), durable=True)
        return report, self._target

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._seconds[part] = time.monotonic() - started

    def _find_faces(self) -> Sightings:
        info, preview = probe(self._source.path), self._writing.preview
        total = info.frame_count if preview is None else min(info.frame_count, math.ceil(preview * info.fps))
        self._observer.phase("finding faces", total, "frames")
        analyser, advance = self._session.analyser, self._observer.advance
        strict, root = self._session.config.reading.strict, self._workspace.root
        backwards = self._session.single_face_analyser
        importing = ImportAhead(self._clock)
        found = find_faces(self._source.path, analyser, self._resolved.crop, root, preview, advance, strict, backwards)
        self._clock.add({"finding faces": (0.0, -importing.cpu)})  # the CPU time of the whole process has it too
        self._say(note for note in found.notes if note.kind in OF_SOURCE)
        self._notes += tuple(found.notes)
        return found

    def _say(self, notes: Iterable[VideoNote]) -> None:
        for note in notes:
            self._observer.warning(note.sentence)

    def _tracks(self, sightings: Sightings) -> list[FaceTrack]:
        topology = self._session.analyser.topology
        return tracks_of(sightings, self._source, self._resolved.crop.crop_scale, self._resolved.resolution, topology)

    def _edit(self, tracks: list[FaceTrack]) -> list[TrackResult]:
        """Edit all tracks; tracks that an interrupted run finished are only read."""
        denoising, motion, passes = self._resolved.denoising, self._resolved.motion, self._resolved.passes
        windows = [count_windows(len(track), denoising, motion, passes) for track in tracks]
        self._observer.phase("editing", sum(windows), "windows")
        results: dict[int, TrackResult] = {}
        with closing(Cropper(self._source.path)) as cropper:
            for group in groups_of(tracks):
                pending = []
                for track in group:
                    text = self._workspace.read(f"{track.name}/{RESULT}")
                    if text is None:
                        pending.append(track)
                    else:
                        results[track.number] = TrackResult.model_validate_json(text)
                if pending:
                    results |= self._edit_group(cropper, pending)
                self._windows = sum(windows[number] for number in results)
                self._observer.advance(self._windows)
        return [results[track.number] for track in tracks]

    def _edit_group(self, cropper: Cropper, tracks: list[FaceTrack]) -> dict[int, TrackResult]:
        """Cut out tracks that share frames in one pass over the video, then edit one after the other."""
        stores = {
            track.number: TrackStores(self._workspace.folder(track.name), self._resolved.resolution) for track in tracks
        }
        uncut = [track for track in tracks if not stores[track.number].cropped]
        if uncut:
            with self._clock.stage("cutting out", pooled=True):
                cropper.cut(uncut, lambda track, index, crop: stores[track.number].crops.write(index, crop[None]))
            for track in uncut:
                stores[track.number].finish_crops()
        return {track.number: self._edit_track(track, stores[track.number]) for track in tracks}

    def _edit_track(self, track: FaceTrack, stores: TrackStores) -> TrackResult:
        from toolkit.edit.removal.removal import remove_attributes  # imports the networks' libraries, for seconds

        started = time.monotonic()
        remove_attributes(self._resolved, track, stores, side_by_side(self._session, self._advance))
        with self._clock.stage("patches", pooled=True):
            write_patches(track, stores, len(self._resolved.removers))
        with self._clock.stage("review", pooled=True):
            result = review_track(track, stores, self._resolved, self._session.single_face_analyser)
        stores.close()
        for warning in result.warnings:
            self._observer.warning(warning.sentence)
        result = result.model_copy(update={"seconds": time.monotonic() - started})
        sync(stores.folder / PATCHES)  # before the file that says that they are complete
        self._workspace.write(f"{track.name}/{RESULT}", result.model_dump_json())
        _clear(stores.folder)
        return result

    def _advance(self, windows: int) -> None:
        self._windows += windows
        self._observer.advance(self._windows)

    def _write(self, sightings: Sightings, tracks: list[FaceTrack], results: list[TrackResult]) -> WrittenVideo:
        edited = any(face.edited > 0 for result in results for face in result.faces)
        if not edited and self._writing.preview is None and self._copy():
            return WrittenVideo(comparison=None, signed=False, seconds=[])
        self._say(note for note in sightings.notes if note.kind not in OF_SOURCE)
        self._observer.phase("writing", len(sightings.times), "frames")
        written = write_video(
            self._source.path,
            self._target,
            PatchPaster(tracks, self._workspace.root),
            self._writing,
            self._resolved.tasks if edited else [],
            sightings.times,
            self._observer.advance,
            self._destination.carrying,
        )
        self._say(written.notes)
        self._notes += written.notes
        return written

    def _copy(self) -> bool:
        """Copy the source; False if the new video must be encoded."""
        source, named = self._source.path, self._target
        if self._destination.copy is not None:
            copy_bytes(source, self._destination.copy)
            self._target = self._destination.copy
        elif not copy_whole(source, named):
            if self._destination.exact:
                return False
            self._target = other_name(source, named)
            copy_bytes(source, self._target)
            self._observer.warning(
                f"there is nothing to edit, and a {named.suffix} file cannot hold {source.name} unchanged, so it was "
                f"copied to {self._target.name}"
            )
        if self._destination.carrying.notes:
            self._observer.note("there is nothing to edit, so the video was copied with all its tracks")
        self._notes = tuple(note for note in self._notes if note.kind in OF_SOURCE)  # a copy leaves nothing out
        return True

    def _report(
        self, sightings: Sightings, tracks: list[FaceTrack], results: list[TrackResult], written: WrittenVideo
    ) -> EditReport:
        starts = [track.start for track in tracks]
        frames = frame_reports(
            sightings.times, list(zip(starts, results)), written.seconds, self._resolved.crop.max_turn
        )
        warnings = [warning for result in results for warning in result.warnings]
        warnings += [warning_of(note, len(frames)) for note in self._notes]
        return EditReport(
            fingerprint=self._session.fingerprint(self._source.digest),
            source=readable(self._source.path.name),
            source_sha256=self._source.digest,
            target=readable(self._target.name),
            outcome=outcome_of(frames),
            config=saved_config(self._session.config),
            resolved=self._resolved.model_dump(mode="json"),
            versions=self._session.versions,
            seconds={part: round(value, 3) for part, value in self._seconds.items()},
            fps=frames_per_second(len(frames), self._seconds, self._workspace.resumed),
            stages=stage_reports(self._clock.times),
            resumed=self._workspace.resumed,
            counts=dict(counts_of(frames, sightings.small, len(sightings.cuts))),
            warnings=sorted(warnings, key=lambda warning: (warning.start, warning.track or 0)),
            comparison=written.comparison,
            signed=written.signed,
            frames=frames,
        )


def _clear(folder: Path) -> None:
    """Remove a finished track's intermediate files; its result and its patches stay."""
    for path in folder.iterdir():
        if path.name not in (PATCHES, RESULT):
            remove(path)
