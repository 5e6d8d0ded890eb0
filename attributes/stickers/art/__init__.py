"""Provide sticker art: procedurally drawn stickers, and folders of pictures."""

from attributes.stickers.art.box import ArtBox, open_art
from attributes.stickers.art.drawn import draw, embedded_art
from attributes.stickers.art.folder import load_art
from attributes.stickers.art.sticker import Sticker

__all__ = ["ArtBox", "Sticker", "draw", "embedded_art", "load_art", "open_art"]
