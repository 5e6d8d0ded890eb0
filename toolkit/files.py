"""Digests, JSON, atomic writes and locks: the one module that renames files.

A file or folder is written under a hidden name beside its target and renamed once it is complete, so readers see the
old content or the new, never half of either.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

_LITTER = frozenset(
    (
        *(".ds_store", ".appledouble", ".localized", ".fseventsd", ".trashes", "__macosx", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *(".directory", "lost+found", "@eadir"),
        *(".git", ".gitattributes", ".gitignore", ".cache", ".huggingface"),
    )
)
_LITTER_PREFIXES = ("._", ".nfs", ".trash-", ".spotlight-", ".documentrevisions-")


def home_folder() -> Path:
    """The user's home.

    Raises:
        UsageError: there is none.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise UsageError(
            "expected a home folder for downloads, found none; set HOME, or XDG_CACHE_HOME and INSIGHTFACE_HOME, to a "
            "folder"
        ) from None


def cache_folder() -> Path:
    """The toolkit's own folder for downloads: ``$XDG_CACHE_HOME/vlasik-toolkit``, or below ``~/.cache`` if unset."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "vlasik-toolkit"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    check_plain(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


LARGEST_TEXT = 64 << 20
"""Bytes of the largest file that describes something. A stranger's file may claim to be of any size."""


def check_plain(path: Path, largest: int | None = None) -> None:
    """Check that a path is a file that ends, not a device or a pipe, before it is read.

    Args:
        largest: size in bytes that a sound file does not exceed.

    Raises:
        OSError: it is something else, or too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if largest is not None and status.st_size > largest:
        found = f"it has {status.st_size >> 20} MB, where at most {largest >> 20} MB are expected"
        raise OSError(errno.EFBIG, found, str(path))


NAME_BYTES = 255
"""Longest name of a file on common file systems."""

_PROCESS_BYTES = 12
"""Room for a process ID and its dot in a staging name, so that the rest does not depend on the ID."""

_DIGEST = 12
"""Digits of a digest that keep shortened names apart."""


def readable(text: str) -> str:
    """The text with valid characters only: bytes of a file's name that are not UTF-8 become ``\\xNN``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        encoded = b"".join(_bytes_of(character) for character in text)
        return encoded.decode(errors="backslashreplace")
    return text


def _bytes_of(character: str) -> bytes:
    try:
        return character.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which no file's name has
        return character.encode(errors="backslashreplace")


def readable_values(value: Any) -> Any:
    """A JSON value in which all texts are `readable`, keys included."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable_values(key): readable_values(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [readable_values(below) for below in value]
    return value


def fitting_name(before: str, stem: str, after: str, spare: int = 0) -> str:
    """A file's name of three parts. If it is too long, the stem is cut and gets a digest that keeps it unique.

    Args:
        spare: bytes to leave free.
    """
    room = NAME_BYTES - spare - len(os.fsencode(before + after))
    encoded = os.fsencode(stem)
    if len(encoded) > room:
        digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST]
        stem = f"{encoded[: room - _DIGEST - 1].decode(errors='ignore')}-{digest}"
    return f"{before}{stem}{after}"


def derived_path(path: Path, *, before: str = "", mark: str = "", after: str | None = None) -> Path:
    """A path beside another, with its name and more, such as ``face.compare.mp4`` for ``face.mp4``.

    Args:
        before: what stands before the name.
        mark: what stands between the stem and the suffix.
        after: what stands after the whole name, as ``.json`` in ``face.mp4.json``.
    """
    stem, suffix = (path.stem, path.suffix) if after is None else (path.name, after)
    return path.with_name(fitting_name(before, stem, mark + suffix))


def staging_path(path: Path, *, shared: bool = False) -> Path:
    """Return the path to write to until a file is complete: ``.NAME.part.EXT`` in the same folder.

    Args:
        shared: include the process ID, because several processes may write the same file. Leave it off if only one
            process writes at a time, so that a restarted run overwrites the remains of a killed one.
    """
    process = f".{os.getpid()}" if shared else ""
    name = fitting_name(".", path.stem, f"{process}.part{path.suffix}", _PROCESS_BYTES - len(process))
    return path.with_name(name)


def remove_remains(path: Path) -> None:
    """Delete what killed processes left under the shared staging names of a file that no process writes now.

    Raises:
        OSError: it cannot be deleted.
    """
    before, _, after = staging_path(path).name.rpartition(".part")
    for part in path.parent.glob(f"{glob.escape(before)}.*.part{glob.escape(after)}"):
        part.unlink(missing_ok=True)


@contextmanager
def atomic(path: Path, *, shared: bool = False, durable: bool = False) -> Iterator[Path]:
    """Write a file or a folder completely or not at all.

    Yields the staging path. If the block succeeds, its content replaces `path`. If the block raises, the staged content
    is deleted and `path` stays unchanged.

    Args:
        path: target; its folder must exist.
        shared: as for `staging_path`.
        durable: flush to disk first, so that the result survives a power cut.

    Raises:
        OSError: the target cannot be written.
    """
    staged = staging_path(path, shared=shared)
    remove(staged)
    try:
        yield staged
        publish(staged, path, durable=durable)
    except BaseException:
        remove(staged)
        raise


def publish(staged: Path, path: Path, *, durable: bool = False) -> None:
    """Rename a finished file or folder to its final name, replacing an existing one. A file never replaces a folder.

    Args:
        durable: flush the content and the new name to disk.

    Raises:
        OSError: the target cannot be replaced.
    """
    if durable:
        sync(staged)
    if path.is_dir() and not path.is_symlink() and staged.is_dir():
        shutil.rmtree(path)
    os.replace(staged, path)
    if durable:
        sync_name(path)


def sync(path: Path) -> None:
    """Flush a file, or a folder with everything below it, to disk.

    Raises:
        OSError: the disk refuses.
    """
    if path.is_dir():
        for below in sorted(path.rglob("*")):
            _sync_one(below)
    _sync_one(path)


def sync_name(path: Path) -> None:
    """Flush the name of a file or a folder to disk, and those of the folders above it that this user may have made.

    Raises:
        OSError: the disk refuses.
    """
    for folder in path.absolute().parents:
        _sync_one(folder)
        if not os.access(folder.parent, os.W_OK):
            break


def _sync_one(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return  # only POSIX systems open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a folder if it exists.

    Raises:
        OSError: it cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):  # a read-only disk refuses to delete even what does not exist
        path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, shared: bool = False, durable: bool = False) -> None:
    """Write a file in one step; the arguments are those of `atomic`.

    Raises:
        OSError: it cannot be written.
    """
    with atomic(path, shared=shared, durable=durable) as staged:
        staged.write_bytes(data)


def write_text(path: Path, text: str, *, shared: bool = False, durable: bool = False) -> None:
    """Write a UTF-8 file in one step; the arguments are those of `atomic`.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, text.encode(), shared=shared, durable=durable)


def write_json(
    path: Path,
    value: Any,
    *,
    indent: int | None = 1,
    sort_keys: bool = False,
    shared: bool = False,
    durable: bool = False,
) -> None:
    """Write a value as JSON in one step, with `readable` texts.

    Raises:
        OSError: it cannot be written.
        TypeError: JSON cannot represent the value.
    """
    text = json.dumps(readable_values(value), indent=indent, sort_keys=sort_keys)
    write_text(path, text, shared=shared, durable=durable)


def model_json(model: BaseModel, indent: int | None = None) -> str:
    """A model as JSON, with `readable` texts."""
    try:
        return model.model_dump_json(indent=indent)
    except ValueError:  # bytes of a file's name that are not UTF-8
        return json.dumps(readable_values(model.model_dump(mode="json")), indent=indent, ensure_ascii=False)


def dump_json(value: object) -> str:
    """JSON for readers: indented, in the given order, with `readable` texts and a final newline."""
    return json.dumps(readable_values(value), indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read the value in a UTF-8 JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or is nested thousands of levels deep.
    """
    check_plain(path, LARGEST_TEXT)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, which is released when the process that holds it ends.

    Args:
        path: the lock file; created if it does not exist.
        busy: the message if another process holds it.

    Raises:
        UsageError: another process holds it.
        OSError: the file cannot be created.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(busy) from None
        yield
    finally:
        os.close(file)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name was left by a file manager, an archiver, git or a download.

    Such entries are no content, so folders that hold them are still sound: ``.DS_Store``, ``._picture.png``,
    ``__MACOSX``, ``Thumbs.db``, ``desktop.ini`` and their like.
    """
    lower = name.lower()
    return lower in _LITTER or lower.startswith(_LITTER_PREFIXES)


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Describe each difference of two JSON values, as ``key was 1, now 2``. Dots join nested keys."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            label = f"{path}.{key}" if path else key
            yield from differences(found.get(key), wanted.get(key), label)
    elif found != wanted:
        yield f"{path} was {json.dumps(found)}, now {json.dumps(wanted)}"
