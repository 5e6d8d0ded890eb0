"""The remover's format on disk: what finetuning writes and editing reads.

A remover is a folder with ``controlnet/`` (a `ControlNetModel` as diffusers saves it), ``remover.json`` (the record),
``README.md`` (model card) and ``images/``. `layout` names the files and has the record's models, `writing` and
`reading` are the two ends, `card` describes a remover, `pushing` uploads one. Nothing heavy is imported until a name
is used.
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
