"""Installed distributions made of files: what a packaging tool leaves behind, without the tool."""

import sys

import pytest

TASK = """
from toolkit.task import AttributeTask, TaskOptions
from pydantic import Field


class Options(TaskOptions):
    size: float = Field(0.5, gt=0, le=2, description="size of the dot")
    colour: str = Field("red", description="colour of the dot")


class Task(AttributeTask):
    name = "{name}"
    description = "{description}"
    api_version = 1
    prompt = "a face"
    Options = Options

    def masker(self):
        raise NotImplementedError

    def pair_generator(self):
        raise NotImplementedError
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """``install(distribution, points, modules)`` in a folder on the path; returns that folder.

    `points` maps task names to entry-point values, `modules` names of modules to their source.
    """
    before = set(sys.modules)

    def put(distribution, points, modules=None, version="1.0", folder="site", metadata=True):
        site = tmp_path / folder
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = points if isinstance(points, str) else "".join(f"{key} = {value}\n" for key, value in points.items())
        (info / "entry_points.txt").write_text(f"[toolkit.tasks]\n{lines}")
        for name, source in (modules or {}).items():
            (site / f"{name}.py").write_text(source)
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(site)
        return site

    yield put
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and origin.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def task_source():
    """``task_source(name)``: source of a module with a working `Task` of that name."""
    return lambda name, description="A dot.": TASK.format(name=name, description=description)
