"""The pieces of V-LASIK (arXiv 2406.14510, section 4), one file each, and the pipelines that join them.

Nothing heavy is imported until a name is used.
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
