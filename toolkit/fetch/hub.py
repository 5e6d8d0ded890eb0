"""Downloads backbones from the Hugging Face Hub into its own cache."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from pathlib import Path

from toolkit.backbones.locations import lora_file, part_folder
from toolkit.backbones.spec import BackboneSpec
from toolkit.errors import MissingExtra, ToolkitError, UsageError
from toolkit.files import sha256_of
from toolkit.validation import did_you_mean


def fetch_backbone(spec: BackboneSpec, parts: Collection[str] | None = None, endpoint: str | None = None) -> list[Path]:
    """Download a backbone's parts into the Hugging Face cache. Files in the cache are verified, not downloaded again.

    Args:
        parts: names of the parts; all if None.
        endpoint: address of the Hub or of a mirror; the library's default (``HF_ENDPOINT``) if None.

    Returns:
        The parts' folders.

    Raises:
        UsageError: the backbone has no such part, or it is a local folder with nothing to download.
        ToolkitError: there is no network, the server refuses, the repository lacks a file, a file is damaged, or the
            disk is full.
    """
    wanted = _wanted(spec, parts)
    files: dict[tuple[str, str], list[str]] = {}
    for name in wanted:
        part = spec.parts[name]
        assert part.repository is not None  # by `_wanted`
        inside = [f"{part.subfolder}/{file}" if part.subfolder else file for file in part.files]
        files.setdefault((part.repository, part.revision), []).extend(inside)
        for lora in part.loras:
            if lora.repository is not None:
                files.setdefault((lora.repository, lora.revision), []).append(lora.inside)
    for (repository, revision), names in files.items():
        _snapshot(repository, revision, names, endpoint)
    folders = []
    for name in wanted:
        try:
            folder = part_folder(spec, name)
            loras = [lora_file(spec, name, lora) for lora in spec.parts[name].loras]
        except MissingExtra as error:
            raise ToolkitError(f"the download of {name} for `{spec.name}` is incomplete: {error}") from error
        for file in spec.parts[name].files:
            _check_blob(folder / file)
        for path in loras:
            _check_blob(path)
        folders.append(folder)
    return folders


def _wanted(spec: BackboneSpec, parts: Collection[str] | None) -> list[str]:
    remote = [name for name, part in spec.parts.items() if part.repository is not None]
    if not remote:
        raise UsageError(f"the backbone {spec.name} is a local folder, so there is nothing to fetch")
    for name in parts or ():
        if name not in remote:
            hint = did_you_mean(name, remote) or f"; known are {', '.join(remote)}"
            raise UsageError(f"there is no part {name!r} to fetch for `{spec.name}`{hint}")
    return remote if parts is None else [name for name in remote if name in parts]


def _snapshot(repository: str, revision: str, names: list[str], endpoint: str | None) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    # Without a network, the library tries for half a minute and logs every attempt; one error is enough.
    logging.set_verbosity_error()
    try:
        snapshot_download(repository, revision=revision, allow_patterns=names, endpoint=endpoint)
    except GatedRepoError as error:
        raise ToolkitError(
            f"{repository} requires accepting its terms; accept them on its page, then run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ToolkitError(f"the repository {repository} no longer has the revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise ToolkitError(f"there is no repository {repository} on the Hub, or it is private") from error
    except LocalEntryNotFoundError as error:
        raise ToolkitError(
            f"{repository} cannot be reached ({_reason(error)}); run the command on a machine with network access"
        ) from error
    except HfHubHTTPError as error:
        raise ToolkitError(f"{repository} cannot be downloaded: {_reason(error)}; run the command again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ToolkitError(f"{repository} cannot be downloaded: the disk is full") from error
        raise ToolkitError(
            f"{repository} cannot be downloaded: {_reason(error)}; run the command again to resume"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ToolkitError(
            f"{repository} cannot be downloaded: the server's answer is no list of files ({_reason(error)}); log "
            "in to the network or its proxy, or correct HF_ENDPOINT, then run the command again"
        ) from error
    except Exception as error:
        # The library does not catch errors of its HTTP client, and that package changes between releases.
        if type(error).__module__.split(".")[0].startswith("http"):
            raise ToolkitError(
                f"the download of {repository} broke off ({_reason(error)}); run the command again to resume"
            ) from error
        raise
    finally:
        logging.set_verbosity(verbosity)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _check_blob(file: Path) -> None:
    """Compare a large file with its SHA-256, by which the cache names it; the library does not check this itself."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256_of(blob) != blob.name:
        file.unlink()
        blob.unlink(missing_ok=True)
        raise ToolkitError(
            f"{file.name} was damaged (expected SHA-256 {blob.name}) and has been deleted; run the command again"
        )
