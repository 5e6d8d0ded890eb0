"""Numbers and names in sentences."""

import pytest

from toolkit.words import counted, markdown_text


@pytest.mark.parametrize(("number", "words"), [(0, "0 clips"), (1, "1 clip"), (2, "2 clips")])
def test_units_follow_the_number(number, words):
    assert counted(number, "clips") == words


def test_markdown_text_is_one_line_that_only_shows_text():
    text = markdown_text("a | b\n# <script>x</script> [link](http://x) `code` *bold*")
    assert text == "a \\| b # \\<script>x\\</script> \\[link](http://x) \\`code\\` \\*bold\\*"
