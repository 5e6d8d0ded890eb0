"""Step 4: measures fidelity, identity, consistency and realism of edited videos (V-LASIK, arXiv 2406.14510, table 1).

`evaluate` measures files and folders and writes a report; `WarpError` and `ArcFace` work on frames in memory. Heavy
libraries are imported when a name is first used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "ArcFace": "arcface",
    "EvaluateConfig": "config",
    "EvaluateObserver": "evaluation",
    "EvaluateReport": "evaluation",
    "Evaluation": "results",
    "WarpError": "warp_error",
    "choose_flow": "flow",
    "evaluate": "evaluation",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
