"""The tasks that are installed: entry points of the group ``toolkit.tasks``, the project's own like anybody's.

Only the metadata says what is there. A plugin is imported when it is listed or asked for, and whatever goes wrong
then is a row in the list; it is raised only for the one who asks for that task by name.
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
    """One task that some installed distribution offers.

    Attributes:
        name: the entry point's name; `qualified` adds the distribution.
        distribution, version: who offers it.
        value: the entry point's value, ``module:attribute``.
        status: ``ok``; ``broken`` (it cannot be used), ``future`` (made for a later contract) or ``conflict``
            (another distribution offers the same name: ask for `qualified`).
        reason: one sentence, empty where the status is ``ok``.
        description: the task's own sentence, empty where it could not be loaded.
    """

    name: str
    distribution: str
    version: str
    value: str
    status: Status = "ok"
    reason: str = ""
    description: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.distribution}:{self.name}"


class _Future(ContractError):
    """Made for a later contract."""


@dataclass(frozen=True)
class _Found:
    """An entry point with what its distribution calls itself; `problem` where the metadata cannot be read."""

    name: str
    distribution: str
    version: str
    point: EntryPoint | None = field(compare=False)
    value: str = ""
    problem: str = ""

    def load(self) -> type[AttributeTask]:
        """Import the plugin and check what it is.

        Raises:
            MissingExtra: it needs a package that is absent.
            ContractError: its metadata, its import or its class is wrong.
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
                advice = f"its module {missing!r} is not there: reinstall it with `pip install {self.distribution}`"
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

    def _checked(self, loaded: Any, who: str) -> type[AttributeTask]:
        if not (isinstance(loaded, type) and issubclass(loaded, AttributeTask)):
            found = loaded.__name__ if isinstance(loaded, type) else f"a {type(loaded).__name__}"
            raise ContractError(
                f"{who} cannot be used: {self.value} must be a subclass of AttributeTask, found {found}"
            )
        version = getattr(loaded, "api_version", None)
        if isinstance(version, int) and version > API_VERSION:
            raise _Future(
                f"{who} is made for version {version} of the contract and this toolkit knows {API_VERSION}: "
                f"update with `pip install --upgrade vlasik-toolkit`"
            )
        if getattr(loaded, "__abstractmethods__", None):
            missing = ", ".join(f"`{method}`" for method in sorted(loaded.__abstractmethods__))
            raise ContractError(f"{who} cannot be used: {self.value} does not define {missing}")
        if not isinstance(getattr(loaded, "description", None), str) or not hasattr(loaded, "name"):
            raise ContractError(f"{who} cannot be used: {self.value} is an abstract base without a name or description")
        if loaded.name != self.name:
            raise ContractError(
                f"{who} cannot be used: the class calls itself {loaded.name!r}; the entry point must have that name"
            )
        return loaded


def list_tasks() -> list[TaskEntry]:
    """Every task that an installed distribution offers, by name; plugins are imported, and none can raise."""
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
                    reason = f"{others} offers {name!r} too: ask for {found.distribution}:{name}"
            entries.append(TaskEntry(name, found.distribution, found.version, found.value, status, reason, description))
    return entries


def load_task_class(name: str) -> type[AttributeTask]:
    """The class of a task, by ``name`` or ``distribution:name``; no other plugin is imported.

    Raises:
        UsageError: there is no such task (the nearest name is given), or several distributions offer it.
        MissingExtra, ContractError: it is broken or made for a later contract; the message names the distribution.
    """
    return _find(name).load()


def load_task(name: str, options: Mapping[str, Any] | None = None) -> AttributeTask:
    """A task with its options.

    Raises:
        UsageError: as `load_task_class`; or an option is unknown (the nearest is given) or has a wrong value.
        MissingExtra, ContractError: as `load_task_class`.
    """
    task = load_task_class(name)
    return task(validated(task.Options, options or {}))


def entry(name: str) -> TaskEntry:
    """Who offers the task, without importing it; `description` is empty.

    Raises:
        UsageError: there is no such task, or several distributions offer it.
    """
    found = _find(name)
    return TaskEntry(found.name, found.distribution, found.version, found.value)


def _find(name: str) -> _Found:
    distribution, _, bare = name.rpartition(":")
    tasks = _by_name()
    offers = [offer for offer in tasks.get(bare, ()) if not distribution or _same(offer.distribution, distribution)]
    if not offers:
        known = [*tasks, *(f"{offer.distribution}:{key}" for key, all_ in tasks.items() for offer in all_)]
        hint = did_you_mean(name, known) or "; `toolkit tasks list` shows what is installed"
        raise UsageError(f"there is no task {name!r}{hint}")
    if len(offers) > 1:
        choices = " or ".join(sorted(f"{offer.distribution}:{bare}" for offer in offers))
        raise UsageError(f"several distributions offer the task {bare!r}: ask for {choices}")
    return offers[0]


def _by_name() -> dict[str, list[_Found]]:
    """Every offer by task name; the same offer found twice is one."""
    tasks: dict[str, dict[_Found, None]] = defaultdict(dict)
    for found in _discover():
        tasks[found.name][found] = None
    return {name: _merge_twice_declared(list(offers)) for name, offers in tasks.items()}


def _merge_twice_declared(offers: list[_Found]) -> list[_Found]:
    """One distribution that gives a name two values cannot be asked for by ``distribution:name``: it is broken."""
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
    """`importlib.metadata.entry_points`, except that one distribution with broken metadata does not end the search.

    As there, a distribution found again further down the path is shadowed, as its modules are.
    """
    seen = set()
    for distribution in distributions():
        name, version = _identity(distribution)
        if _canonical(name) in seen:
            continue
        seen.add(_canonical(name))
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception as error:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                yield _Found(name, name, version, None, problem=f"its entry_points.txt is damaged: {_one_line(error)}")
            continue
        for point in points:
            yield _Found(point.name, name, version, point, point.value)


def _identity(distribution: Distribution) -> tuple[str, str]:
    name = version = None
    with suppress(Exception):  # a dist-info folder without METADATA, left by an interrupted uninstall
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    folder = getattr(distribution, "_path", None)
    return name or (folder.name.split("-")[0] if folder is not None else "unknown"), version or ""


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _same(one: str, other: str) -> bool:
    return _canonical(one) == _canonical(other)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
