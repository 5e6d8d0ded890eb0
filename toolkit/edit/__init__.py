"""Step 3 of V-LASIK (arXiv 2406.14510, section 4.3): a video and removers in, the video without the attributes out.

`edit_video` edits a file, `edit_videos` a folder, and `load_pipeline` gives the diffusers-style pipeline for frames in
memory. Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "EditConfig": "config",
    "EditObserver": "report",
    "EditReport": "report",
    "edit_video": "engine",
    "edit_videos": "batch",
    "load_pipeline": "models",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
