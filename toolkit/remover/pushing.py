"""Uploads a remover to the Hugging Face Hub, only when the user asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.remover.layout import CONTROLNET, IMAGES, RECORD
from toolkit.remover.reading import read_remover


def push_remover(
    folder: str | Path,
    repository: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Upload a remover's own files, in one commit; what else lies in its folder stays here.

    The repository is created where it is missing. Files of an earlier remover that this one has not are deleted there.

    Args:
        folder: of the remover; every checksum is compared first.
        repository: ``OWNER/NAME``.
        private: whether only the owner may see it. A public repository is never uploaded to unless this is False.
        revision: branch to commit to, created where it is missing; the main one if None.
        message: of the commit.

    Returns:
        The address of the repository's page, of the branch's where one was named.

    Raises:
        InputError: as `read_remover`.
        UsageError: no such name is possible, or the repository is public.
        ToolkitError: nobody is logged in, no network, the server's refusal, a transfer that broke off.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"--repo must be OWNER/NAME, found {repository!r}")
    try:
        validate_repo_id(repository)
    except ValueError as error:
        raise UsageError(f"--repo {repository!r} is no possible name: {_first_line(error)}") from error
    remover = read_remover(folder)
    api = HfApi(token=True)
    with _explained(repository):
        page = api.create_repo(repository, private=private, exist_ok=True)
        if private and api.model_info(repository).private is False:
            raise UsageError(
                f"the repository {repository} is public: name another one, or give --no-private to publish the remover"
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
    """The client's errors as sentences."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except ToolkitError:
        raise
    except LocalTokenNotFoundError as error:
        raise ToolkitError("nobody is logged in to the Hugging Face Hub: run `hf auth login`") from error
    except OfflineModeIsEnabled as error:
        raise ToolkitError("the Hub is switched off: unset HF_HUB_OFFLINE to upload") from error
    except Exception as error:
        # An error in a thread that uploads a large file comes wrapped into a RuntimeError.
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        if isinstance(cause, HfHubHTTPError):
            raise ToolkitError(_refusal(repository, cause)) from error
        # The package of the HTTP client changes with the library's releases.
        if isinstance(cause, OSError) or re.match(r"http|requests", type(cause).__module__):
            reason = _first_line(cause)
            raise ToolkitError(
                f"{repository} was not uploaded: the Hub cannot be reached, or the transfer broke off ({reason}); run "
                "the command again where there is a network, it continues"
            ) from error
        if isinstance(cause, ValueError):
            raise ToolkitError(f"{repository} was not uploaded: {' '.join(str(cause).split())}") from error
        raise


def _refusal(repository: str, error: Exception) -> str:
    status = error.response.status_code if error.response is not None else None
    said = _first_line(getattr(error, "server_message", None) or error)
    if status == 401:
        return f"the Hub does not accept the login for {repository}: run `hf auth login` with a token that may write"
    if status == 403:
        return f"the login has no right to write to {repository} ({said}): use a token with that right, or another name"
    if status == 404:
        return f"the Hub has no {repository}, or the login may not see it ({said}): check --repo, then `hf auth login`"
    return f"{repository} was not uploaded, the Hub says: {said}"


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
