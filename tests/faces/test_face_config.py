"""Settings of face analysis: every one of them reaches the analyser."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from toolkit.errors import UsageError
from toolkit.faces.config import FILES, FaceConfig, build_analyser

FACER_FILES = ("detector_file", "parser_file", "aligner_file")


@pytest.fixture
def built(monkeypatch):
    """The arguments with which analysers were built, by name."""
    calls = []

    def recorded(name):
        return lambda **arguments: calls.append((name, arguments))

    monkeypatch.setattr("toolkit.faces.mediapipe.MediapipeAnalyser", recorded("mediapipe"))
    monkeypatch.setattr("toolkit.faces.facer.FacerAnalyser", recorded("facer"))
    return calls


def test_defaults_are_those_of_the_default_analyser(built):
    build_analyser(FaceConfig())
    assert built == [("mediapipe", {"max_faces": 4, "model_file": None})]


def test_mediapipe_gets_its_file_and_the_number_of_faces(built):
    build_analyser(FaceConfig(model_file="a.task", max_faces=2), "cuda")
    assert built == [("mediapipe", {"max_faces": 2, "model_file": Path("a.task")})]


@pytest.mark.parametrize("key", FACER_FILES)
def test_facer_gets_each_file_and_the_device(built, key):
    build_analyser(FaceConfig(analyser="facer", max_faces=1, **{key: "weights.pt"}), "cuda:1")
    assert built == [("facer", {"max_faces": 1, "device": "cuda:1", key: Path("weights.pt")})]


def test_facer_gets_all_files_at_once(built):
    build_analyser(FaceConfig(analyser="facer", **{key: key for key in FACER_FILES}))
    assert built == [("facer", {"max_faces": 4, "device": None} | {key: Path(key) for key in FACER_FILES})]


def test_another_number_of_faces(built):
    build_analyser(FaceConfig(max_faces=2), max_faces=7)
    assert built[0][1]["max_faces"] == 7


def test_another_analyser_does_not_get_files_of_the_configured_one(built):
    config = FaceConfig(analyser="facer", detector_file="a.pth", max_faces=3)
    build_analyser(config, "cpu", name="mediapipe")
    build_analyser(config, "cpu", name="facer")
    assert built == [
        ("mediapipe", {"max_faces": 3, "model_file": None}),
        ("facer", {"max_faces": 3, "device": "cpu", "detector_file": Path("a.pth")}),
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"analyser": "dlib"}, "there is no face analyser 'dlib'; choose one of mediapipe, facer"),
        ({"detector_file": "a.pth"}, "the mediapipe analyser takes no detector_file"),
        ({"analyser": "facer", "model_file": "a.task"}, "the facer analyser takes no model_file"),
    ],
)
def test_an_unknown_analyser_and_a_file_of_the_other_one(built, values, sentence):
    with pytest.raises(UsageError, match=sentence):
        build_analyser(FaceConfig(**values))
    assert built == []


def test_every_file_is_a_setting():
    assert set(FILES) < set(FaceConfig.model_fields) and {*FACER_FILES, "model_file"} == set(FILES)
    with pytest.raises(ValidationError):
        FaceConfig(weights_file="a.pt")
