"""Step 4: fidelity, identity, consistency and realism of edited videos (V-LASIK, arXiv 2406.14510, table 1).

`evaluate` measures files and folders and writes a report; `WarpError` and `ArcFace` work on frames in memory. Nothing
heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "ArcFace": "arcface",
    "EvaluateConfig": "config",
    "EvaluateObserver": "engine",
    "EvaluateReport": "engine",
    "Evaluation": "results",
    "WarpError": "warp_error",
    "choose_flow": "flow",
    "evaluate": "engine",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
