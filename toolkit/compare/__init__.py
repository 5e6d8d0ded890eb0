"""Methods and variants side by side on the same videos: they are run, and measured by one evaluation.

It stands above the stages: it calls editing, then evaluating, which meet in the folders of videos that are written.
`compare` runs other methods, `ablate` variants of our settings. Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "AblateConfig": "config",
    "CompareConfig": "config",
    "CompareObserver": "engine",
    "ablate": "engine",
    "compare": "engine",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
