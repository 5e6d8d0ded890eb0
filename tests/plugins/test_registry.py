"""Plugins are found by metadata; one that is broken is a row in the list and raises only for who asks for it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from toolkit.errors import ContractError, MissingExtra, ToolkitError, UsageError
from toolkit.registry import entry, list_tasks, load_task, load_task_class
from toolkit.task import API_VERSION, AttributeTask

ROOT = Path(__file__).resolve().parents[2]


def row(name, distribution=None):
    rows = [task for task in list_tasks() if task.name == name and distribution in (None, task.distribution)]
    assert len(rows) == 1, rows
    return rows[0]


def test_working_plugin(install, task_source):
    install("acme-hats", {"hats": "hats_module:Task"}, {"hats_module": task_source("hats", "Hats on heads.")}, "2.5")
    listed = row("hats")
    assert (listed.status, listed.reason, listed.description) == ("ok", "", "Hats on heads.")
    assert (listed.distribution, listed.version, listed.value) == ("acme-hats", "2.5", "hats_module:Task")
    task = load_task("hats", {"size": 1.5})
    assert isinstance(task, AttributeTask) and task.options.size == 1.5 and task.options.colour == "red"
    assert load_task_class("acme-hats:hats") is type(task)
    assert load_task_class("Acme_Hats:hats") is type(task), "names of distributions are compared as pip compares them"


def test_loading_one_plugin_imports_no_other(install, task_source):
    bomb = "raise RuntimeError('imported')"
    modules = {"good_module": task_source("good"), "bomb_module": bomb}
    install("acme", {"good": "good_module:Task", "bomb": "bomb_module:Task"}, modules)
    assert load_task("good").name == "good"
    assert entry("bomb").value == "bomb_module:Task"
    assert "bomb_module" not in sys.modules


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import absent_lib.part", MissingExtra, ["imports 'absent_lib'", "pip install absent_lib"]),
        ("1 / 0", ContractError, ["ZeroDivisionError", "pip uninstall acme"]),
        ("raise SystemExit(3)", ContractError, ["SystemExit", "pip uninstall acme"]),
        ("def broken(:", ContractError, ["SyntaxError"]),
        ("Other = 1", ContractError, ["AttributeError", "Task"]),
        ("from toolkit.errors import MissingExtra\nraise MissingExtra('get x')", MissingExtra, ["get x"]),
        ("raise ValueError('two\\nlines')", ContractError, ["two lines"]),
    ],
)
def test_broken_import(install, source, error, words):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": source}, "3.1")
    listed = row("hats")
    assert listed.status == "broken" and listed.description == ""
    with pytest.raises(error) as raised:
        load_task("hats")
    assert str(raised.value) == listed.reason
    assert "\n" not in listed.reason
    for word in ["'hats'", "acme 3.1", *words]:
        assert word in listed.reason


def test_missing_module_of_the_plugin_itself(install):
    install("acme", {"hats": "absent_module:Task"})
    with pytest.raises(MissingExtra, match=r"its module 'absent_module' is missing: reinstall it with `pip install"):
        load_task("hats")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("Task = 7", "found a int"),
        ("class Task: pass", "found Task"),
        ("def Task(): pass", "found a function"),
        ("Task = None", "found a NoneType"),
    ],
)
def test_wrong_type(install, source, found):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": source})
    assert row("hats").status == "broken"
    with pytest.raises(ContractError, match=f"hats_module:Task must be a subclass of AttributeTask, {found}"):
        load_task("hats")


def test_class_that_breaks_the_contract_names_the_method(install, task_source):
    source = task_source("hats").replace("def masker(self)", "def masks(self)")
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": source})
    with pytest.raises(ContractError, match=r"acme 1.0 cannot be used: .*does not define `masker`"):
        load_task("hats")


def test_name_unlike_the_entry_points(install, task_source):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": task_source("caps")})
    assert row("hats").status == "broken"
    with pytest.raises(ContractError, match="its class has the name 'caps'"):
        load_task("hats")


def test_future_contract(install, task_source):
    source = task_source("hats").replace("api_version = 1", f"api_version = {API_VERSION + 1}")
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": source})
    listed = row("hats")
    assert listed.status == "future"
    with pytest.raises(ContractError) as raised:
        load_task("hats")
    assert f"version {API_VERSION + 1} of the contract and this toolkit knows {API_VERSION}" in str(raised.value)
    assert "pip install --upgrade vlasik-toolkit" in listed.reason


def test_equal_duplicates_collapse(install, task_source):
    points, modules = {"hats": "hats_module:Task"}, {"hats_module": task_source("hats")}
    install("acme", points, modules, folder="one")
    install("acme", points, modules, folder="two")
    assert row("hats").status == "ok"
    assert load_task("hats").name == "hats"


def test_line_given_twice_in_one_file_collapses(install, task_source):
    install("acme", "hats = hats_module:Task\nhats = hats_module:Task\n", {"hats_module": task_source("hats")})
    assert row("hats").status == "ok"


def test_true_conflict_asks_for_the_distribution(install, task_source):
    install("acme", {"hats": "acme_module:Task"}, {"acme_module": task_source("hats", "Acme's.")})
    install("bolt", {"hats": "bolt_module:Task"}, {"bolt_module": task_source("hats", "Bolt's.")})
    assert row("hats", "acme").status == row("hats", "bolt").status == "conflict"
    assert "acme:hats" in row("hats", "acme").reason and "bolt" in row("hats", "acme").reason
    with pytest.raises(UsageError, match="use acme:hats or bolt:hats"):
        load_task("hats")
    with pytest.raises(UsageError, match="use acme:hats or bolt:hats"):
        entry("hats")
    assert load_task("acme:hats").description == "Acme's."
    assert load_task("bolt:hats").description == "Bolt's."


def test_conflict_with_a_broken_plugin_keeps_both_reasons(install, task_source):
    install("acme", {"hats": "acme_module:Task"}, {"acme_module": task_source("hats")})
    install("bolt", {"hats": "bolt_module:Task"}, {"bolt_module": "1 / 0"})
    assert row("hats", "acme").status == "conflict"
    assert row("hats", "bolt").status == "broken"


def test_one_distribution_with_two_values_is_broken(install, task_source):
    modules = {"a_module": task_source("hats"), "b_module": task_source("hats")}
    install("acme", "hats = a_module:Task\nhats = b_module:Task\n", modules)
    assert row("hats").status == "broken"
    with pytest.raises(ContractError, match="two values, a_module:Task and b_module:Task"):
        load_task("hats")


def test_metadata_that_is_no_text_is_a_broken_task(install, task_source):
    info = next(install("bad-one", "").glob("*.dist-info"))
    (info / "entry_points.txt").write_bytes(b"[toolkit.tasks]\nhats\xb7 = x:y\n")
    install("acme", {"caps": "caps_module:Task"}, {"caps_module": task_source("caps")})
    assert row("caps").status == "ok"
    assert [(listed.status, listed.distribution) for listed in list_tasks() if listed.distribution == "bad-one"] == [
        ("broken", "bad-one")
    ]


@pytest.mark.parametrize(
    "points", ["hats\n", "= x:y\n", "\x00\n", "hats = \n", "hats = not a module\n", "[toolkit.tasks\n"]
)
def test_damaged_metadata_never_ends_the_search(install, task_source, points):
    install("bad-one", points)
    install("acme", {"caps": "caps_module:Task"}, {"caps_module": task_source("caps")})
    assert row("caps").status == "ok"
    for listed in list_tasks():
        if listed.distribution == "bad-one":
            assert listed.status == "broken" and listed.reason
            with pytest.raises(ToolkitError):
                load_task(listed.qualified)


def test_distribution_without_metadata(install, task_source):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": task_source("hats")}, metadata=False)
    assert (row("hats").status, row("hats").distribution) == ("ok", "acme")


def test_unknown_task_suggests_the_nearest(install, task_source):
    install("acme", {"moustaches": "m_module:Task"}, {"m_module": task_source("moustaches")})
    with pytest.raises(UsageError, match=r"there is no task 'mustaches', did you mean moustaches\?"):
        load_task("mustaches")
    with pytest.raises(UsageError, match="`toolkit tasks list`"):
        load_task("qqqqqqqqqq")
    with pytest.raises(UsageError, match="there is no task 'other:moustaches'"):
        load_task("other:moustaches")
    for odd in ("", ":", "acme:", ":x"):
        with pytest.raises(UsageError):
            load_task(odd)


def test_unknown_option_suggests_the_nearest(install, task_source):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": task_source("hats")})
    with pytest.raises(UsageError, match=r"unknown option 'color', did you mean 'colour'\?"):
        load_task("hats", {"color": "blue"})
    with pytest.raises(UsageError, match="known are 'size', 'colour'"):
        load_task("hats", {"zzzzzzzz": 1})


def test_wrong_values_are_one_sentence_each(install, task_source):
    install("acme", {"hats": "hats_module:Task"}, {"hats_module": task_source("hats")})
    with pytest.raises(UsageError) as raised:
        load_task("hats", {"size": -1, "colour": 3})
    message = str(raised.value)
    assert "'size' must be greater than 0, found -1" in message
    assert "'colour' must be a valid string, found 3" in message
    assert message.count(";") == 1


def test_own_tasks_come_in_by_the_same_entry_points():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["toolkit.tasks"]
    own = {task.name: task for task in list_tasks() if task.distribution == "vlasik-toolkit"}
    assert {name: task.value for name, task in own.items()} == declared
    assert all(task.status == "ok" for task in own.values()), own


def test_listing_imports_nothing_heavy():
    script = (
        "import sys; from toolkit.registry import list_tasks; list_tasks();"
        "print(sorted({'torch', 'diffusers', 'mediapipe', 'cv2', 'scipy', 'av', 'trimesh'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
