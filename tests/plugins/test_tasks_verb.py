"""`toolkit tasks list | show | check`: for people, with plugins good and bad."""

import subprocess
import sys

import pytest

from toolkit.cli import main
from toolkit.testing.building import HEAVY

GOOD = """
import numpy as np
from pydantic import Field
from toolkit.task import AttributeTask, Pair, TaskOptions

class DotOptions(TaskOptions):
    size: int = Field(4, ge=1, le=9, description="side of the square")
    two_words: bool = Field(False, description="whether [brackets] survive")

class Dot(AttributeTask):
    name = "dot"
    description = "A square on the nose [sic]"
    api_version = 1
    prompt = "a clean face"
    extra = "bfm"
    Options = DotOptions

    def masker(self):
        return self.masks

    def masks(self, clip):
        masks = np.zeros(clip.frames.shape[:3], bool)
        for t in np.flatnonzero(clip.present):
            x, y = clip.landmarks[t, 1, :2].astype(int)
            masks[t, y : y + self.options.size, x : x + self.options.size] = True
        return masks

    def pair_generator(self):
        return self.pairs

    def pairs(self, clip, rng, tools):
        colour = rng.integers(0, 255, 3)
        for t, mask in enumerate(self.masks(clip)):
            if mask.any():
                drawn = clip.frames[t].copy()
                drawn[mask] = colour
                yield Pair(clip.frames[t], drawn, mask, t)
"""


@pytest.fixture
def plugin(install):
    """Install a module as a distribution of its own that offers one task."""

    def put(name, source, value, distribution=None):
        install(distribution or f"dist-{name}", {name: value}, {value.split(":")[0]: source}, version="1.2")

    return put


def row(text, name):
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_list_shows_what_is_there(plugin, capsys):
    plugin("dot", GOOD, "verb_dot:Dot")
    assert main(["tasks", "list"]) == 0
    text = capsys.readouterr().out
    assert row(text, "dot").split()[1:4] == ["ok", "dist-dot", "1.2"]
    assert "A square on the nose [sic]" in text
    assert row(text, "stickers").split()[1:3] == ["ok", "vlasik-toolkit"]


def test_a_broken_plugin_is_a_row_and_stops_nobody(plugin, capsys):
    plugin("sick", "raise RuntimeError('no luck')", "verb_sick:Sick")
    plugin("dot", GOOD, "verb_dot:Dot")
    assert main(["tasks", "list"]) == 0
    text = capsys.readouterr().out
    assert row(text, "sick").split()[1:3] == ["broken", "dist-sick"] and "RuntimeError" in text
    assert row(text, "dot").split()[1] == "ok"
    assert main(["tasks", "show", "dot"]) == 0
    for action in ("show", "check"):
        assert main(["tasks", action, "sick"]) == 2
        assert "dist-sick 1.2" in capsys.readouterr().err


def test_two_that_share_a_name_are_asked_for_with_their_distribution(plugin, capsys):
    plugin("dot", GOOD, "verb_one:Dot", "dist-one")
    plugin("dot", GOOD.replace("A square", "Another square"), "verb_two:Dot", "dist-two")
    assert main(["tasks", "list"]) == 0
    assert capsys.readouterr().out.count("conflict") == 2
    assert main(["tasks", "show", "dot"]) == 2
    assert "dist-one:dot or dist-two:dot" in capsys.readouterr().err
    assert main(["tasks", "show", "dist-two:dot"]) == 0
    text = capsys.readouterr().out
    assert "Another square" in text and "dist-two 1.2" in text and "dist-one" not in text


def test_show_gives_the_options_from_the_schema(plugin, capsys):
    plugin("dot", GOOD, "verb_dot:Dot")
    assert main(["tasks", "show", "dot"]) == 0
    text = capsys.readouterr().out
    for word in ("A square on the nose [sic]", "dist-dot 1.2", "verb_dot:Dot", "a clean face", "vlasik-toolkit[bfm]"):
        assert word in text
    size = row(text, "size")
    assert size.split()[1:3] == ["int", "4"] and "1 to 9" in size and "side of the square" in size
    assert row(text, "two_words").split()[1:3] == ["bool", "off"] and "whether [brackets] survive" in text


def test_show_of_a_task_without_options(plugin, capsys):
    source = GOOD.replace("    Options = DotOptions\n", "").replace("self.options.size", "4")
    plugin("dot", source, "verb_dot:Dot")
    assert main(["tasks", "show", "dot"]) == 0
    assert "It has no options." in capsys.readouterr().out


def test_check_passes_a_good_task(plugin, capsys):
    plugin("dot", GOOD, "verb_dot:Dot")
    assert main(["tasks", "check", "dot"]) == 0
    text = capsys.readouterr().out
    assert "dot keeps the contract" in text and "failed" not in text
    assert row(text, "determinism").split() == ["determinism", "ok"]


def test_check_names_the_fault_and_exits_1(plugin, capsys):
    plugin("dot", GOOD.replace("rng.integers(0", "np.random.default_rng().integers(0"), "verb_dot:Dot")
    assert main(["tasks", "check", "dot"]) == 1
    captured = capsys.readouterr()
    assert row(captured.out, "determinism").split()[1] == "failed"
    assert "the same seed must yield the same conditioning_image" in captured.out
    assert "dot breaks the contract" in captured.err and "keeps" not in captured.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "stikers"], "did you mean stickers?"),
        (["check", "nothing-like-it"], "`toolkit tasks list` shows the installed tasks"),
        (["show"], "NAME"),
        ([], "ACTION"),
        (["lst"], "list"),
        (["list", "--jsn"], "--jsn"),
        (["new"], "NAME"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(words, message, capsys):
    assert main(["tasks", *words]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and message in text and text.count("\n") == 1


@pytest.mark.parametrize("words", [["tasks", "list"], ["tasks", "show", "stickers"], ["tasks", "--help"]])
def test_looking_at_tasks_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom toolkit.cli import main\n"
        f"code = main({words!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]" and "stickers" in done.stdout + "stickers" * (words[-1] == "--help")
