"""Step 2 of V-LASIK (arXiv 2406.14510, section 4.2): from datasets of pairs to a remover.

Nothing heavy is imported until a name is used.
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
