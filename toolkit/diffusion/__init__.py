"""The diffusion methods of V-LASIK (arXiv 2406.14510), one module each, and the pipelines that combine them.

Modules are imported on first use.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "mask_to_latent": "latent_mask",
    "blend": "blended_latents",
    "invert": "shared_noise",
    "WindowBlender": "context_windows",
    "adain_normalise": "normalisation",
    "inside_out_normalise": "normalisation",
    "remove_motion_layers": "motion_layers",
    "Chunk": "chunks",
    "EditSettings": "edit_settings",
    "VideoEditOutput": "edit_pipeline",
    "VideoEditPipeline": "edit_pipeline",
    "reference_indices": "references",
    "CrossFrameAttention": "cross_frame_attention",
    "VideoInpaintPipeline": "inpaint_pipeline",
    "VideoInpaintOutput": "inpaint_pipeline",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
