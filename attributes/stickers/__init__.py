"""Draw stickers on faces: sticker art, morphable models, and spots on the skin."""
