"""Stickers: morphable models, mesh fitting, UV renderer, sticker art."""
