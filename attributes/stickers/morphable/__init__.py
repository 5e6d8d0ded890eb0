"""Morphable face models that the user names, fitted to the landmarks of a clip."""
