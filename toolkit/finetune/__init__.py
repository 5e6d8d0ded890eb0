"""Step 2 of V-LASIK (arXiv 2406.14510, section 2): train a remover from datasets of pairs.

Names are imported on first use, so importing the package is cheap.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "FinetuneConfig": "config",
    "FinetuneObserver": "report",
    "FinetuneReport": "report",
    "finetune": "finetuning",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
