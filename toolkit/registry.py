"""Find the installed tasks by their entry points in the group ``toolkit.tasks``.

The project's own tasks are found in the same way as those of any other distribution. Listing imports every plugin, and
a plugin that fails becomes a row with a reason. Loading a task by name imports that plugin alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Literal

from toolkit.errors import ContractError, MissingExtra, ToolkitError, UsageError
from toolkit.task import API_VERSION, AttributeTask
from toolkit.validation import did_you_mean, validated

GROUP = "toolkit.tasks"

Status = Literal["ok", "broken", "conflict", "future"]


@dataclass(frozen=True)
class TaskEntry:
    """A task of an installed distribution.

    Attributes:
        name: the entry point's name; `qualified` adds the distribution.
        distribution, version: name and version of the distribution.
        value: the entry point's value, ``module:attribute``.
        status: ``ok``, ``broken`` (it cannot be used), ``future`` (written for a later contract) or ``conflict``
            (another distribution offers the same name; use `qualified`).
        reason: one sentence, empty if the status is ``ok``.
        description: the task's own sentence, empty if the task could not be loaded.
        shared: whether another distribution offers the same name.
    """

    name: str
    distribution: str
    version: str
    value: str
    status: Status = "ok"
    reason: str = ""
    description: str = ""

    shared: bool = False

    @property
    def qualified(self) -> str:
        return f"{self.distribution}:{self.name}"

    @property
    def label(self) -> str:
        """How to name the task: `name` if that is enough, else `qualified`."""
        return self.qualified if self.shared else self.name


class _Future(ContractError):
    """The plugin was written for a later contract."""


@dataclass(frozen=True)
class _Found:
    """An entry point with the name and version of its distribution. `problem` tells why metadata cannot be read."""

    name: str
    distribution: str
    version: str
    point: EntryPoint | None = field(compare=False)
    value: str = ""
    problem: str = ""

    def load(self) -> type[AttributeTask[Any]]:
        """Import the plugin and check that it is a usable task.

        Raises:
            MissingExtra: it needs a package that is not installed.
            ContractError: its metadata, import or class is wrong.
        """
        who = f"the task {self.name!r} of the distribution {self.distribution} {self.version}".rstrip()
        if self.problem or self.point is None:
            raise ContractError(f"{who} cannot be used: {self.problem}")
        try:
            loaded = self.point.load()
        except ToolkitError as error:
            kind = MissingExtra if isinstance(error, MissingExtra) else ContractError
            raise kind(f"{who} cannot be used: {error}") from error
        except ModuleNotFoundError as error:
            missing = error.name or str(error)
            if f"{self.value.partition(':')[0]}.".startswith(f"{missing}."):
                advice = f"its module {missing!r} is missing: reinstall it with `pip install {self.distribution}`"
            else:
                package = missing.split(".")[0]
                advice = f"it imports {missing!r}, which is not installed: try `pip install {package}`"
            raise MissingExtra(f"{who} cannot be used: {advice}") from error
        except (Exception, SystemExit) as error:
            raise ContractError(
                f"{who} cannot be used: importing {self.value} raised {type(error).__name__}: {_one_line(error)}; "
                f"update it or remove it with `pip uninstall {self.distribution}`"
            ) from error
        return self._checked(loaded, who)

    def _checked(self, loaded: Any, who: str) -> type[AttributeTask[Any]]:
        if not (isinstance(loaded, type) and issubclass(loaded, AttributeTask)):
            found = loaded.__name__ if isinstance(loaded, type) else f"a {type(loaded).__name__}"
            raise ContractError(
                f"{who} cannot be used: {self.value} must be a subclass of AttributeTask, found {found}"
            )
        version = getattr(loaded, "api_version", None)
        if isinstance(version, int) and version > API_VERSION:
            raise _Future(
                f"{who} was written for version {version} of the contract and this toolkit knows {API_VERSION}: "
                f"update with `pip install --upgrade vlasik-toolkit`"
            )
        if getattr(loaded, "__abstractmethods__", None):
            missing = ", ".join(f"`{method}`" for method in sorted(loaded.__abstractmethods__))
            raise ContractError(f"{who} cannot be used: {self.value} does not define {missing}")
        if not isinstance(getattr(loaded, "description", None), str) or not hasattr(loaded, "name"):
            raise ContractError(f"{who} cannot be used: {self.value} sets no `name` or no `description`")
        if loaded.name != self.name:
            raise ContractError(
                f"{who} cannot be used: its class has the name {loaded.name!r}, and the entry point must have the same"
            )
        return loaded


def list_tasks() -> list[TaskEntry]:
    """All installed tasks, sorted by name. Imports every plugin; none of them can raise."""
    entries = []
    for name, offers in sorted(_by_name().items()):
        for found in sorted(offers, key=lambda offer: offer.distribution):
            status: Status = "ok"
            reason = description = ""
            try:
                description = found.load().description
            except _Future as error:
                status, reason = "future", str(error)
            except ToolkitError as error:
                status, reason = "broken", str(error)
            else:
                if len(offers) > 1:
                    others = ", ".join(o.distribution for o in offers if o.distribution != found.distribution)
                    status = "conflict"
                    reason = f"{others} also offers {name!r}: use {found.distribution}:{name}"
            entries.append(
                TaskEntry(
                    name,
                    found.distribution,
                    found.version,
                    found.value,
                    status,
                    reason,
                    description,
                    shared=len(offers) > 1,
                )
            )
    return entries


def bare_name(name: str) -> str:
    """The task's own name, without the distribution in ``distribution:name``."""
    return name.rpartition(":")[2]


def load_task_class(name: str) -> type[AttributeTask[Any]]:
    """The class of a task, by ``name`` or ``distribution:name``. Imports no other plugin.

    Raises:
        UsageError: no task has this name (the message suggests the nearest), or several distributions offer it.
        MissingExtra, ContractError: the task is broken or written for a later contract. The message names the
            distribution.
    """
    return _find(name).load()


def load_task(name: str, options: Mapping[str, Any] | None = None) -> AttributeTask[Any]:
    """Build a task with these options.

    Raises:
        UsageError: as for `load_task_class`, or an option is unknown (the message suggests the nearest) or has a wrong
            value.
        MissingExtra, ContractError: as for `load_task_class`.
    """
    task = load_task_class(name)
    return task(validated(task.Options, options or {}))


def entry(name: str) -> TaskEntry:
    """The distribution and entry point of a task, without importing it. `description` is empty.

    Raises:
        UsageError: no task has this name, or several distributions offer it.
    """
    found = _find(name)
    return TaskEntry(found.name, found.distribution, found.version, found.value)


def _find(name: str) -> _Found:
    distribution, bare = name.rpartition(":")[0], bare_name(name)
    tasks = _by_name()
    offers = [offer for offer in tasks.get(bare, ()) if not distribution or _same(offer.distribution, distribution)]
    if not offers:
        known = [*tasks, *(f"{offer.distribution}:{key}" for key, all_ in tasks.items() for offer in all_)]
        hint = did_you_mean(name, known) or "; `toolkit tasks list` shows the installed tasks"
        raise UsageError(f"there is no task {name!r}{hint}")
    if len(offers) > 1:
        choices = " or ".join(sorted(f"{offer.distribution}:{bare}" for offer in offers))
        raise UsageError(f"several distributions offer the task {bare!r}: use {choices}")
    return offers[0]


def _by_name() -> dict[str, list[_Found]]:
    """All entry points by task name. An entry point that is found twice counts once."""
    tasks: dict[str, dict[_Found, None]] = defaultdict(dict)
    for found in _discover():
        tasks[found.name][found] = None
    return {name: _merge_twice_declared(list(offers)) for name, offers in tasks.items()}


def _merge_twice_declared(offers: list[_Found]) -> list[_Found]:
    """Mark a name as broken if one distribution gives it two values, since ``distribution:name`` is then ambiguous."""
    by_distribution: dict[str, list[_Found]] = defaultdict(list)
    for offer in offers:
        by_distribution[offer.distribution].append(offer)
    merged = []
    for same in by_distribution.values():
        first = same[0]
        if len(same) > 1:
            values = " and ".join(offer.value for offer in same)
            problem = f"its metadata gives the name two values, {values}"
            first = _Found(first.name, first.distribution, first.version, None, first.value, problem)
        merged.append(first)
    return merged


def _discover() -> Iterator[_Found]:
    """Entry points, as from `importlib.metadata.entry_points`, but tolerant of distributions with broken metadata.

    A distribution that appears again further down the path is shadowed, like its modules.
    """
    seen = set()
    for distribution in distributions():
        key = _canonical(_folder_name(distribution) or _identity(distribution)[0])
        if key in seen:
            continue
        seen.add(key)
        if GROUP not in _entry_points_text(distribution):
            continue  # before metadata is parsed, which takes long in an environment of many distributions
        name, version = _identity(distribution)
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception as error:
            yield _Found(name, name, version, None, problem=f"its entry_points.txt is damaged: {_one_line(error)}")
            continue
        for point in points:
            yield _Found(point.name, name, version, point, point.value)


def _entry_points_text(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")


def _folder_name(distribution: Distribution) -> str:
    """The name in that of its metadata's folder, ``NAME-VERSION.dist-info``; empty if the folder has another."""
    name, _, suffix = getattr(getattr(distribution, "_path", None), "name", "").rpartition(".")
    return name.split("-")[0] if suffix in ("dist-info", "egg-info") else ""


def _identity(distribution: Distribution) -> tuple[str, str]:
    name = version = None
    with suppress(Exception):  # a dist-info folder without METADATA, left by an interrupted uninstall
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    return name or _folder_name(distribution) or "unknown", version or ""


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _same(one: str, other: str) -> bool:
    return _canonical(one) == _canonical(other)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
