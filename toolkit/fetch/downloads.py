"""Files of other projects that `toolkit fetch` can download: their addresses, checksums and target folders."""

from __future__ import annotations

import lzma
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.fetch.transfer import CHUNK, LARGEST, Progress, download
from toolkit.files import atomic, cache_folder, home_folder, sha256_of


def insightface_models() -> Path:
    """insightface's own model cache: ``$INSIGHTFACE_HOME/models``, or below ``~/.insightface`` if unset."""
    return Path(os.environ.get("INSIGHTFACE_HOME") or home_folder() / ".insightface") / "models"


def _torch_checkpoints() -> Path:
    """torch's own folder for weights, without importing torch for it."""
    if "torch" in sys.modules:
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.environ.get("TORCH_HOME", f"{cache}/torch"))) / "hub" / "checkpoints"


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        url: address; its last part is also the local file name.
        sha256: expected checksum or its first digits. None if the project publishes none; the file must then be a zip
            archive, whose own checksums are verified.
        member: name of the only file to keep if `url` is a zip archive; `sha256` is then the checksum of that file.
    """

    url: str
    sha256: str | None = None
    member: str | None = None

    @property
    def name(self) -> str:
        return self.member or self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Download:
    """The files behind one name of `toolkit fetch`.

    Attributes:
        description, size, licence: shown in the list of downloads.
        folder: returns the folder in which the code that uses the files expects them.
    """

    description: str
    size: str
    licence: str
    folder: Callable[[], Path]
    files: tuple[RemoteFile, ...]


_FACER_RELEASE = "https://github.com/FacePerceiver/facer/releases/download/models-v1/"

FACER_FILES = {
    "detector_file": RemoteFile(
        "https://github.com/elliottzheng/face-detection/releases/download/0.0.1/mobilenet0.25_Final.pth",
        "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
    ),
    "parser_file": RemoteFile(
        _FACER_RELEASE + "face_parsing.farl.celebm.main_ema_181500_jit.pt",
        "bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79",
    ),
    "aligner_file": RemoteFile(_FACER_RELEASE + "face_alignment.farl.ibug300w.main_ema_jit.pt"),
}
"""The weights of the facer analyser, by the name of its argument. facer itself downloads the same files."""

DOWNLOADS = {
    "facer": Download(
        "the paper's face analyser: RetinaFace, FaRL parser and aligner",
        "1.3 GB",
        "MIT",
        _torch_checkpoints,
        tuple(FACER_FILES.values()),
    ),
    "raft": Download(
        "optical flow: RAFT large, torchvision's C_T_SKHT_V2 weights",
        "20 MB",
        "BSD-3-Clause",
        _torch_checkpoints,
        (RemoteFile("https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth", "ff5fadd5"),),
    ),
    "arcface": Download(
        "identity: ArcFace ResNet-50 trained on WebFace600K, from insightface's buffalo_l pack",
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
    "lpips": Download(
        "perceptual distance: torchvision's AlexNet, which the lpips package builds on",
        "233 MB",
        "BSD-3-Clause",
        _torch_checkpoints,
        (RemoteFile("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),),
    ),
    "mediapipe": Download(
        "models of the default face analyser, for mediapipe releases that ship none",
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
"""Everything that `toolkit fetch` downloads besides backbones."""


_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What the zipfile module raises for archives that are damaged, encrypted, or packed in a way that it does not know."""


def is_sound(path: Path, file: RemoteFile) -> bool:
    """Whether `path` holds the whole, undamaged file."""
    if not path.is_file():
        return False
    if file.sha256 is not None:
        return sha256_of(path).startswith(file.sha256)
    try:
        with zipfile.ZipFile(path) as archive:
            # No member gives more than its stated size, so that small archives cannot unpack to terabytes.
            return sum(entry.file_size for entry in archive.infolist()) <= LARGEST and archive.testzip() is None
    except (*_BROKEN, OSError):
        return False


def fetch_file(file: RemoteFile, folder: Path, progress: Progress | None = None) -> bool:
    """Download a file into `folder` unless a sound copy exists; a damaged copy is replaced.

    Returns:
        Whether it was downloaded.

    Raises:
        ToolkitError: as for `download`, or the downloaded file is damaged.
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
        raise _damaged(file)
    return True


def _fetch_member(file: RemoteFile, path: Path, progress: Progress | None) -> None:
    """Download an archive and keep only the wanted member."""
    archive = path.with_name(file.url.rsplit("/", 1)[1])
    if not is_sound(archive, RemoteFile(file.url)):
        download(file.url, archive, progress=progress)
    try:
        with zipfile.ZipFile(archive) as opened, atomic(path, durable=True) as staged:
            found = [entry for entry in opened.infolist() if entry.filename.rsplit("/", 1)[-1] == file.member]
            if len(found) != 1 or found[0].file_size > LARGEST:
                raise zipfile.BadZipFile
            with opened.open(found[0]) as member, open(staged, "wb") as target:
                shutil.copyfileobj(member, target, CHUNK)
            if not is_sound(staged, file):
                raise zipfile.BadZipFile
    except _BROKEN:
        archive.unlink()
        raise _damaged(file) from None
    except OSError as error:  # the archive stays for the next attempt
        raise ToolkitError(f"{path} cannot be written: {error.strerror}; check free space and access rights") from error
    archive.unlink()


def _damaged(file: RemoteFile) -> ToolkitError:
    return ToolkitError(f"the download from {file.url} was damaged and has been deleted; run the command again")
