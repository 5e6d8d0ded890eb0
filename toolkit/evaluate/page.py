"""The report as one page for a browser: table, players in step, plots, and the worst moments first. No network."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from toolkit.evaluate.results import Column, Evaluation, VideoResult
from toolkit.evaluate.tables import best, heading, number

PAGE = "index.html"
POINTS = 300
"""Of a plot, at most; each stands for the extremes of a stretch of frames."""
WORST = 3
"""Moments that are shown for each method and measure."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")


@dataclass(frozen=True)
class Moment:
    """Where a method's measure is worst in a video."""

    method: str
    video: str
    column: Column
    time: float
    value: float


def worst_moments(evaluation: Evaluation, count: int = WORST) -> list[Moment]:
    """For each method and measure the worst frames, at least a second apart, worst first."""
    moments = []
    for method in evaluation.methods:
        for column in evaluation.columns:
            found = [
                Moment(method.name, video.name, column, time, value)
                for video in method.videos
                if video.failed is None
                for time, value in zip(video.times, video.per_frame.get(column.name, ()))
                if value is not None and np.isfinite(value)
            ]
            found.sort(key=lambda moment: moment.value, reverse=column.better == "lower")
            chosen: list[Moment] = []
            for moment in found:
                if len(chosen) == count:
                    break
                if all(moment.video != one.video or abs(moment.time - one.time) >= 1 for one in chosen):
                    chosen.append(moment)
            moments += chosen
    return moments


def write_page(evaluation: Evaluation, folder: Path, clips: Mapping[str, Mapping[str, str]]) -> Path:
    """Write ``index.html`` into the folder of the report.

    Args:
        clips: video -> ``original`` or method -> path of a copy, relative to the folder.

    Returns:
        Its path.
    """
    body = [_table(evaluation), _tools(evaluation), _moments(evaluation)]
    names = list(dict.fromkeys(video.name for method in evaluation.methods for video in method.videos))
    body += [_video(evaluation, number, name, clips.get(name, {})) for number, name in enumerate(names)]
    title = f"{html.escape(evaluation.task)}: evaluation"
    text = _PAGE.format(title=title, style=_STYLE, script=_SCRIPT, body="\n".join(body))
    path = folder / PAGE
    temporary = folder / f".{PAGE}.part"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _table(evaluation: Evaluation) -> str:
    heads = "".join(
        f'<th title="{html.escape(column.description)}">{html.escape(heading(column))} '
        f"{'&uarr;' if column.better == 'higher' else '&darr;'}</th>"
        for column in evaluation.columns
    )
    winners = {column.name: best(evaluation, column) for column in evaluation.columns}
    rows = []
    for method in evaluation.methods:
        cells = []
        for column in evaluation.columns:
            mean = evaluation.means[method.name][column.name]
            text = html.escape(number(mean.value, column))
            if method.name in winners[column.name]:
                text = f"<b>{text}</b>"
            if mean.low is not None:
                text += f" <small>[{number(mean.low, column)}, {number(mean.high, column)}]</small>"
            cells.append(f"<td>{text}</td>")
        rows.append(f"<tr><th>{html.escape(method.name)}</th>{''.join(cells)}</tr>")
    return (
        "<h2>Means over videos</h2><div class=wide><table>"
        f"<tr><th>method</th>{heads}</tr>{''.join(rows)}</table></div>"
        "<p>In brackets: 95 % intervals, by bootstrap over the videos.</p>"
    )


def _tools(evaluation: Evaluation) -> str:
    tools = "".join(f"<li>{html.escape(name)}: {html.escape(tool)}</li>" for name, tool in evaluation.tools.items())
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in evaluation.notes)
    failed = f"<h3>Not measured</h3><ul>{notes}</ul>" if notes else ""
    return f"<h3>What measured</h3><ul>{tools}</ul>{failed}"


def _moments(evaluation: Evaluation) -> str:
    order = list(dict.fromkeys(video.name for method in evaluation.methods for video in method.videos))
    rows = "".join(
        f'<tr><td><button data-video="{order.index(moment.video)}" data-time="{moment.time:.3f}">'
        f"{moment.time:.2f} s</button></td><td>{html.escape(moment.video)}</td>"
        f"<td>{html.escape(moment.method)}</td><td>{html.escape(heading(moment.column))}</td>"
        f"<td>{html.escape(number(moment.value, moment.column))}</td></tr>"
        for moment in worst_moments(evaluation)
    )
    head = "<tr><th>at</th><th>video</th><th>method</th><th>measure</th><th>value</th></tr>"
    return f"<h2>Worst moments</h2><div class=wide><table>{head}{rows}</table></div>"


def _video(evaluation: Evaluation, index: int, name: str, clips: Mapping[str, str]) -> str:
    players = "".join(
        f'<figure><video muted playsinline preload="metadata" src="{html.escape(quote(path))}"></video>'
        f"<figcaption>{html.escape(label)}</figcaption></figure>"
        for label, path in clips.items()
    )
    controls = (
        "<p class=controls><button class=play>play</button>"
        '<input type="range" min="0" max="1" step="any" value="0"></p>'
        if clips
        else ""
    )
    found = {method.name: next(video for video in method.videos if video.name == name) for method in evaluation.methods}
    notes = "".join(
        f"<li>{html.escape(method)}: {html.escape(text)}</li>"
        for method, video in found.items()
        for text in ([video.failed] if video.failed else video.notes)
    )
    plots = "".join(_plot(column, found) for column in evaluation.columns)
    return (
        f'<section id="video-{index}"><h2>{html.escape(name)}</h2>{f"<ul>{notes}</ul>" if notes else ""}'
        f"<div class=players>{players}</div>{controls}<div class=plots>{plots}</div></section>"
    )


def _plot(column: Column, found: Mapping[str, VideoResult]) -> str:
    """A measure over time for all methods, as SVG; empty where it has no values for single frames."""
    series = {}
    for method, video in found.items():
        values = np.array(
            [np.nan if value is None else value for value in video.per_frame.get(column.name, ())], np.float64
        )
        if video.failed is None and np.isfinite(values).any():
            series[method] = thinned(np.array(video.times), values / column.unit)
    if not series:
        return ""
    end = max(times[-1] for times, _ in series.values()) or 1.0
    finite = np.concatenate([values[np.isfinite(values)] for _, values in series.values()])
    low, high = float(finite.min()), float(finite.max())
    span = (high - low) or 1.0
    lines, keys = [], []
    for number_of, method in enumerate(found):
        if method not in series:
            continue
        colour = COLOURS[number_of % len(COLOURS)]
        times, values = series[method]
        for part in _runs(np.isfinite(values)):
            points = " ".join(
                f"{5 + 290 * t / end:.1f},{85 - 75 * (v - low) / span:.1f}" for t, v in zip(times[part], values[part])
            )
            lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        keys.append(f'<span style="color:{colour}">{html.escape(method)}</span>')
    return (
        f"<figure class=plot><figcaption>{html.escape(heading(column))} {' '.join(keys)} "
        f"<small>{low:.4g} to {high:.4g}</small></figcaption>"
        f'<svg viewBox="0 0 300 90" data-end="{end:.3f}">{"".join(lines)}<line class=now x1="5" x2="5" y1="0" y2="90"/>'
        "</svg></figure>"
    )


def thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most about `POINTS` of a series, with the extremes of each stretch that was left out."""
    step = -(-2 * len(values) // POINTS)
    if step <= 2:
        return times, values
    kept: list[int] = []
    for start in range(0, len(values), step):
        part = values[start : start + step]
        seen = np.flatnonzero(np.isfinite(part))
        kept += (
            sorted({start + int(seen[np.argmin(part[seen])]), start + int(seen[np.argmax(part[seen])])})
            if len(seen)
            else [start]
        )
    return times[kept], values[kept]


def _runs(where: np.ndarray) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(np.int8), [0]])))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
{body}
<script>{script}</script></body></html>
"""

_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:80rem;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}.wide{overflow-x:auto}.players,.plots{display:flex;flex-wrap:wrap;gap:.5rem}
figure{margin:0;flex:1 1 14rem}video,svg{width:100%}svg{background:#8881;cursor:pointer}.now{stroke:#888}
.controls{display:flex;gap:.5rem}.controls input{flex:1}small{opacity:.7}
"""

_SCRIPT = """
for (const section of document.querySelectorAll('section')) {
  const videos = [...section.querySelectorAll('video')], bar = section.querySelector('input');
  const play = section.querySelector('.play'), plots = [...section.querySelectorAll('svg')];
  const end = () => videos.length && videos[0].duration || Number(plots[0]?.dataset.end) || 1;
  const mark = t => {
    if (bar) bar.value = t / end();
    for (const p of plots) { const x = 5 + 290 * t / p.dataset.end, now = p.querySelector('.now');
      now.setAttribute('x1', x); now.setAttribute('x2', x); }
  };
  section.seek = t => {
    for (const v of videos) { v.pause(); v.currentTime = t; }
    if (play) play.textContent = 'play';
    mark(t);
  };
  if (bar) bar.oninput = () => section.seek(bar.value * end());
  if (play) play.onclick = () => {
    const running = !videos[0].paused;
    play.textContent = running ? 'play' : 'pause';
    for (const v of videos) { if (running) v.pause(); else { v.currentTime = videos[0].currentTime; v.play(); } }
  };
  if (videos.length) videos[0].ontimeupdate = () => mark(videos[0].currentTime);
  for (const p of plots) p.onclick = e => {
    const box = p.getBoundingClientRect();
    section.seek(Math.max(0, ((e.clientX - box.left) / box.width * 300 - 5) / 290 * p.dataset.end));
  };
}
for (const b of document.querySelectorAll('button[data-video]')) b.onclick = () => {
  const section = document.getElementById('video-' + b.dataset.video);
  section.scrollIntoView(); section.seek(Number(b.dataset.time));
};
"""
