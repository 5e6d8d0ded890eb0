"""A track goes through the removers: windows of latents, a first and a second pass, and how much of it is pasted."""
