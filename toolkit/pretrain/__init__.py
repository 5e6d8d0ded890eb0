"""The embedded backbone `nano`, trained from datasets that the user names.

It stands above the stages, beside the command line, and nothing but that imports it. Nothing heavy is imported until
a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "NanoShape": "shape",
    "PretrainConfig": "config",
    "PretrainObserver": "report",
    "Recipe": "recipe",
    "StageRecipe": "recipe",
    "pretrain": "pretraining",
    "read_recipe": "recipe",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
