"""The errors a user can meet. Each is one sentence or two: what was expected, what was found, what to do."""


class ToolkitError(Exception):
    """Base of every error that the command line prints as one line; anything else is a bug with a traceback."""

    exit_code = 1


class UsageError(ToolkitError):
    """The request itself is wrong: an unknown option, a bad value, an output folder of another config."""

    exit_code = 2


class InputError(ToolkitError):
    """A file cannot be used: missing, unreadable, truncated, of another kind."""


class MissingExtra(ToolkitError, ImportError):
    """An optional dependency or weights file is absent; the message names the one step that brings it."""

    exit_code = 2


class ContractError(ToolkitError, TypeError):
    """A plugin breaks the `AttributeTask` contract; the message names the class and the method."""

    exit_code = 2
