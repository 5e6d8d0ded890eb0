"""The output folder of a build: claims it, remembers finished shards, and publishes the final files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.dataset.check import shard_problems
from toolkit.dataset.layout import (
    CARD,
    CONFIG,
    DATA,
    MANIFEST,
    PREVIEW,
    WORK,
    Manifest,
    ShardRecord,
    shard_path,
)
from toolkit.errors import InputError, UsageError
from toolkit.files import differences, dump_json, is_litter, locked, publish, read_json, remove
from toolkit.synthesis.shards import OutputError

_OWN = {CONFIG, MANIFEST, CARD, PREVIEW, DATA, WORK}


class OutputFolder:
    """The folder that a build writes, as a context manager.

    During the build, the folder has a sub-folder `.build` with a lock, temporary files and one record for each finished
    shard. Files are written there and renamed, so the dataset itself never holds half a file.
    """

    def __init__(self, root: Path, document: dict[str, Any]):
        """
        Args:
            root: the folder; created if it does not exist.
            document: the content of `config.json`; only a build with the same content may resume.
        """
        self.root, self._document = root, document
        self.records: dict[str, ShardRecord] = {}
        self.damaged: list[str] = []
        """What is wrong with finished shards that are built again."""
        self._lock = contextlib.ExitStack()
        self._created = not root.exists()

    def __enter__(self) -> OutputFolder:
        """
        Raises:
            UsageError: the folder holds something else or a dataset with other settings, or another build uses it.
            OutputError: it cannot be written.
        """
        self._refuse_strangers()
        with self._writing():
            (self.root / WORK / "shards").mkdir(parents=True, exist_ok=True)
            busy = f"another build is writing {self.root}; wait for it or stop it"
            self._lock.enter_context(locked(self.root / WORK / "lock", busy))
            remove(self.root / WORK / "tmp")
            (self.root / WORK / "tmp").mkdir()
            if not (self.root / CONFIG).exists():
                self.write(CONFIG, dump_json(self._document).encode())
            self._load_records()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the dataset in one step.

        Raises:
            OutputError: it cannot be written.
        """
        temporary = self.root / WORK / "tmp" / Path(name).name
        with self._writing():
            temporary.write_bytes(data)
            publish(temporary, self.root / name, durable=True)

    def record(self, shard: ShardRecord) -> None:
        """Remember a finished shard."""
        self.write(f"{WORK}/shards/{shard.name}.json", shard.model_dump_json().encode())
        self.records[shard.name] = shard

    def finish(self, files: dict[str, bytes]) -> None:
        """Write the final files in the given order, and remove `.build`."""
        for name, data in files.items():
            if not (self.root / name).is_file() or (self.root / name).read_bytes() != data:
                self.write(name, data)
        with self._writing():
            remove(self.root / WORK)

    def discard(self) -> None:
        """Remove a build that gave no pairs, and the folder if the build created it."""
        with self._writing():
            remove(self.root / WORK)
            for name in (CONFIG, MANIFEST, CARD, PREVIEW):
                remove(self.root / name)
            if self._created and not any(self.root.iterdir()):
                self.root.rmdir()

    def _refuse_strangers(self) -> None:
        root = self.root
        if not root.exists():
            return
        if not root.is_dir():
            raise UsageError(f"the output {root} must be a folder, found a file; choose another --output")
        try:
            names = {path.name for path in root.iterdir() if not is_litter(path.name)}
        except OSError as error:
            raise UsageError(f"the output {root} cannot be read: {error.strerror}; choose another --output") from error
        if names and not names & {CONFIG, WORK}:
            raise UsageError(
                f"the output {root} must be an empty folder or a dataset, found {sorted(names)[0]!r} in it; "
                "choose another --output"
            )
        if CONFIG not in names:
            return
        try:
            found = read_json(root / CONFIG)
            foreign = not isinstance(found, dict) or "config" not in found
        except (OSError, ValueError):
            foreign = True
        if foreign:
            raise UsageError(f"the {CONFIG} in the output {root} does not belong to a dataset; choose another --output")
        differing = sorted(_differences(found, json.loads(dump_json(self._document))))
        if differing:
            raise UsageError(
                f"the output {root} was made with other settings: {'; '.join(differing)}; "
                "use the same settings to resume it, or choose another --output"
            )

    def _load_records(self) -> None:
        """Read the records of finished shards whose files exist and have their checksums; others are built again."""
        manifest = self.root / MANIFEST
        try:
            shards = [
                ShardRecord.model_validate_json(path.read_bytes())
                for path in sorted((self.root / WORK / "shards").glob("*.json"))
            ]
            if manifest.exists():
                shards += Manifest.model_validate_json(manifest.read_bytes()).shards
        except ValidationError as error:
            raise InputError(
                f"the records of the dataset {self.root} are damaged ({error.error_count()} problems); "
                "delete the folder and build again"
            ) from error
        format = self._document["config"]["format"]
        for shard in shards:
            expected = str(shard_path(format, shard.split, shard.name))
            if shard.path not in (None, expected):
                raise InputError(
                    f"the records of the dataset {self.root} name {shard.path!r}, expected {expected!r}; "
                    "delete the folder and build again"
                )
            if shard.name in self.records or (shard.path is not None and not (self.root / shard.path).exists()):
                continue
            problem = None if shard.path is None else next(shard_problems(self.root, format, shard), None)
            if problem is None:
                self.records[shard.name] = shard
            else:
                self.damaged.append(problem)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError.of(error, self.root) from error


def _differences(found: Any, wanted: Any) -> Iterator[str]:
    """How two contents of `config.json` differ; of the videos only how many."""
    before, now = ({(item["name"], item["sha256"]) for item in side.get("inputs") or []} for side in (found, wanted))
    if before != now:
        yield f"the videos ({len(now - before)} new or changed, {len(before - now)} missing)"
    one, other = ({key: value for key, value in side.items() if key != "inputs"} for side in (found, wanted))
    yield from (sentence.removeprefix("config.") for sentence in differences(one, other))
