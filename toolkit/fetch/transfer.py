"""One file over HTTP: continued where it broke off, checked, and only then given its name."""

from __future__ import annotations

import errno
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import ToolkitError
from toolkit.files import publish, sha256_of

ATTEMPTS = 3
"""How often a transfer that broke off is continued before the user is told."""

TIMEOUT = 30
"""Seconds without a byte after which a connection counts as broken."""

CHUNK = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file (None: unknown)."""


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


def download(url: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download `url` to `path`, replacing a file that is there. What has come lies in ``PATH.part`` until it is whole.

    Args:
        url: http or https.
        sha256: what the file must have, in hexadecimal; or its first digits.
        progress: called as bytes come.

    Raises:
        ToolkitError: no network, the server's refusal, a connection that broke off, another checksum than expected,
            no room or no right to write. `path` is as it was; what has come is kept for the next call, except a whole
            file of another checksum.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(ATTEMPTS):
            try:
                _transfer(url, part, progress)
                break
            except _BrokenOffError as error:
                if attempt == ATTEMPTS - 1:
                    raise ToolkitError(
                        f"the connection to {url} broke off {ATTEMPTS} times ({error}); run the command again, it "
                        f"continues after the {_size(part)} bytes that are there"
                    ) from error
        if sha256 is not None and not (found := sha256_of(part)).startswith(sha256.lower()):
            part.unlink()
            raise ToolkitError(
                f"expected a file of SHA-256 {sha256} from {url}, but it has {found}; it was thrown away: run the "
                "command again, and if it stays so, do not trust the server"
            )
        publish(part, path)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ToolkitError(f"{path} cannot be written: {why}; what has come is kept in {part.name}") from error
    return path


def _transfer(url: str, part: Path, progress: Progress | None) -> None:
    """Add to `part` until the file is whole."""
    start = _size(part)
    headers = {"User-Agent": "vlasik-toolkit"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # What is there is as long as the file or longer; a whole one says so in the header.
            if (error.headers.get("Content-Range") or "").endswith(f"*/{start}"):
                return
            part.unlink()
            raise _BrokenOffError("what was there is not of this file") from error
        raise ToolkitError(f"{url} cannot be fetched: the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ToolkitError(
            f"{url} cannot be reached ({error.reason}); run the command where there is a network"
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error
    with response:
        if response.status != 206:
            start = 0  # the server sends the whole file, whatever was asked
        total = _total(response, start)
        _check_room(part.parent, total, start)
        with open(part, "ab" if start else "wb") as file:
            _copy(response, file, start, total, progress)


def _copy(response: BinaryIO, file: BinaryIO, done: int, total: int | None, progress: Progress | None) -> None:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (HTTPException, TimeoutError, ConnectionError) as error:
            raise _BrokenOffError(str(error) or type(error).__name__) from error
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise _BrokenOffError(f"{done} of {total} bytes came")


def _total(response, start: int) -> int | None:
    """Bytes of the whole file, if the server says so."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) != start:
            raise _BrokenOffError(f"the server continued at byte {match[1]} instead of {start}")
        return int(match[2]) if match else None
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _check_room(folder: Path, total: int | None, start: int) -> None:
    if total is not None and shutil.disk_usage(folder).free < total - start:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
