"""Remove local attributes from videos of faces: the core, which knows no attribute by name.

The stages (`synthesis`, and later `finetune`, `edit`, `evaluate`) never import each other and meet through
folders on disk; attributes come in as plugins of the entry-point group ``toolkit.tasks``.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vlasik-toolkit")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0.0.0"
