"""Numbers in sentences."""

import pytest

from toolkit.words import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 clips"), (1, "1 clip"), (2, "2 clips")])
def test_units_follow_the_number(number, words):
    assert counted(number, "clips") == words
