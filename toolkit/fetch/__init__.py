"""Bringing weights onto this machine: the only part of the toolkit that downloads, and only when it is asked to.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module

_HOMES = {
    "SOURCES": "sources",
    "RemoteFile": "sources",
    "Source": "sources",
    "cache_folder": "sources",
    "download": "transfer",
    "fetch_backbone": "hub",
    "fetch_file": "sources",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
