"""The report's page: its content, the escaping of names, and the script that moves its players."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.evaluate.clips import ORIGINAL
from toolkit.evaluate.moments import worst_moments
from toolkit.evaluate.page import page_text
from toolkit.evaluate.plots import BOTTOM, COLOURS, LEFT, POINTS, RIGHT, TOP, method_class, plot, thinned
from toolkit.evaluate.results import Column, Evaluation, MethodResult, VideoResult
from toolkit.evaluate.statistics import means

INF = math.inf
DG = Column(name="dG", label="dG", unit=0.01, digits=2, description="share of pixels")
ID = Column(name="identity", label="ID", unit=0.1, digits=2, description="cosine")
WARP = Column(name="warp_error", label="E_warp", unit=1e-4, digits=2, better="lower", description="warp error")
PSNR = Column(name="psnr", label="PSNR", suffix="dB", digits=2, description="noise")
VOID = {"meta", "img", "br", "input", "link", "hr", "line", "polyline"}


def video(name="a.mp4", fps=25.0, times=None, failed=None, **series):
    """A result with these values for the frames, and their means."""
    if failed:
        return VideoResult(name=name, failed=failed)
    count = len(next(iter(series.values())))
    values = {
        key: float(np.mean(known)) if (known := [value for value in found if value is not None]) else None
        for key, found in series.items()
    }
    times = [k / fps for k in range(count)] if times is None else times
    return VideoResult(name=name, frames=count, values=values, per_frame=series, times=times)


def evaluation(columns=(DG,), tools=None, notes=(), **methods):
    results = [MethodResult(name=name, videos=videos) for name, videos in methods.items()]
    columns = list(columns)
    return Evaluation(
        task="glasses",
        columns=columns,
        methods=results,
        tools=tools or {},
        means=means(results, columns),
        notes=list(notes),
    )


class Page(HTMLParser):
    """Parses a page into tags, attributes and texts; tags must nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in {tag}"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"unexpected end of {tag}"

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag):
        return [attributes for found, attributes in self.tags if found == tag]

    @property
    def words(self):
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))


def shape(page):
    """The page without texts and values of attributes."""
    return [(tag, tuple(attributes)) for tag, attributes in page.tags]


class TestMoments:
    def test_worst_first_and_a_second_apart(self):
        values = [5.0, 1.0, 0.0, 9.0, 2.0, 9.0]
        found = worst_moments([DG], {"ours": [video(dG=values, fps=2)]}, 3)["dG"]
        assert [(moment.time, moment.value) for moment in found] == [(1.0, 0.0), (2.0, 2.0), (0.0, 5.0)]

    def test_of_an_error_the_largest(self):
        found = worst_moments([WARP], {"ours": [video(warp_error=[None, 1e-4, 7e-4, 2e-4])]}, 1)["warp_error"]
        assert [(moment.time, moment.value) for moment in found] == [(0.08, 7e-4)]

    def test_over_videos_and_methods(self):
        results = {
            "ours": [video("a", dG=[3.0, 4.0]), video("b", dG=[1.0, 8.0]), video("c", failed="it is damaged")],
            "theirs": [video("a", dG=[2.0, 9.0]), video("b", dG=[0.0, 9.0])],
        }
        found = worst_moments([DG], results, 2)["dG"]
        assert [(m.method, m.video, m.value) for m in found] == [
            ("theirs", "b", 0.0),
            ("ours", "b", 1.0),
            ("theirs", "a", 2.0),
            ("ours", "a", 3.0),
        ]

    def test_where_nothing_changes_nothing_is_worst(self):
        results = {"ours": [video(psnr=[INF] * 4, dG=[0.0] * 4)]}
        assert worst_moments([PSNR, DG], results, 3) == {"psnr": [], "dG": []}

    def test_an_infinite_value_is_bad_or_good(self):
        bad, good = ([video(warp_error=values, fps=0.5)] for values in ([1.0, INF, 2.0], [1.0, -INF, 2.0]))
        assert [m.value for m in worst_moments([WARP], {"x": bad}, 3)["warp_error"]] == [INF, 2.0, 1.0]
        assert [m.value for m in worst_moments([WARP], {"x": good}, 3)["warp_error"]] == [2.0, 1.0]


class TestPlots:
    def points(self, text):
        found = re.findall(r'<polyline points="([^"]*)"', text)
        return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]

    def test_corners_are_at_the_values(self):
        (line,) = self.points(plot(DG, {"ours": video(dG=[0.01, 0.03, 0.02], fps=1)}))
        middle = (TOP + BOTTOM) / 2
        assert line == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, TOP), (RIGHT, middle)]

    def test_axes_have_numbers_in_the_unit_of_the_heading(self):
        text = plot(DG, {"ours": video(dG=[0.01, 0.03], times=[2.0, 3.5])})
        assert "dG (1e-2)" in text and re.findall(r">([\d.]+)</text>", text) == ["1", "2", "3"]
        assert re.findall(r">([\d.]+) s</text>", text) == ["2.00", "3.50"]

    def test_gaps_break_the_line_and_one_frame_is_a_dot(self):
        lines = self.points(plot(DG, {"ours": video(dG=[1.0, 2.0, None, 3.0, None])}))
        assert [len(line) for line in lines] == [2, 2] and lines[1][0] == lines[1][1]

    def test_methods_share_the_axes(self):
        text = plot(DG, {"a": video(dG=[0.0, 1.0]), "b": video(dG=[1.0, 2.0])})
        first, second = self.points(text)
        assert first[1][1] == second[0][1] == (TOP + BOTTOM) / 2

    def test_a_methods_colour_does_not_depend_on_the_others(self):
        text = plot(DG, {"a": video(failed="x"), "b": video(dG=[1.0, 2.0])})
        assert '<g class="m1" data-method="1">' in text and "m0" not in text

    def test_more_methods_than_colours_are_dashed(self):
        assert len({method_class(index) for index in range(2 * COLOURS)}) == 2 * COLOURS

    def test_infinite_frames_are_counted(self):
        text = plot(PSNR, {"a": video(psnr=[INF, 30.0, INF]), "b": video(psnr=[INF] * 3)})
        assert "infinite in 2 of 3 frames" in text and "infinite in 3 of 3 frames" in text
        assert len(self.points(text)) == 1

    @pytest.mark.parametrize("found", [{"a": video(failed="x")}, {"a": video(dG=[None])}, {"a": video(psnr=[1.0])}, {}])
    def test_without_values_there_is_none(self, found):
        assert plot(DG, found) == ""

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=12))
    def test_every_point_is_within_the_axes(self, values):
        for line in self.points(plot(PSNR, {"a": video(psnr=values, times=[0.1 * k for k in range(len(values))])})):
            assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in line)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 5000), st.integers(0, 10))
    def test_thinning_keeps_extremes_and_order(self, count, seed):
        rng = np.random.default_rng(seed)
        values = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
        times, kept = thinned(np.arange(count) / 25, values)
        assert len(kept) <= POINTS and (np.diff(times) > 0).all()
        np.testing.assert_array_equal(kept, values[np.round(times * 25).astype(int)])
        if np.isfinite(values).any():
            assert np.nanmin(kept) == np.nanmin(values) and np.nanmax(kept) == np.nanmax(values)


class TestPage:
    def test_order(self):
        found = evaluation(ours=[video(dG=[0.01, 0.02])])
        words = Page(page_text(found, {})).words
        places = [words.index(word) for word in ("Means", "Worst moments", "Means over frames")]
        assert places == sorted(places)

    def test_values_and_the_best(self):
        text = page_text(evaluation(ours=[video(dG=[0.03])], theirs=[video(dG=[0.02])]), {})
        assert text.count("<b>3.00</b>") == 2 and "<b>2.00</b>" not in text  # in the means and in the list of videos

    def test_videos_and_moments_are_worst_first(self):
        found = evaluation(
            ours=[video("good", dG=[0.5, 0.6]), video("bad", dG=[0.1, 0.2]), video("failed", failed="it is damaged")]
        )
        page = Page(page_text(found, {}))
        assert [one["id"] for one in page.of("details") if "id" in one] == ["video-1", "video-0", "video-2"]
        first = next(one for one in page.of("button") if "data-time" in one)
        assert (first["data-video"], float(first["data-time"])) == ("video-1", 0.0)

    def test_a_video_that_failed_says_why(self):
        words = Page(page_text(evaluation(ours=[video(failed="it is damaged at frame 3")], notes=["a note"]), {})).words
        assert "it is damaged at frame 3" in words and "a note" in words and "0 of 1" in words

    def test_a_column_that_nobody_has_says_why(self):
        found = evaluation((DG, ID), {"identity": "not measured: no model is here"}, ours=[video(dG=[0.03])])
        words = Page(page_text(found, {})).words
        assert "n/a" in words and "ID: not measured: no model is here" in words

    def test_players(self):
        found = evaluation(ours=[video(dG=[0.1, 0.2])], theirs=[video(failed="x")])
        page = Page(page_text(found, {"a.mp4": {ORIGINAL: "clips/0 #ü.mp4", "ours": "clips/%1.mp4"}}))
        sources = [player["data-src"] for player in page.of("video")]
        assert sources == ["clips/0%20%23%C3%BC.mp4", "clips/%251.mp4"]
        links = [link["href"] for link in page.of("a") if not link["href"].startswith("#")]
        assert [unquote(link) for link in links] == ["clips/0 #ü.mp4", "clips/%1.mp4"]

    def test_links_within_the_page_have_a_goal(self):
        page = Page(page_text(evaluation(ours=[video(f"{k}.mp4", dG=[0.1, k]) for k in range(3)]), {}))
        ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
        assert {link["href"] for link in page.of("a")} <= {f"#{name}" for name in ids}
        assert {button["data-video"] for button in page.of("button") if "data-video" in button} <= ids

    def test_a_method_named_original_is_not_the_original(self):
        found = evaluation(original=[video(dG=[0.1, 0.2])])
        page = Page(page_text(found, {"a.mp4": {ORIGINAL: "clips/0.mp4", "original": "clips/1.mp4"}}))
        assert [player["data-src"] for player in page.of("video")] == ["clips/0.mp4", "clips/1.mp4"]

    def test_nothing_comes_from_elsewhere(self):
        found = evaluation(ours=[video(dG=[0.1, 0.2])])
        text = page_text(found, {"a.mp4": {ORIGINAL: "clips/0.mp4"}})
        page = Page(text)
        assert not page.of("link") and not page.of("img") and all("src" not in script for script in page.of("script"))
        assert "http" not in text and "url(" not in text and "@import" not in text

    def test_the_script_ends_where_it_should(self):
        text = page_text(evaluation(ours=[video(dG=[0.1])]), {})
        assert text.count("<script") == text.count("</script") == 1

    def test_of_a_constant_frame_rate_only_the_step_is_told(self):
        times = [5 + round(k / 29.97, 6) for k in range(900)]
        details = Page(page_text(evaluation(ours=[video(times=times, dG=[0.1] * 900)]), {})).of("details")[1]
        assert (details["data-start"], details["data-frames"]) == ("5.000000", "900") and "data-times" not in details
        assert float(details["data-step"]) == pytest.approx(1 / 29.97, abs=1e-8)

    def test_of_a_variable_one_every_time(self):
        details = Page(page_text(evaluation(ours=[video(times=[1.0, 1.1, 1.5], dG=[0.1] * 3)]), {})).of("details")[1]
        assert json.loads(details["data-times"]) == [0, 0.1, 0.5]

    def test_twenty_videos_of_three_methods_are_small(self):
        rng = np.random.default_rng(0)
        columns = [Column(name=f"c{k}", label=f"c{k}", description="") for k in range(4)]
        methods = {
            name: [video(f"{k}.mp4", **{c.name: rng.normal(size=500).tolist() for c in columns}) for k in range(20)]
            for name in ("ours", "theirs", "others")
        }
        assert len(page_text(evaluation(columns, **methods), {}).encode()) < 3e6

    def test_no_video_at_all(self):
        found = evaluation(ours=[])
        assert "0 of 0" in Page(page_text(found, {})).words


HOSTILE = st.one_of(
    st.text(min_size=1),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onmouseover='alert(1)",
            "</style></script><b>",
            "a&lt;b&amp;",
            "-->",
            "{x}",
            "javascript:alert(1)",
            "\u202egnp.exe",
            "../../etc/passwd",
        ]
    ),
)


@settings(max_examples=60, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_name_gets_out_of_its_place(method, name, note, tool):
    def built(method, name, note, tool):
        good = VideoResult(name=name, values={"dG": 0.1}, per_frame={"dG": [0.1, 0.2]}, times=[0, 0.04], notes=[note])
        results = [
            MethodResult(name=method, videos=[good]),
            MethodResult(name=method + "2", videos=[VideoResult(name=name, failed=note)]),
        ]
        label = Column(name="dG", label=note, suffix=tool, description=note)
        found = Evaluation(
            task=tool, columns=[label], methods=results, tools={tool: note}, means=means(results, [label]), notes=[note]
        )
        return Page(page_text(found, {name: {ORIGINAL: f"clips/{name}.mp4", method: f"clips/{method}"}}))

    page, plain = built(method, name, note, tool), built("m", "v", "n", "t")
    assert shape(page) == shape(plain)
    for one, other in zip(page.tags, plain.tags, strict=True):
        own = {key for key in one[1] if one[1][key] != other[1][key]}
        assert own <= {"title", "href", "data-src", "aria-label"}, own
    for link in [link["href"] for link in page.of("a")] + [player["data-src"] for player in page.of("video")]:
        assert link.startswith(("#", "clips/")) and re.fullmatch(r"[\w.~/%#-]+", link, re.ASCII)
    scripts = [text for tag, text in page.texts if tag in ("script", "style")]
    assert scripts == [text for tag, text in plain.texts if tag in ("script", "style")]


STUB = """
const nothing = {}, document = {querySelectorAll: () => [], querySelector: () => nothing}, location = {hash: ''};
"""


@pytest.fixture
def run_script():
    """``run_script(code)``: runs code after the page's script, on a page without videos; returns the JSON it prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here")
    page = page_text(evaluation(ours=[video(dG=[0.1])]), {})
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)[1]

    def run(code):
        done = subprocess.run([node, "-"], input=STUB + script + code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


class TestScript:
    def test_every_frame_is_found_again_at_its_middle(self, run_script):
        code = """
        const lists = [[0], [0, 0.04, 0.08], [0, 0.001, 0.9, 0.9333, 5],
          Array.from({length: 999}, (_, k) => k / 29.97)];
        const found = lists.map(times => {
          const made = Object.assign(Object.create(Section.prototype), {times});
          return times.every((_, k) => made.at(made.middle(k)) === k && made.at(times[k]) === k);
        });
        console.log(JSON.stringify(found));
        """
        assert run_script(code) == [True] * 4

    def test_players_apart_come_together(self, run_script):
        code = """
        const player = (time, more) => ({currentTime: time, readyState: 4, playbackRate: 1, paused: false, jumps: 0,
          play() { this.paused = false; return Promise.resolve(); }, ...more});
        const videos = [player(1), player(1.005), player(1.1), player(0.9), player(3), player(1, {paused: true}),
          player(9, {error: {}}), player(7, {readyState: 0})];
        const made = Object.assign(Object.create(Section.prototype),
          {videos, speed: {value: '0.5'}, times: [0, 1, 2], plots: [], start: 0});
        made.align();
        console.log(JSON.stringify([made.frame, ...videos.map(v => [v.currentTime, v.playbackRate, v.paused])]));
        """
        frame, first, close, ahead, behind, far, paused, broken, empty = run_script(code)
        assert frame == 1 and first == [1, 0.5, False] and close == [1.005, 0.5, False]
        assert ahead[1] < 0.5 < behind[1] and far[0] == 1 and paused == [1, 0.5, False]
        assert broken == [9, 1, False] and empty == [7, 1, False]

    def test_values_are_read_from_the_lines(self, run_script):
        text = plot(DG, {"ours": video(dG=[0.012, 0.03, None, 0.02, 0.01], fps=1)})
        lines, end = re.findall(r'points="([^"]*)"', text), float(re.search(r'data-end="([^"]*)"', text)[1])
        low, high, digits = (re.search(rf'data-{name}="([^"]*)"', text)[1] for name in ("low", "high", "digits"))
        code = f"""
        const group = {{children: {json.dumps(lines)}.map(points => ({{getAttribute: () => points}}))}};
        const made = Object.assign(Object.create(Plot.prototype),
          {{svg: {{dataset: {{low: '{low}', high: '{high}', digits: '{digits}'}}}}}});
        const found = [0, 1, 2, 3, 4].map(time => made.value(group, LEFT + (RIGHT - LEFT) * time / {end}));
        console.log(JSON.stringify([found, LEFT, RIGHT, TOP, BOTTOM]));
        """
        found, *places = run_script(code)
        assert found == ["1.20", "3.00", "", "2.00", "1.00"] and places == [LEFT, RIGHT, TOP, BOTTOM]
