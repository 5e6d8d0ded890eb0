"""Trains the embedded backbone `nano` from datasets that the user names.

Only the command line imports this package. Names are imported on first use, so importing the package is cheap.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "NanoShape": "shape",
    "PretrainConfig": "config",
    "PretrainObserver": "report",
    "PretrainReport": "report",
    "Recipe": "recipe",
    "StageRecipe": "recipe",
    "pretrain": "pretraining",
    "read_recipe": "recipe",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
