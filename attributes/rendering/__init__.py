"""Meshes of faces, the light on them and ray casting, shared by all attributes that are drawn."""
