"""The `stickers` task: pairs made by drawing stickers on clean faces (V-LASIK, B)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attributes.stickers.options import StickersOptions
from toolkit.task import AttributeTask, Masker, Measure, PairGenerator


class StickersTask(AttributeTask[StickersOptions]):
    """Removes stickers. Learns from stickers drawn on clean faces."""

    name = "stickers"
    description = "Stickers on the skin, drawn on clean faces: they follow the tracked mesh and its light."
    api_version = 1
    prompt = "a close-up photo of a person's face, clean bare skin"
    negative_prompt = "sticker, label, tattoo, drawing, text, blurry"
    spares_eyes = True
    removers: ClassVar[Mapping[str, Path]] = {"nano": Path(__file__).parent / "removers" / "nano"}
    recipes: ClassVar[Mapping[str, Path]] = {"stickers": Path(__file__).parent / "recipes" / "stickers.json"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"number": (1, 1)}}

    def __init__(self, options: StickersOptions | None = None):
        super().__init__(options)
        self.exact_mask = self.options.masker == "embedded"

    def masker(self) -> Masker:
        """A masker of the stickers, or of the skin, as the option `masker` says."""
        if self.options.masker == "skin":
            from attributes.stickers.generator import SkinMasker

            return SkinMasker(self.options)
        from attributes.stickers.masker import StickerMasker

        return StickerMasker(self.options)

    def metrics(self) -> Mapping[str, Measure]:
        """The share of the sticker's outline that is left where the edit changed the skin."""
        from attributes.stickers.fidelity import RimResidual

        left = Measure(
            RimResidual(),
            label="rim left",
            description="contrast along the outline of the changed skin, after divided by before; 1 if nothing changed",
            better="lower",
            digits=2,
        )
        return {"rim_left": left}

    def pair_generator(self) -> PairGenerator:
        """Pairs with drawn stickers."""
        from attributes.stickers.generator import StickerPairs

        return StickerPairs(self.options)
