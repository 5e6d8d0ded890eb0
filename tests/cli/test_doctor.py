"""`toolkit doctor` reports what is installed and missing, with advice and an exit code."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from toolkit.cli import doctor, main

ROOT = Path(__file__).resolve().parents[2]


def hide(monkeypatch, *packages):
    """Make the packages look uninstalled, also where they are imported already."""
    for module in list(sys.modules):
        if module.split(".")[0] in packages:
            monkeypatch.delitem(sys.modules, module)
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture
def few_modules(monkeypatch):
    """The real list takes ten seconds to import."""
    monkeypatch.setattr(doctor, "MODULES", {None: ("numpy", "av"), "bfm": ("h5py",)})


def by_name(findings):
    return {(finding.section, finding.name): finding for finding in findings}


def test_full_report_as_json_in_its_own_process():
    command = [sys.executable, "-m", "toolkit", "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    report = json.loads(result.stdout)
    assert result.returncode == (0 if report["ok"] else 1)
    found = {(finding["section"], finding["name"]): finding for finding in report["findings"]}
    for key in [("packages", "base"), ("analyser", "mediapipe"), ("renderer", "embree"), ("decode", "h264")]:
        assert found[key]["status"] == "ok" and found[key]["needed"], found[key]
    assert found["torch", "torch"]["detail"].startswith(metadata.version("torch").split("+")[0])
    assert found["torch", "torchvision"]["status"] == "ok", "torch and torchvision are not a pair"
    for extra in ("facer", "bfm", "train", "identity", "lpips", "c2pa", "dev"):
        assert found["packages", extra]["status"] == "ok", found["packages", extra]
    for finding in report["findings"]:
        assert finding["status"] in {"ok", "missing", "broken"}
        assert bool(finding["advice"]) == (finding["status"] != "ok"), finding


def test_table_can_be_read_when_piped(few_modules, capsys):
    assert main(["doctor"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["decode", "h264", "ok"] for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_missing_extra_names_the_step_and_does_not_fail(few_modules, monkeypatch):
    hide(monkeypatch, "h5py")
    finding = by_name(doctor._packages())["packages", "bfm"]
    assert (finding.status, finding.advice, finding.needed) == ("missing", "pip install 'vlasik-toolkit[bfm]'", False)
    assert "h5py" in finding.detail


def test_missing_base_package_fails(few_modules, monkeypatch, capsys):
    hide(monkeypatch, "embreex")
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    blocking = [f for f in report["findings"] if f["needed"] and f["status"] != "ok"]
    assert [(f["section"], f["name"], f["status"]) for f in blocking] == [("renderer", "embree", "missing")]


def test_failure_is_said_on_stderr(few_modules, monkeypatch, capsys):
    hide(monkeypatch, "embreex")
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "cannot run here: renderer embree" in captured.err
    assert "renderer embree (needed): pip install" in captured.out


def test_package_that_breaks_while_importing_is_broken_not_missing(monkeypatch, tmp_path):
    (tmp_path / "needs_absent.py").write_text("import surely_absent_module\n")
    (tmp_path / "exits.py").write_text("raise SystemExit('no display')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "MODULES", {"bfm": ("needs_absent",), "train": ("exits",)})
    found = by_name(doctor._packages())
    assert found["packages", "bfm"].status == "broken"
    assert "surely_absent_module" in found["packages", "bfm"].detail
    assert found["packages", "train"].status == "broken"
    assert "no display" in found["packages", "train"].detail
    assert "--force-reinstall" in found["packages", "train"].advice


@pytest.mark.parametrize("replaced", ["version", "modules"])
def test_another_opencv_in_the_same_folder_is_found(monkeypatch, replaced):
    import cv2

    (fine,) = doctor._opencv()
    assert fine.status == "ok"
    if replaced == "version":
        monkeypatch.setattr(cv2, "__version__", "4.5.1")
    else:
        monkeypatch.delattr(cv2, "ximgproc")
    (finding,) = doctor._opencv()
    assert finding.status == "broken" and "another OpenCV package" in finding.detail
    assert "opencv-contrib-python==" in finding.advice


def test_machine_without_torch(few_modules, monkeypatch):
    hide(monkeypatch, "torch", "torchvision", "facer")
    found = by_name(doctor.examine())
    assert found["torch", "torch"].status == "missing"
    assert found["analyser", "facer"].status == "missing"
    assert found["weights", "facer parser_file"].status == "missing"
    assert all(finding.status == "ok" for finding in found.values() if finding.needed)


def test_unknown_codec_is_missing_with_advice(monkeypatch):
    monkeypatch.setattr(
        doctor, "CODECS", (("decode", "x9", ("no-such-codec",), True), ("encode", "h264", ("libx264",), True))
    )
    first, second = doctor._codecs()
    assert first.status == "missing" and first.advice
    assert second.status == "ok"


def test_weights_are_looked_for_in_torch_hubs_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "mobilenet0.25_Final.pth").write_bytes(b"x")
    found = by_name(doctor._weights())
    assert found["weights", "facer detector_file"].status == "ok"
    parser = found["weights", "facer parser_file"]
    assert parser.status == "missing" and str(folder) in parser.advice and "https://" in parser.advice


def test_broken_plugin_is_a_row(monkeypatch):
    from toolkit import registry

    entry = registry.TaskEntry("hats", "acme", "1", "acme:Hats", "broken", "acme is broken")
    monkeypatch.setattr(registry, "list_tasks", lambda: [entry])
    found = by_name(doctor._tasks())
    assert found["task", "acme:hats"].status == "broken" and not found["task", "acme:hats"].needed
    assert found["task", "stickers"].status == "missing" and found["task", "stickers"].needed


def test_every_download_and_analyser_is_looked_for():
    from toolkit.faces import ANALYSERS
    from toolkit.fetch import DOWNLOADS

    sections = by_name([*doctor._weights(), *doctor._analysers()])
    assert {name for section, name in sections if section == "analyser"} == set(ANALYSERS)
    # mediapipe's models are inside its wheel or looked for by its analyser
    assert {name.split()[0] for section, name in sections if section == "weights"} == set(DOWNLOADS) - {"mediapipe"}


def test_list_of_modules_agrees_with_the_declared_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    owners = metadata.packages_distributions()
    declared = {None: project["dependencies"], **project["optional-dependencies"]}
    assert doctor.MODULES.keys() == declared.keys()
    for extra, modules in doctor.MODULES.items():
        names = {requirement.split(">")[0].lower() for requirement in declared[extra]}
        names = {name for name in names if not name.startswith("vlasik-toolkit")}
        for module in modules:
            assert {name.lower() for name in owners[module]} & names, f"{module} is not declared in {extra}"
        assert len(modules) == len(names), f"{extra}: {names} and {modules}"
