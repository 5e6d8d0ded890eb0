"""A user without a home folder, as in some containers."""

from pathlib import Path

from toolkit.cli import main


def test_one_sentence_and_a_way_out(monkeypatch, tmp_path, capsys):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("XDG_CACHE_HOME", "INSIGHTFACE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["fetch"]) == 2
    assert "set HOME, or XDG_CACHE_HOME and INSIGHTFACE_HOME" in capsys.readouterr().err
    for name in ("XDG_CACHE_HOME", "INSIGHTFACE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["fetch"]) == 0
