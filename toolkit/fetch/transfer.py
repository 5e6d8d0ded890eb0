"""Downloads one file over HTTP: resumes interrupted transfers, verifies the checksum, then renames."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, BinaryIO

from toolkit.errors import ToolkitError
from toolkit.files import publish, sha256_of

ATTEMPTS = 3
"""How often an interrupted transfer is tried before it fails."""

TIMEOUT = 30
"""Seconds without data after which a connection counts as broken."""

SLOWEST, PATIENCE = 1024, 60
"""Bytes a second that a server must send, on average over so many seconds, or the connection counts as broken."""

LARGEST = 4 << 30
"""Bytes of the largest file that is accepted."""

CHUNK = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received so far and the size of the whole file (None if unknown)."""


class _InterruptedError(Exception):
    """The connection ended before the file was complete."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts, as large files need, but never out of HTTP and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("https://", "http://") if req.type == "http" else "https://"):
            raise ToolkitError(
                f"{req.full_url} cannot be downloaded: the server redirects to {newurl!r}, expected an address that "
                f"starts with {req.type}://; do not trust it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download `url` to `path`, replacing an existing file. Incomplete data stays in ``PATH.part``.

    Args:
        url: http or https.
        sha256: expected checksum in hexadecimal, or its first digits.
        progress: called as data arrives.

    Returns:
        `path`.

    Raises:
        ToolkitError: there is no network, the server refuses, redirects elsewhere, sends a web page, too slowly or more
            than `LARGEST`, the connection breaks off, the checksum differs, the disk is full or writing is not
            permitted. `path` stays as it was. The next call resumes from ``PATH.part``, which is deleted only if it
            turns out wrong.
    """
    if not url.startswith(("https://", "http://")):
        raise ToolkitError(f"expected an address that starts with https:// to download from, found {url!r}")
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
        publish(part, path, durable=True)
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
        opener = urllib.request.build_opener(_Redirects)
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # `part` is as long as the file or longer; the header tells which.
            if (error.headers.get("Content-Range") or "").endswith(f"*/{start}"):
                return
            part.unlink()
            raise _InterruptedError("the partial data belonged to another file") from error
        reason = " ".join(str(error.reason).split())
        raise ToolkitError(f"{url} cannot be downloaded: the server answered {error.code} {reason}") from error
    except urllib.error.URLError as error:
        raise ToolkitError(
            f"{url} cannot be reached ({error.reason}); run the command on a machine with network access"
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from error
    with response:
        if response.status != 206:
            start = 0  # the server cannot resume and sends the whole file
        if response.headers.get_content_type() == "text/html":
            raise ToolkitError(
                f"expected a file from {url}, but the server sent a web page; log in to the network or its proxy, "
                "then run the command again"
            )
        total = _total(response, start)
        if total is not None and total > LARGEST:
            raise ToolkitError(f"{url} has {total} bytes, expected at most {LARGEST}; do not trust the server")
        _check_free_space(part.parent, total, start)
        with open(part, "ab" if start else "wb") as file:
            done = _copy(response, file, start, total, progress)
    if done > (most := LARGEST if total is None else total):
        part.unlink()
        raise ToolkitError(f"expected at most {most} bytes from {url}, but more came; they were deleted")


def _copy(response: HTTPResponse, file: BinaryIO, done: int, total: int | None, progress: Progress | None) -> int:
    """Copy to the end, or until more has come than was expected; returns the size of the file."""
    since, before = time.monotonic(), done
    while done <= (LARGEST if total is None else total):
        try:
            chunk = response.read1(CHUNK)  # what is there, so that a slow server is noticed
        except (HTTPException, TimeoutError, ConnectionError) as error:
            raise _InterruptedError(str(error) or type(error).__name__) from error
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
        elapsed = time.monotonic() - since
        if elapsed > PATIENCE:
            if done - before < SLOWEST * elapsed:
                raise _InterruptedError(f"only {done - before} bytes came in {elapsed:.0f} seconds")
            since, before = time.monotonic(), done
    if total is not None and done < total:
        raise _InterruptedError(f"received {done} of {total} bytes")
    return done


def _total(response: HTTPResponse, start: int) -> int | None:
    """Size of the whole file in bytes; None if the server does not state it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != start:
            raise _InterruptedError(f"the server resumed at byte {match[1] if match else '?'} instead of {start}")
        return int(match[2])
    length = response.headers.get("Content-Length")
    return int(length) if length and re.fullmatch(r"\d{1,18}", length) else None


def _check_free_space(folder: Path, total: int | None, start: int) -> None:
    if total is not None and shutil.disk_usage(folder).free < total - start:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
