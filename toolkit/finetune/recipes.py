"""Recipes: settings of `toolkit finetune` that tasks bring in their packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import read_json
from toolkit.registry import list_tasks, load_task_class
from toolkit.validation import did_you_mean

PER_RUN = frozenset({"data", "output", "cache_dir", "resume_from_checkpoint", "recipe", "preset"})
"""Settings that belong to one run or one machine, so a recipe must not set them."""


@dataclass(frozen=True)
class Recipe:
    """A recipe of an installed task; as text, ``TASK/NAME``, the task with its distribution if several offer it."""

    task: str
    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.task}/{self.name}"

    def read(self) -> dict[str, Any]:
        """The settings in the file, not yet validated.

        Raises:
            InputError: the file cannot be read, or sets something that belongs to a run.
        """
        try:
            settings = read_json(self.path)
        except (OSError, ValueError) as error:
            raise InputError(f"the recipe {self} in {self.path} cannot be read: {error}") from error
        if not isinstance(settings, dict):
            raise InputError(f"the recipe {self} in {self.path} must be a JSON object with settings")
        if wrong := sorted(PER_RUN & settings.keys()):
            raise InputError(f"the recipe {self} in {self.path} must not set {wrong[0]!r}, which belongs to each run")
        return settings


def list_recipes() -> list[Recipe]:
    """The recipes of all tasks that load, sorted by task and name; their files are not read."""
    found = []
    for entry in list_tasks():
        try:
            recipes = load_task_class(entry.qualified).recipes
        except ToolkitError:
            continue  # `toolkit tasks list` says what is wrong with the task
        found += [Recipe(entry.label, name, Path(path)) for name, path in recipes.items()]
    return sorted(found, key=lambda recipe: (recipe.task, recipe.name))


def find_recipe(spec: str) -> Recipe:
    """The recipe that ``NAME`` or ``TASK/NAME`` means.

    Raises:
        UsageError: no task brings it, or several do.
    """
    known = list_recipes()
    found = [recipe for recipe in known if spec in (recipe.name, str(recipe))]
    if len(found) > 1:
        raise UsageError(f"several tasks bring a recipe {spec!r}: use {' or '.join(map(str, found))}")
    if not found:
        names = [recipe.name for recipe in known] + [str(recipe) for recipe in known]
        shown = ", ".join(map(str, known)) or "none is installed"
        raise UsageError(f"there is no recipe {spec!r}{did_you_mean(spec, names) or f'; known are {shown}'}")
    return found[0]
