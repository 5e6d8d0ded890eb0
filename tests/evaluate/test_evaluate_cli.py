"""The command `toolkit evaluate`: exit codes, output and interruptions."""

import csv
import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from toolkit.cli import main


@pytest.fixture
def folders(write, face, tmp_path):
    """Two originals; one method has edits of both, another of only one."""
    for name in ("a", "b"):
        write(tmp_path / "o" / f"{name}.mkv", face[:4])
        write(tmp_path / "same" / f"{name}.mkv", face[:4])
    write(tmp_path / "half" / "b.mkv", face[:4])
    (tmp_path / "half" / "a.mkv").write_text("no video")
    return tmp_path


def words(folder, *edited, **more):
    found = ["evaluate", "--original", str(folder / "o"), "--output", str(folder / "report"), "--task", "glasses"]
    found += ["--flow", "dis", "--no-identity", "--workers", "1", "--edited", *edited]
    return found + [part for name, value in more.items() for part in (f"--{name}", str(value))]


def problems(err):
    """The lines of stderr without those of progress, which a slow machine prints every half minute."""
    return [line for line in err.splitlines() if line and not line.startswith("measuring: ")]


def test_infinite_is_written_as_such_in_every_form(folders, capsys):
    assert main(words(folders, f"same={folders / 'same'}", target=folders / "same")) == 0
    said = capsys.readouterr()
    table, report = said.out, folders / "report"
    row = next(line for line in table.splitlines() if "same" in line)
    assert row.count("inf") >= 2 and "0.00" in row and "1.000" in row
    assert "flow: OpenCV DIS (medium)" in table and "dG: the embedded segmenter" in table
    assert f"report: {report / 'index.html'}" in table and not problems(said.err)
    rows = list(csv.DictReader((report / "table.csv").open(encoding="utf-8")))
    assert [found["psnr_outside"] for found in rows[:2]] == ["inf", "inf"]
    assert float(rows[0]["glasses_removed"]) == 0
    document = json.loads((report / "report.json").read_text(encoding="utf-8"))
    values = document["methods"][0]["videos"][0]
    assert values["values"]["psnr_outside"] == "Infinity" and values["per_frame"]["psnr_frame"] == ["Infinity"] * 4
    assert document["means"]["same"]["psnr_outside"]["value"] == "Infinity"
    assert r"$\infty$" in (report / "table.tex").read_text(encoding="utf-8")
    assert "<td>inf" in (report / "index.html").read_text(encoding="utf-8")
    assert "NaN" not in (report / "report.json").read_text(encoding="utf-8")


def test_a_video_that_cannot_be_measured_is_said_and_exits_with_1(folders, capsys):
    methods = (f"half={folders / 'half'}", f"same={folders / 'same'}")
    assert main(words(folders, *methods)) == 1
    said = capsys.readouterr()
    lines = problems(said.err)
    assert len(lines) == 1 and lines[0].startswith("not measured: a.mkv, half: ") and "Traceback" not in said.err
    assert "half" in said.out and "same" in said.out
    assert (folders / "report" / "report.json").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--task", "galsses"], "did you mean glasses"),
        (["--edited", "half"], "NAME=PATH"),
        (["--edited", "=half"], "NAME=PATH"),
        (["--edited", "half="], "NAME=PATH"),
        (["--edited", "same=x"], "found same twice"),
        (["--edited", "absent=no/such/folder"], "expected the edited videos of absent at no/such/folder"),
        (["--original", "no/such/folder"], "expected the originals at no/such/folder"),
        (["--output", "file"], "name another output"),
        (["--clip-length", "0"], "--clip-length"),
        (["--mask", "hand"], "--mask"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_a_wrong_request_is_one_line_and_exits_with_2(folders, capsys, monkeypatch, change, said):
    monkeypatch.chdir(folders)
    (folders / "file").write_text("text")
    assert main([*words(folders, f"same={folders / 'same'}"), *change]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error:") and said in error and len(error.splitlines()) == 1
    assert not (folders / "report" / "report.json").exists()


def test_odd_names_of_methods_and_failures_that_are_allowed(folders, capsys):
    same = folders / "same"
    (folders / "x=y").symlink_to(same)
    line = words(folders, f"a b={same}", f"[bold]x[/bold]={same}", f"half={folders / 'half'}", f"x={folders / 'x=y'}")
    assert main([*line, f"--edited=-dash={same}", "--allow-failures", "--no-clips"]) == 0
    said = capsys.readouterr()
    assert (
        all(name in said.out for name in ("-dash", "a b", "[bold]x[/bold]", "half"))
        and "not measured: a.mkv, half" in said.err
    )


SLOW = """
def metrics(self):
    def wait(original, edited):
        import pathlib, time
        pathlib.Path({begun!r}).touch()
        time.sleep(600)
    return {{'m': Measure(wait, 'm', 'a number')}}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_report_and_no_processes(folders, plugin, number):
    begun = folders / "begun"
    task = plugin("slow", SLOW.format(begun=str(begun)))
    line = [sys.executable, "-m", "toolkit", *words(folders, f"same={folders / 'same'}"), "--task", task]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert begun.exists() and children
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not (folders / "report" / "report.json").exists()


def test_starting_it_loads_no_heavy_library():
    heavy = ("torch", "cv2", "mediapipe", "scipy", "skimage", "onnxruntime", "av")
    code = (
        "import sys; from toolkit.cli import main; main(['evaluate', '--help']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_names_every_setting(capsys):
    from toolkit.evaluate.config import EvaluateConfig
    from toolkit.faces.config import FaceConfig
    from toolkit.video.reading import ReadingConfig

    assert main(["evaluate", "--help-all"]) == 0
    said = capsys.readouterr().out
    groups = FaceConfig.model_fields.keys() | ReadingConfig.model_fields.keys()
    names = (EvaluateConfig.model_fields.keys() | groups) - {"faces", "reading", "options"}
    names.add("task-option")
    flags = {name.replace("_", "-") for name in names}
    assert {name for name in flags if f"--{name}" not in said and f"--[no-]{name}" not in said} == set()
