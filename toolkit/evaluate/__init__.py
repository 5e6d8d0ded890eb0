"""Measuring edits: fidelity, identity, consistency and realism of edited videos (V-LASIK, arXiv 2406.14510, table 1).

Nothing heavy is imported until a name is used.
"""
