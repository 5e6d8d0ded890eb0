"""The pieces of step 1 of V-LASIK (arXiv 2406.14510, section 4.1), one file each, and the pipeline that joins them.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module

_HOMES = {
    "mask_to_latent": "latent_mask",
    "blend": "blended_latents",
    "invert": "shared_noise",
    "reference_indices": "references",
    "CrossFrameAttention": "cross_frame_attention",
    "VideoInpaintPipeline": "inpaint_pipeline",
    "VideoInpaintOutput": "inpaint_pipeline",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
