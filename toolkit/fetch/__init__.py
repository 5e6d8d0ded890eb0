"""Bringing weights onto this machine: the only part of the toolkit that downloads, and only when it is asked to.

Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
