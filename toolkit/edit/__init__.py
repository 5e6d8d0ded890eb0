"""Edits videos: a video and removers in, the video without the attributes out (V-LASIK, arXiv 2406.14510, section C.2).

`edit_video` edits a file, `edit_videos` a folder, and `load_pipeline` returns the diffusers-style pipeline for frames
in memory. Importing the package is cheap; each name loads what it needs at its first use.

The modules, in the order of the work; each imports only from those before it:

    config      settings of `toolkit edit`
    results     results for each face, and warnings
    removers    trained removers, or the backbone's own inpainting
    resolved    `ResolvedEdit`: settings with nothing left open
    resolve     settings, removers and backbone into a `ResolvedEdit`
    pipelines   the models
    tracks      where the faces are: sightings, tracks, crops
    masks       where the attribute is along a track
    session     models, maskers and analysers, loaded once for all videos of a run
    removal     a track through the removers, and how much of the result is pasted
    tint        colours that an attribute leaves
    comparing   numbers of a frame before and after
    review      numbers of a track, and warnings
    output      paste, encode, compare, mark and sign
    report      the JSON file beside the video
    workspace   the folder of intermediate files
    video       one video through all of these
    folder      many videos
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "EditConfig": "config",
    "EditObserver": "report",
    "EditReport": "report",
    "edit_video": "video",
    "edit_videos": "folder",
    "load_pipeline": "pipelines",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
