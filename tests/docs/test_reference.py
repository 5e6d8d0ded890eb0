"""docs/reference.md lists the exit codes, statuses, records and environment variables of the code."""

import re
from pathlib import Path
from typing import get_args

import pytest

from toolkit import registry
from toolkit.cli import EXIT_CODES, doctor
from toolkit.dataset.layout import SourceRecord
from toolkit.edit.report import EditReport
from toolkit.errors import ToolkitError
from toolkit.native_logs import VERBOSE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def table(title):
    """The rows of the table under a heading, without its head."""
    section = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)[1]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows[2:]]


def test_exit_codes_are_those_of_the_code():
    assert {int(code): meaning for code, meaning in table("Exit codes")} == EXIT_CODES


def test_every_error_has_a_code_of_the_table():
    def below(error):
        return {error, *(found for inner in error.__subclasses__() for found in below(inner))}

    assert {error.exit_code for error in below(ToolkitError)} <= EXIT_CODES.keys()


def statuses_of(model, field):
    return set(get_args(model.model_fields[field].annotation))


@pytest.mark.parametrize(
    ("where", "statuses"),
    [
        ("of an edit", statuses_of(EditReport, "outcome")),
        ("sources of a dataset", statuses_of(SourceRecord, "status")),
        ("tasks", set(get_args(registry.Status))),
        ("`toolkit doctor`", set(get_args(doctor.Status))),
    ],
)
def test_statuses_are_those_of_the_code(where, statuses):
    assert {word.strip("`") for word, places, _ in table("Statuses") if where in places} == statuses


def test_environment_variables_are_read_by_the_code():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "toolkit").rglob("*.py"))
    others = {"CUDA_VISIBLE_DEVICES", "HF_HOME", "TORCH_HOME"}  # read by torch and huggingface_hub
    for name, _ in table("Environment variables"):
        name = name.strip("`").split("=")[0]
        assert name in others or f'"{name}"' in sources, name
    assert VERBOSE in PAGE
