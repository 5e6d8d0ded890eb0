"""Downloads one file over HTTP: resumes interrupted transfers, verifies the checksum, then renames."""

from __future__ import annotations

import errno
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import ToolkitError
from toolkit.files import publish, sha256_of

ATTEMPTS = 3
"""How often an interrupted transfer is tried before it fails."""

TIMEOUT = 30
"""Seconds without data after which a connection counts as broken."""

CHUNK = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received so far and the size of the whole file (None if unknown)."""


class _InterruptedError(Exception):
    """The connection ended before the file was complete."""


def download(url: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download `url` to `path`, replacing an existing file. Incomplete data stays in ``PATH.part``.

    Args:
        url: http or https.
        sha256: expected checksum in hexadecimal, or its first digits.
        progress: called as data arrives.

    Returns:
        `path`.

    Raises:
        ToolkitError: there is no network, the server refuses, the connection breaks off, the checksum differs, the disk
            is full or writing is not permitted. `path` stays as it was. The next call resumes from ``PATH.part``, which
            is deleted only if its checksum differs.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(ATTEMPTS):
            try:
                _transfer(url, part, progress)
                break
            except _InterruptedError as error:
                if attempt == ATTEMPTS - 1:
                    raise ToolkitError(
                        f"the connection to {url} broke off {ATTEMPTS} times ({error}); run the command again to "
                        f"resume after {_size(part)} bytes"
                    ) from error
        if sha256 is not None and not (found := sha256_of(part)).startswith(sha256.lower()):
            part.unlink()
            raise ToolkitError(
                f"expected a file with SHA-256 {sha256} from {url}, but it has {found} and was deleted; run the "
                "command again, and do not trust the server if the checksum differs again"
            )
        publish(part, path)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ToolkitError(
            f"{path} cannot be written: {why}; the data received so far is kept in {part.name}"
        ) from error
    return path


def _transfer(url: str, part: Path, progress: Progress | None) -> None:
    """Append to `part` until the file is complete."""
    start = _size(part)
    headers = {"User-Agent": "vlasik-toolkit"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # `part` is as long as the file or longer; the header tells which.
            if (error.headers.get("Content-Range") or "").endswith(f"*/{start}"):
                return
            part.unlink()
            raise _InterruptedError("the partial data belonged to another file") from error
        raise ToolkitError(f"{url} cannot be downloaded: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ToolkitError(
            f"{url} cannot be reached ({error.reason}); run the command on a machine with network access"
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from error
    with response:
        if response.status != 206:
            start = 0  # the server cannot resume and sends the whole file
        total = _total(response, start)
        _check_free_space(part.parent, total, start)
        with open(part, "ab" if start else "wb") as file:
            _copy(response, file, start, total, progress)


def _copy(response: BinaryIO, file: BinaryIO, done: int, total: int | None, progress: Progress | None) -> None:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (HTTPException, TimeoutError, ConnectionError) as error:
            raise _InterruptedError(str(error) or type(error).__name__) from error
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise _InterruptedError(f"received {done} of {total} bytes")


def _total(response: HTTPResponse, start: int) -> int | None:
    """Size of the whole file in bytes; None if the server does not state it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) != start:
            raise _InterruptedError(f"the server resumed at byte {match[1]} instead of {start}")
        return int(match[2]) if match else None
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _check_free_space(folder: Path, total: int | None, start: int) -> None:
    if total is not None and shutil.disk_usage(folder).free < total - start:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
