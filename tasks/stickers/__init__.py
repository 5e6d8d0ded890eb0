"""The `stickers` task: pairs by drawing stickers on clean faces (V-LASIK, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from attributes.stickers.options import StickersOptions
from toolkit.task import AttributeTask, Masker, Measure, PairGenerator


class StickersTask(AttributeTask[StickersOptions]):
    """Draws stickers on faces without one; learns to take them off."""

    name = "stickers"
    description = "Stickers on the skin, drawn on clean faces: they follow the tracked mesh and its light."
    api_version = 1
    prompt = "a close-up photo of a person's face, clean bare skin"
    negative_prompt = "sticker, label, tattoo, drawing, text, blurry"
    exact_mask = False
    removers: ClassVar[Mapping[str, Path]] = {"nano": Path(__file__).parent / "removers" / "nano"}
    recipes: ClassVar[Mapping[str, Path]] = {
        name: Path(__file__).parent / "recipes" / f"{name}.json" for name in ("stickers-first", "stickers")
    }

    def masker(self) -> Masker:
        """Where a sticker may be: the skin that is turned to the viewer, without the forbidden regions."""
        from attributes.stickers.generator import SkinMasker

        return SkinMasker(self.options)

    def metrics(self) -> Mapping[str, Measure]:
        """How much of the sticker's rim is left where the edit changed the skin."""
        from attributes.stickers.fidelity import RimResidual

        left = Measure(
            RimResidual(),
            label="rim left",
            description="contrast along the rim of what was changed on the skin, after over before; 1: nothing was",
            better="lower",
            digits=2,
        )
        return {"rim_left": left}

    def pair_generator(self) -> PairGenerator:
        from attributes.stickers.generator import StickerPairs

        return StickerPairs(self.options)
