"""Files of other projects that the toolkit can fetch: where from, where to, and how a sound one is told."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.fetch.transfer import CHUNK, Progress, download
from toolkit.files import sha256_of


def cache_folder() -> Path:
    """The toolkit's own folder for fetched files: ``$XDG_CACHE_HOME/vlasik-toolkit``, or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlasik-toolkit"


def insightface_models() -> Path:
    """insightface's own cache of models: ``$INSIGHTFACE_HOME/models``, or below ``~/.insightface``."""
    return Path(os.environ.get("INSIGHTFACE_HOME") or Path.home() / ".insightface") / "models"


def _torch_checkpoints() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


@dataclass(frozen=True)
class RemoteFile:
    """One file.

    Attributes:
        url: its address; the last part is its name here too.
        sha256: its checksum or the first digits of it; None where its project publishes none. Such a file is a zip
            archive, and the archive's own checksums are looked at.
        member: name of the one file that is wanted of a zip archive at `url`, which is not kept; `sha256` is then the
            member's.
    """

    url: str
    sha256: str | None = None
    member: str | None = None

    @property
    def name(self) -> str:
        return self.member or self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Source:
    """What one name brings.

    Attributes:
        description, size, licence: for people.
        folder: gives the folder where the user of the files looks for them.
    """

    description: str
    size: str
    licence: str
    folder: Callable[[], Path]
    files: tuple[RemoteFile, ...]


def _facer_files() -> tuple[RemoteFile, ...]:
    from toolkit.faces.facer import FILES

    known = {
        "detector_file": "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
        "parser_file": "bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79",
    }
    return tuple(RemoteFile(url, known.get(key)) for key, url in FILES.items())


SOURCES = {
    "facer": Source(
        "the paper's face analyser: RetinaFace, FaRL parser and aligner",
        "1.3 GB",
        "MIT",
        _torch_checkpoints,
        _facer_files(),
    ),
    "raft": Source(
        "optical flow: RAFT large, C_T_SKHT_V2 of torchvision",
        "20 MB",
        "BSD-3-Clause",
        _torch_checkpoints,
        (RemoteFile("https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth", "ff5fadd5"),),
    ),
    "arcface": Source(
        "identity: ArcFace, ResNet-50 trained on WebFace600K, of insightface's pack buffalo_l",
        "288 MB",
        "non-commercial research only",
        lambda: insightface_models() / "buffalo_l",
        (
            RemoteFile(
                "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
                "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
                "w600k_r50.onnx",
            ),
        ),
    ),
    "lpips": Source(
        "perceptual distance: AlexNet of torchvision, on which the package lpips stands",
        "233 MB",
        "BSD-3-Clause",
        _torch_checkpoints,
        (RemoteFile("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),),
    ),
    "mediapipe": Source(
        "the default analyser's models, for releases of mediapipe that carry none",
        "3.8 MB",
        "Apache-2.0",
        lambda: cache_folder() / "mediapipe",
        (
            RemoteFile(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            ),
        ),
    ),
}
"""What can be fetched besides backbones."""


def is_sound(path: Path, file: RemoteFile) -> bool:
    """Whether the whole file lies at `path`."""
    if not path.is_file():
        return False
    if file.sha256 is not None:
        return sha256_of(path).startswith(file.sha256)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def fetch_file(file: RemoteFile, folder: Path, progress: Progress | None = None) -> bool:
    """Bring one file into `folder`, unless a sound one is there. A damaged one is replaced.

    Returns:
        Whether it was downloaded.

    Raises:
        ToolkitError: as for `download`, or what came is damaged.
    """
    path = folder / file.name
    if is_sound(path, file):
        return False
    if file.member is not None:
        _fetch_member(file, path, progress)
        return True
    download(file.url, path, sha256=file.sha256, progress=progress)
    if file.sha256 is None and not is_sound(path, file):
        path.unlink()
        raise ToolkitError(f"what came from {file.url} is damaged and was thrown away; run the command again")
    return True


def _fetch_member(file: RemoteFile, path: Path, progress: Progress | None) -> None:
    """Bring an archive, keep the one file that is wanted of it."""
    archive, part = path.with_name(file.url.rsplit("/", 1)[1]), path.with_name(f"{path.name}.part")
    damaged = ToolkitError(f"what came from {file.url} is damaged and was thrown away; run the command again")
    if not is_sound(archive, RemoteFile(file.url)):
        download(file.url, archive, progress=progress)
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [entry for entry in opened.infolist() if entry.filename.rsplit("/", 1)[-1] == file.member]
            if len(found) != 1:
                raise zipfile.BadZipFile
            with opened.open(found[0]) as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
        if not is_sound(part, file):
            raise zipfile.BadZipFile
        part.replace(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        archive.unlink()
        raise damaged from None
    except OSError as error:  # the archive stays, for the next attempt
        raise ToolkitError(f"{path} cannot be written: {error.strerror}; check free space and access rights") from error
    finally:
        part.unlink(missing_ok=True)
    archive.unlink()
