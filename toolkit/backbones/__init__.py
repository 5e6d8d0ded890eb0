"""Backbones: sets of a VAE, UNet, text encoder, ControlNets and motion adapter that work together.

Modules are imported on first use. Only `load` imports torch.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "BACKBONES": "spec",
    "Backbone": "loading",
    "BackboneSpec": "spec",
    "ConstantTextEncoder": "constant",
    "Lora": "spec",
    "Part": "spec",
    "PixelUnshuffleCoder": "unshuffle",
    "backbone_names": "describing",
    "check_compatible": "compatible",
    "describe": "describing",
    "identity": "locations",
    "is_same_part": "locations",
    "load": "loading",
    "part_folder": "locations",
    "provenance": "locations",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
