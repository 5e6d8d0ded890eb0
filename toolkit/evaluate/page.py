"""Builds the report as one web page, which needs no network: table, synchronised players, plots, worst moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from urllib.parse import quote

import numpy as np

from toolkit.evaluate.clips import ORIGINAL
from toolkit.evaluate.moments import Moment, worst_moments
from toolkit.evaluate.plots import method_class, plot
from toolkit.evaluate.results import Column, Evaluation, VideoResult
from toolkit.evaluate.tables import INTERVALS, best, fewer, heading, interval, measured, number, remarks

PAGE = "index.html"

WORST = 3
"""Moments of each method and measure in the overall list; the list of a single video has one."""


def page_text(evaluation: Evaluation, clips: Mapping[str, Mapping[str, str]]) -> str:
    """Build the page.

    Args:
        clips: video -> `ORIGINAL` or method -> path of its copy, relative to the report's folder.
    """
    return _Page(evaluation, clips).text()


class _Page:
    def __init__(self, evaluation: Evaluation, clips: Mapping[str, Mapping[str, str]]):
        self._evaluation, self._clips = evaluation, clips
        self._columns, self._methods = evaluation.columns, [method.name for method in evaluation.methods]
        self._videos: dict[str, dict[str, VideoResult]] = {}
        for method in evaluation.methods:
            for video in method.videos:
                self._videos.setdefault(video.name, {})[method.name] = video
        order = list(self._videos)
        self._ids = {name: f"video-{index}" for index, name in enumerate(order)}
        self._worst_first = sorted(order, key=self._badness, reverse=True)

    def text(self) -> str:
        assets = files("toolkit.evaluate")
        title = f"{escape(self._evaluation.task)}: evaluation"
        sections = "\n".join(self._video(name) for name in self._worst_first)
        body = [self._nav(), f"<h1>{title}</h1>", self._means(), self._moments(), self._table(), sections]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>\n{assets.joinpath('page.css').read_text('utf-8')}</style></head><body>\n"
            + "\n".join(body)
            + f"\n<script>\n{assets.joinpath('page.js').read_text('utf-8')}</script></body></html>\n"
        )

    def _badness(self, name: str) -> float:
        """The worst method's value of the first measure that has values; higher is worse."""
        for column in self._columns:
            if any(row[column.name].value is not None for row in self._evaluation.means.values()):
                values = [video.values.get(column.name) for video in self._videos[name].values() if not video.failed]
                known = [value for value in values if value is not None]
                return max((_bad(value, column) for value in known), default=-math.inf)
        return -math.inf

    def _name(self, method: str) -> str:
        """A method's name with its colour, as HTML."""
        return f'<i class="{method_class(self._methods.index(method))}"></i> <bdi>{escape(method)}</bdi>'

    def _nav(self) -> str:
        boxes = " ".join(
            f'<label><input type=checkbox checked autocomplete=off value="{index}"> {self._name(method)}</label>'
            for index, method in enumerate(self._methods)
        )
        return (
            '<nav><a href="#means">means</a> <a href="#moments">worst moments</a> <a href="#videos">videos</a>'
            '<span><button id=previous title="key p">previous</button> <button id=next title="key n">next</button> '
            f"worst moment <small id=place></small></span><span>{boxes}</span></nav>"
        )

    def _means(self) -> str:
        evaluation, counts = self._evaluation, measured(self._evaluation)
        winners = {column.name: best(evaluation, column) for column in self._columns}
        rows = []
        for method in evaluation.methods:
            cells = f"<td>{counts[method.name]} of {len(method.videos)}</td>"
            for column in self._columns:
                mean, count = evaluation.means[method.name][column.name], fewer(evaluation, method.name, column)
                text = escape(number(mean.value, column))
                small = escape(interval(mean, column) + (f" n={count}" if count else ""))
                cells += f"<td>{_bold(text, method.name in winners[column.name])}<small>{small}</small></td>"
            rows.append(f"<tr><td>{self._name(method.name)}</td>{cells}</tr>")
        heads = "".join(f"<th>{_head(column)}</th>" for column in self._columns)
        tools = "".join(f"<li>{escape(name)}: {escape(tool)}</li>" for name, tool in evaluation.tools.items())
        notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
        return (
            f"<h2 id=means>Means</h2><p>{escape(INTERVALS.capitalize())}.</p>"
            f"<div class=wide><table><thead><tr><th>method</th><th>videos</th>{heads}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
            + f"<p>{'<br>'.join(map(escape, remarks(evaluation)))}</p>"
            + (f"<h2>Not measured or left out</h2><ul class=bad>{notes}</ul>" if notes else "")
            + f"<details><summary>Tools</summary><ul>{tools}</ul></details>"
        )

    def _moments(self) -> str:
        results = {method.name: method.videos for method in self._evaluation.methods}
        worst = worst_moments(self._columns, results, WORST)
        lists = []
        for column in self._columns:
            rows = "".join(
                f'<tr data-method="{self._methods.index(moment.method)}"><td>{self._button(moment)}</td>'
                f'<td class=text><bdi>{escape(moment.method)}</bdi></td><td class=text title="{escape(moment.video)}">'
                f"<bdi>{escape(moment.video)}</bdi></td><td>{number(moment.value, column)}</td></tr>"
                for moment in worst[column.name]
            )
            if rows:
                head = "<th>at</th><th class=text>method</th><th class=text>video</th>"
                head += f"<th>{_head(column)}</th>"
                table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
                lists.append(f"<div class=wide>{table}</div>")
        found = f"<div class=lists>{''.join(lists)}</div>" if lists else "<p>None: no measure changes over time.</p>"
        return f"<section id=moments><h2>Worst moments</h2>{found}</section>"

    def _button(self, moment: Moment) -> str:
        what = f"{moment.method}, {moment.video}, {heading(moment.column)} {number(moment.value, moment.column)}"
        return (
            f'<button data-video="{self._ids[moment.video]}" data-time="{moment.time:.6f}" title="{escape(what)}">'
            f'<i class="{method_class(self._methods.index(moment.method))}"></i> {moment.time:.2f} s</button>'
        )

    def _table(self) -> str:
        """All videos, with the values of all methods side by side for each measure."""
        columns = [
            column
            for column in self._columns
            if any(row[column.name].value is not None for row in self._evaluation.means.values())
        ]
        spans = "".join(f"<th colspan={len(self._methods)}>{_head(column)}</th>" for column in columns)
        heads = "".join(
            f'<th><button data-column="{1 + index}" data-better="{column.better}" title="sort, worst first">'
            f"{self._name(method)}</button></th>"
            for index, (column, method) in enumerate((column, method) for column in columns for method in self._methods)
        )
        rows = []
        for name in self._worst_first:
            link = f'<a href="#{self._ids[name]}" title="{escape(name)}"><bdi>{escape(name)}</bdi></a>'
            cells = "".join(self._cells(column, self._videos[name]) for column in columns)
            rows.append(f"<tr><td>{link}</td>{cells}</tr>")
        order = f", worst first by {escape(columns[0].label)}" if columns else ""
        return (
            f"<section id=videos><h2>Videos</h2><p>Means over frames{order}; click a method to sort by its column."
            f"</p><div class=wide><table><thead><tr><th rowspan=2>video</th>{spans}</tr><tr>{heads}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div></section>"
        )

    def _cells(self, column: Column, found: Mapping[str, VideoResult]) -> str:
        values = {
            method: found[method].values.get(column.name) if method in found and not found[method].failed else None
            for method in self._methods
        }
        printed = {method: number(value, column) for method, value in values.items()}
        bad = {method: _bad(float(printed[method]), column) for method, value in values.items() if value is not None}
        winners = {method for method in bad if bad[method] == min(bad.values()) < max(bad.values())}
        return "".join(
            f"<td>{printed[method]}</td>"
            if value is None
            else f'<td data-value="{value!r}">{_bold(printed[method], method in winners)}</td>'
            for method, value in values.items()
        )

    def _video(self, name: str) -> str:
        found = {method: self._videos[name][method] for method in self._methods if method in self._videos[name]}
        good = {method: video for method, video in found.items() if not video.failed}
        notes = [f"{self._name(method)}: {escape(video.failed)}" for method, video in found.items() if video.failed]
        notes += [escape(note) for note in dict.fromkeys(note for video in good.values() for note in video.notes)]
        worst = worst_moments(self._columns, {method: [video] for method, video in good.items()}, 1)
        moments = " ".join(
            f"<span>{escape(column.label)}: {' '.join(map(self._button, worst[column.name]))}</span>"
            for column in self._columns
            if worst[column.name]
        )
        times = next((video.times for video in good.values() if video.times), [])
        summary = f"<bdi>{escape(name)}</bdi> <small>{len(times)} frames</small>" if times else escape(name)
        plots = "".join(plot(column, found) for column in self._columns) if good else ""
        return (
            f'<details class=video id="{self._ids[name]}"{_timing(times)}><summary>{summary}</summary>'
            + (f"<ul>{''.join(f'<li>{note}</li>' for note in notes)}</ul>" if notes else "")
            + (f"<p class=lists>Worst: {moments}</p>" if moments else "")
            + self._players(name)
            + (_controls(bool(self._clips.get(name))) if times else "")
            + f"<div class=plots>{plots}</div></details>"
        )

    def _players(self, name: str) -> str:
        players = []
        for label, path in self._clips.get(name, {}).items():
            link = escape(quote(path))
            method = "" if label == ORIGINAL else f' data-method="{self._methods.index(label)}"'
            shown = "original" if label == ORIGINAL else self._name(label)
            players.append(
                f'<figure{method}><video muted playsinline preload=auto data-src="{link}"></video>'
                f'<figcaption><a href="{link}">{shown}</a> <span class=bad hidden>this copy cannot be played</span>'
                "</figcaption></figure>"
            )
        return f"<div class=players>{''.join(players)}</div>" if players else ""


def _bad(value: float, column: Column) -> float:
    return value if column.better == "lower" else -value


def _bold(text: str, bold: bool) -> str:
    return f"<b>{text}</b>" if bold else text


def _head(column: Column) -> str:
    arrow = "&uarr;" if column.better == "higher" else "&darr;"
    better = f"{column.description}; {column.better} is better"
    return f'<span title="{escape(better)}">{escape(heading(column))} {arrow}</span>'


def _controls(players: bool) -> str:
    play = '<button class=play title="space">play</button>' if players else ""
    speeds = "".join(
        f'<option value="{speed}"{" selected" if speed == 1 else ""}>{speed:g}x</option>'
        for speed in (0.1, 0.25, 0.5, 1)
    )
    return (
        f'<div class=controls>{play}<button class=back title="one frame, left arrow">&lsaquo;</button>'
        '<button class=forward title="one frame, right arrow">&rsaquo;</button>'
        '<input type=range min=0 value=0 aria-label="frame"><span class=at></span>'
        + (f"<select aria-label=speed>{speeds}</select>" if players else "")
        + "</div>"
    )


def _timing(times: Sequence[float]) -> str:
    """HTML attributes with the times of the frames: the first, then a constant step or every time."""
    if not times:
        return ' data-start="0" data-frames="1" data-step="0"'
    after = np.array(times) - times[0]
    step = float(after[-1]) / max(1, len(after) - 1)
    start = f' data-start="{times[0]:.6f}"'
    if np.abs(after - step * np.arange(len(after))).max() <= step / 10:
        return f'{start} data-frames="{len(after)}" data-step="{step:.9f}"'
    return f'{start} data-times="[{",".join(f"{time:.4f}" for time in after)}]"'
