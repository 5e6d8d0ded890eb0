"""Downloads weights into local caches; nothing else in the toolkit downloads.

Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "DOWNLOADS": "downloads",
    "Download": "downloads",
    "RemoteFile": "downloads",
    "cache_folder": "downloads",
    "download": "transfer",
    "fetch_backbone": "hub",
    "fetch_file": "downloads",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
