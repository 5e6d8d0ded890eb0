"""Names from strangers' files reach the terminal as text: no verb passes on a character that a terminal obeys."""

import io
import re

import av
import numpy as np
import pytest
from rich.progress import Progress

from toolkit.cli import main
from toolkit.cli.console import _Console, print_table
from toolkit.cli.progress import ConsoleObserver
from toolkit.words import printable

EVIL = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202egpj"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_orders_become_escapes_and_names_stay():
    assert printable("\x1b[2J\x07\x9b\u202e") == "\\x1b[2J\\x07\\x9b\\u202e"
    for name in ("Zoë 張\N{SNOWMAN} \N{FAMILY}.mp4", "two\tcolumns\nand a line", "\\x1b", "שלום \u200f"):
        assert printable(name) == name


@pytest.fixture
def hostile(tmp_path):
    """A folder with an odd name that holds a broken video and a short, readable one."""
    folder = tmp_path / EVIL
    folder.mkdir()
    (folder / f"{EVIL}.mp4").write_bytes(b"no video")
    with av.open(str(folder / f"{EVIL}.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["edit", "{folder}/{name}.mp4", "{folder}/out.mp4", "--task", "stickers"],
        ["edit", "{folder}", "{folder}-out", "--task", "stickers"],
        ["edit", "in.mp4", "out.mp4", "--task", "{name}"],
        ["build-dataset", "--task", "stickers", "--videos", "{folder}/{name}.mkv", "--output", "{folder}-dataset"],
        ["dataset", "check", "{folder}"],
        ["dataset", "show", "{folder}"],
        ["removers", "--card", "{folder}"],
        ["finetune", "--data", "{folder}", "--output", "{folder}-remover"],
        ["evaluate", "{folder}", "--task", "stickers", "--output", "{folder}-evaluation"],
        ["compare", "{folder}/{name}.mkv", "--task", "stickers", "--output", "{folder}-comparison"],
        ["push", "{folder}", "--repo", "someone/remover"],
        ["fetch", "{name}"],
        ["tasks", "{name}"],
        ["{name}"],
        ["edit", "--{name}"],
    ],
    ids=" ".join,
)
def test_verbs_say_names_as_text(words, hostile, capsys):
    main([word.format(folder=hostile, name=EVIL) for word in words])
    said = "".join(capsys.readouterr())
    assert "\\x1b" in said and not OBEYED.findall(said.replace("\r", ""))


def test_tables_bars_and_observers_say_names_as_text(capsys):
    print_table(("name",), [[EVIL]], title=EVIL)
    observer = ConsoleObserver()
    for say in (observer.note, observer.warning):
        say(EVIL)
    observer.failed(EVIL, EVIL)
    observer.bug(EVIL, EVIL)
    said = "".join(capsys.readouterr())
    assert said.count("\\x1b[31m") == 8 and not OBEYED.findall(said)
    drawn = io.StringIO()
    with Progress(console=_Console(file=drawn, force_terminal=True, color_system="truecolor")) as bar:
        bar.add_task(EVIL, total=2)
    assert "\\x1b]0;owned" in drawn.getvalue() and "\x1b]0;" not in drawn.getvalue()
    assert "\x1b[" in drawn.getvalue()  # the bar's own colours
