"""Errors shown to users. Messages are one or two sentences: what was expected, what was found, what to do."""


class ToolkitError(Exception):
    """Base class of errors that the command line prints in one line. Other exceptions are bugs and show a traceback."""

    exit_code = 1


class UsageError(ToolkitError):
    """The request is wrong, such as an unknown option, a bad value, or an output folder with another config."""

    exit_code = 2


class InputError(ToolkitError):
    """A file is unusable: missing, unreadable, truncated, or of the wrong type."""


class MissingExtra(ToolkitError, ImportError):
    """An optional dependency or weights file is missing. The message says how to install it."""

    exit_code = 2


class ContractError(ToolkitError, TypeError):
    """A plugin breaks the `AttributeTask` contract. The message names the class and the method."""

    exit_code = 2
