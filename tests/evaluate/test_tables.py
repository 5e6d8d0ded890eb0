"""The table of means in all its formats."""

import csv
import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from toolkit.evaluate.results import Column, Evaluation, MethodResult, VideoResult
from toolkit.evaluate.statistics import means
from toolkit.evaluate.tables import best, csv_text, heading, latex, number, terminal

INF = math.inf
DG = Column(name="dG", label="dG", unit=0.01, digits=1, description="")
ID = Column(name="identity", label="ID", unit=0.1, digits=2, description="")
WARP = Column(name="warp_error", label="E_warp", unit=1e-4, digits=2, better="lower", description="")
PSNR = Column(name="psnr_outside", label="PSNR outside", suffix="dB", digits=2, description="")
COLUMNS = [DG, ID, WARP, PSNR]
ABSENT = "not measured: no ArcFace model is here; name one with --arcface"


def report(methods, columns=COLUMNS, tools=None):
    """Methods -> list of values of each video; a text instead is the reason why it failed."""
    results = [
        MethodResult(
            name=name,
            videos=[
                VideoResult(name=f"{k}.mp4", **({"failed": v} if isinstance(v, str) else {"frames": 10, "values": v}))
                for k, v in enumerate(videos)
            ],
        )
        for name, videos in methods.items()
    ]
    return Evaluation(
        task="glasses", columns=columns, methods=results, tools=tools or {}, means=means(results, columns)
    )


PAPER = {
    "ours": [{"dG": 0.03, "identity": 0.91, "warp_error": 3.6e-4, "psnr_outside": INF}] * 2,
    "theirs": [{"dG": 0.012, "identity": 0.95, "warp_error": 5.1e-4, "psnr_outside": 41.2}] * 2,
}


def printed(evaluation, width=200):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal(evaluation))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (DG, "dG (1e-2)"),
        (ID, "ID (1e-1)"),
        (WARP, "E_warp (1e-4)"),
        (PSNR, "PSNR outside (dB)"),
        (Column(name="x", label="x", unit=0.5, description=""), "x (0.5)"),
        (Column(name="x", label="x", unit=1000, suffix="px", description=""), "x (1e3 px)"),
        (Column(name="x", label="x", description=""), "x"),
    ],
)
def test_headings_have_units(column, text):
    assert heading(column) == text


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.0304, DG, "3.0"),
        (0.00036, WARP, "3.60"),
        (0.912, ID, "9.12"),
        (-1e-9, DG, "0.0"),
        (None, DG, "n/a"),
        (math.nan, DG, "n/a"),
        (INF, PSNR, "inf"),
        (-INF, PSNR, "-inf"),
    ],
)
def test_numbers(value, column, text):
    assert number(value, column) == text


class TestBest:
    def test_higher_and_lower(self):
        evaluation = report(PAPER)
        assert [best(evaluation, column) for column in COLUMNS] == [{"ours"}, {"theirs"}, {"ours"}, {"ours"}]

    def test_what_prints_the_same_is_a_tie(self):
        values = {"a": [{"dG": 0.03001}], "b": [{"dG": 0.03002}], "c": [{"dG": 0.02}], "d": [{"dG": -1.0}]}
        assert best(report(values), DG) == {"a", "b"}

    def test_nobody_where_all_are_the_same_or_one_is_alone(self):
        assert best(report({"a": [{"dG": -1e-9}], "b": [{"dG": 1e-9}]}), DG) == set()
        assert best(report({"a": [{"dG": 0.5}], "b": [{}]}), DG) == set()
        assert best(report({"a": [{}], "b": [{}]}), DG) == set()

    def test_negative_infinity_is_worst(self):
        assert best(report({"a": [{"psnr_outside": -INF}], "b": [{"psnr_outside": 1.0}]}), PSNR) == {"b"}


class TestTerminal:
    def test_values_and_intervals(self):
        text = printed(report({"ours": [{"dG": 0.03}, {"dG": 0.05}]}, [DG]))
        assert "dG (1e-2)" in text and "4.0" in text and "[3.0, 5.0]" in text and "2 of 2" in text

    def test_the_best_alone_is_bold(self):
        console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system="standard", no_color=True)
        console.print(terminal(report({"ours": [{"dG": 0.03}], "theirs": [{"dG": 0.01}]}, [DG])))
        bold = [text.strip() for text in re.findall(r"\x1b\[1m([^\x1b]*)\x1b", console.file.getvalue())]
        assert "3.0" in bold and "1.0" not in bold

    def test_a_column_that_nobody_has_says_why(self):
        text = printed(report({"ours": [{"dG": 0.03}]}, [DG, ID], {"identity": ABSENT}))
        assert "n/a" in text and f"ID: {ABSENT}" in text

    def test_no_reason_is_invented(self):
        text = printed(report({"ours": [{"dG": 0.03}]}, [DG, ID], {"identity": "w600k_r50.onnx"}))
        assert "ID: not measured in any video" in text and "w600k" not in text

    def test_videos_that_failed_are_seen(self):
        text = printed(report({"ours": [{"dG": 0.03}, "it is damaged"], "theirs": [{"dG": 0.03}] * 2}, [DG]))
        assert "1 of 2" in text and "2 of 2" in text and "not all methods' means are over the same videos" in text

    def test_a_mean_over_fewer_videos_is_marked(self):
        text = printed(report({"ours": [{"dG": 0.03, "identity": 0.9}, {"dG": 0.03}]}, [DG, ID]))
        assert text.count("n=1") == 1

    def test_names_are_not_markup(self):
        assert "[red]x[/red]" in printed(report({"[red]x[/red]": [{"dG": 0.03}]}))

    def test_a_narrow_terminal_loses_no_number(self):
        methods = {"ours": [{"dG": k / 100, "identity": 0.9, "warp_error": 1e-4, "psnr_outside": 40} for k in (3, 5)]}
        text = "".join(printed(report(methods), width=80).split())
        assert "4.0" in text and "9.00" in text and "40.00" in text


def rows(evaluation):
    return list(csv.reader(io.StringIO(csv_text(evaluation), newline="")))


class TestCsv:
    def test_numbers_survive_to_the_last_bit(self):
        evaluation = report({"ours": [{"dG": 1 / 3, "identity": None, "warp_error": 1e-17, "psnr_outside": INF}]})
        head, *lines = rows(evaluation)
        found = dict(zip(head, lines[0], strict=True))
        assert [float(found[name]) for name in ("dG", "warp_error", "psnr_outside")] == [1 / 3, 1e-17, INF]
        assert found["identity"] == "" and (found["frames"], found["video"]) == ("10", "0.mp4")

    def test_means_intervals_and_counts_stand_below_the_videos(self):
        found = rows(report({"ours": [{"dG": 0.02}, {"dG": 0.04}, "it is damaged"]}, [DG]))
        assert [line[1] for line in found[1:]] == ["0.mp4", "1.mp4", "2.mp4", "(mean)", "(low)", "(high)", "(videos)"]
        assert [float(line[4]) for line in found[4:]] == pytest.approx([0.03, 0.02, 0.04, 2])
        assert found[3][5] == "it is damaged" and found[4][2] == "20"

    def test_why_a_column_is_empty(self):
        found = rows(report({"ours": [{"dG": 0.02}]}, [DG, ID], {"identity": ABSENT}))
        assert f"ID: {ABSENT}" in next(line for line in found if line[1] == "(mean)")[-1]

    @pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
    def test_no_name_becomes_a_formula(self, sign):
        name = f'{sign}HYPERLINK("http://x","y")'
        videos = [VideoResult(name=name, failed=f"{sign}1+1"), VideoResult(name="b", values={"dG": -0.5})]
        methods = [MethodResult(name=name, videos=videos)]
        evaluation = Evaluation(task="glasses", columns=[DG], methods=methods, tools={}, means=means(methods, [DG]))
        _, failed, measured, *_ = rows(evaluation)
        assert failed[0] == failed[1] == f"'{name}" and failed[-1] == f"'{sign}1+1"
        assert measured[4] == "-0.5"  # a number stays a number

    @settings(max_examples=60, deadline=None)
    @given(st.text(min_size=1), st.text(min_size=1))
    def test_any_name_comes_back(self, name, video):
        methods = [MethodResult(name=name, videos=[VideoResult(name=video, values={"dG": 0.1})])]
        evaluation = Evaluation(task="glasses", columns=[DG], methods=methods, tools={}, means=means(methods, [DG]))
        found = list(csv.reader(io.StringIO(csv_text(evaluation), newline="")))
        assert len({len(line) for line in found}) == 1
        assert found[1][0].removeprefix("'") == name.removeprefix("'")
        assert found[1][1].removeprefix("'") == video.removeprefix("'")
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r", "\n")) for line in found for cell in line)


def tex_rows(text):
    """Cells of each row, read by a small LaTeX parser that knows escapes, groups, math and comments.

    Raises:
        AssertionError: what TeX would stop at.
    """
    text = re.sub(r"^%.*\n|\\(top|mid|bottom)rule|\\(begin|end)\{tabular\}(\{\w+\})?", "", text)
    found, cells, cell, depth, math_mode, position = [], [], "", 0, False, 0
    while position < len(text):
        here = text[position : position + 2]
        if here == "\\\\":
            assert depth == 0 and not math_mode
            found.append([*cells, cell.strip()])
            cells, cell, position = [], "", position + 2
            assert not text[position:].lstrip().startswith(("[", "*")), "an argument of the line's end"
            continue
        if here[0] == "\\":
            word = re.match(r"\\([A-Za-z]+|.)", text[position:])[0]
            cell, position = cell + word, position + len(word)
            continue
        sign = here[0]
        assert sign not in "%#~" and (sign not in "_^" or math_mode), (
            f"{sign} at {text[position - 20 : position + 20]!r}"
        )
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
        if sign == "$":
            assert here != "$$" or math_mode, "a display formula"
            math_mode = not math_mode
        if sign == "&" and depth == 0:
            cells, cell = [*cells, cell.strip()], ""
        else:
            assert sign != "&", "a cell ends within a group"
            cell += sign
        position += 1
    assert depth == 0 and not math_mode
    return found


class TestLatex:
    def test_the_table_of_the_paper(self):
        text = latex(report(PAPER))
        head, ours, theirs = tex_rows(text)
        assert r"dG ($10^{-2}$) $\uparrow$" in head and r"E\_warp ($10^{-4}$) $\downarrow$" in head
        assert r"ID ($10^{-1}$) $\uparrow$" in head and r"PSNR outside (dB) $\uparrow$" in head
        assert ours[2].startswith(r"\textbf{\boldmath 3.0}") and theirs[2].startswith("1.2")
        assert ours[5].startswith(r"\textbf{\boldmath $\infty$}") and r"[$\infty$, $\infty$]" in ours[5]
        assert text.count(r"\begin{tabular}{lrrrrr}") == text.count(r"\end{tabular}") == 1

    def test_every_row_has_every_column(self):
        assert {len(row) for row in tex_rows(latex(report(PAPER)))} == {6}

    def test_minus_and_infinities(self):
        values = [{"dG": -0.02, "psnr_outside": -INF}, {"dG": -0.04, "psnr_outside": -INF}]
        _, ours = tex_rows(latex(report({"ours": values}, [DG, PSNR])))
        assert ours[2] == r"$-$3.0 {\scriptsize [$-$4.0, $-$2.0]}"
        assert ours[3] == r"$-\infty$ {\scriptsize [$-\infty$, $-\infty$]}"

    def test_a_column_that_nobody_has_says_why(self):
        text = latex(report({"ours": [{"dG": 0.03}]}, [DG, ID], {"identity": ABSENT}))
        assert tex_rows(text)[1][3] == "n/a"
        assert r"\multicolumn{4}{l}{\footnotesize ID: not measured: no ArcFace model is here" in text

    def test_special_characters(self):
        _, ours = tex_rows(latex(report({r"a_b & 50% \$#{}~^<>|[1]": [{"dG": 0.03}]}, [DG])))
        assert ours[0] == (
            r"a\_b \& 50\% \textbackslash{}\$\#\{\}\textasciitilde{}\textasciicircum{}"
            r"\textless{}\textgreater{}\textbar{}{[}1]"
        )

    @settings(max_examples=150, deadline=None)
    @given(st.text(min_size=1), st.text())
    def test_no_name_breaks_the_table(self, name, tool):
        evaluation = report(
            {name: [{"dG": 0.03}], "b" + name: [{"dG": 0.01}, "x"]}, [DG, ID], {"identity": f"not {tool}"}
        )
        text = latex(evaluation)
        found = tex_rows(text)
        assert [len(row) for row in found] == [4, 4, 4, *[1] * (len(found) - 3)]
        assert all(line.isprintable() for line in text.splitlines())
