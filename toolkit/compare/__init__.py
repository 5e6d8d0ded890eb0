"""Runs methods and variants on the same videos and measures them in one evaluation.

`compare` runs other methods next to ours; `ablate` varies our settings. Both call `toolkit.edit`, then
`toolkit.evaluate`; the two meet in folders of videos. Heavy libraries are imported when a name is first used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "AblateConfig": "config",
    "CompareConfig": "config",
    "CompareObserver": "comparison",
    "ablate": "comparison",
    "compare": "comparison",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
