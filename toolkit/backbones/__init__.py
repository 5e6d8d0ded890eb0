"""Backbones: which VAE, UNet, text encoder, ControlNets and motion adapter work together, and where they lie.

Nothing heavy is imported until a name is used; only `load` imports torch.
"""

from importlib import import_module

_HOMES = {
    "BACKBONES": "spec",
    "Backbone": "loading",
    "BackboneSpec": "spec",
    "ConstantTextEncoder": "constant",
    "Part": "spec",
    "backbone_names": "describing",
    "check_compatible": "compatible",
    "describe": "describing",
    "identity": "places",
    "load": "loading",
    "part_folder": "places",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
