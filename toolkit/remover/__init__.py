"""The remover format: finetuning writes it, editing reads it.

A remover is a folder with ``controlnet/`` (a `ControlNetModel` in diffusers' format), ``remover.json`` (the record),
``README.md`` (the model card) and ``images/``. `layout` defines file names and the record, `writing` and `reading`
write and read a remover, `card` renders the model card, `pushing` uploads a remover. Heavy libraries are imported on
first use.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "DatasetUse": "layout",
    "Remover": "reading",
    "RemoverRecord": "layout",
    "check_backbone": "reading",
    "finish_writing": "writing",
    "is_remover": "layout",
    "push_remover": "pushing",
    "read_remover": "reading",
    "render_card": "card",
    "shipped_remover": "shipped",
    "shipped_removers": "shipped",
    "write_remover": "writing",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
