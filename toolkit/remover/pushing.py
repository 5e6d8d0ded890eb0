"""Upload a remover to the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError, UsageError
from toolkit.remover.layout import CONTROLNET, IMAGES, RECORD
from toolkit.remover.reading import read_remover

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


def push_remover(
    folder: str | Path,
    repository: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Upload the files of a remover in one commit. Other files in its folder are not uploaded.

    Creates the repository if it does not exist. In the repository, deletes files of an earlier remover that this one
    does not have.

    Args:
        folder: of the remover. All checksums are verified first.
        repository: ``OWNER/NAME``.
        private: create a private repository, and refuse to upload to a public one.
        revision: branch to commit to, created if it does not exist. The main branch if None.
        message: commit message.

    Returns:
        The address of the repository's page, or of the branch's page if `revision` is set.

    Raises:
        InputError: as for `read_remover`.
        UsageError: the name is invalid, or the repository is public.
        ToolkitError: nobody is logged in, the Hub cannot be reached or refuses, or the transfer was interrupted.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"--repo must be OWNER/NAME, found {repository!r}")
    try:
        validate_repo_id(repository)
    except ValueError as error:
        raise UsageError(f"--repo {repository!r} is not a valid name: {_first_line(error)}") from error
    remover = read_remover(folder)
    api = HfApi(token=True)
    with _explained(repository):
        page = api.create_repo(repository, private=private, exist_ok=True)
        if private and api.model_info(repository).private is False:
            raise UsageError(
                f"the repository {repository} is public: choose another one, or publish the remover with --no-private"
            )
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=remover.folder,
            allow_patterns=[escape(name) for name in (RECORD, *remover.record.files)],
            delete_patterns=[f"{CONTROLNET}/*", f"{IMAGES}/*"],
            revision=revision,
            commit_message=message or f"Remover of {', '.join(remover.record.tasks)}, step {remover.record.step}",
        )
    return f"{page}/tree/{revision}" if revision is not None else str(page)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn the client's errors into one-sentence messages."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except ToolkitError:
        raise
    except LocalTokenNotFoundError as error:
        raise ToolkitError("nobody is logged in to the Hugging Face Hub: run `hf auth login`") from error
    except OfflineModeIsEnabled as error:
        raise ToolkitError("HF_HUB_OFFLINE is set: unset it to upload") from error
    except Exception as error:
        # Errors from the threads that upload large files arrive wrapped in a RuntimeError.
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        if isinstance(cause, HfHubHTTPError):
            raise ToolkitError(_refusal(repository, cause)) from error
        # Releases of the library use different HTTP clients.
        if isinstance(cause, OSError) or re.match(r"http|requests", type(cause).__module__):
            reason = _first_line(cause)
            raise ToolkitError(
                f"{repository} was not uploaded: the Hub cannot be reached, or the transfer broke off ({reason}); "
                "check the network and run the command again, the upload resumes"
            ) from error
        if isinstance(cause, ValueError):
            raise ToolkitError(f"{repository} was not uploaded: {' '.join(str(cause).split())}") from error
        raise


def _refusal(repository: str, error: HfHubHTTPError) -> str:
    response: Any = error.response
    status = response.status_code if response is not None else None
    said = _first_line(getattr(error, "server_message", None) or error)
    if status == 401:
        return f"the Hub does not accept the login for {repository}: run `hf auth login` with a token that can write"
    if status == 403:
        return f"the login has no right to write to {repository} ({said}): use a token that can write, or another name"
    if status == 404:
        return f"the Hub has no {repository}, or the login may not see it ({said}): check --repo, then `hf auth login`"
    return f"{repository} was not uploaded, the Hub says: {said}"


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
