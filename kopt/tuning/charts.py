"""The pictures of a report: scalable vector graphics as text."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kopt.tuning.importances import is_logarithmic

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 16, 36


class Axis:
    """Places values between two ends: numbers (in logarithms where they span decades), or kinds one beside the other.

    Args:
        values: All that there are; None, an inactive hyperparameter, has a place of its own before the first end.
        begin: Coordinate of the least.
        end: Coordinate of the greatest.
    """

    def __init__(self, values: Sequence[Any], begin: float, end: float) -> None:
        present = [value for value in values if value is not None]
        self._ends = begin, end
        self.kinds: list[str] = []
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
            self._logarithmic = is_logarithmic(present)
            low, high = min(present), max(present)
            self._low, self._high = self._number(low), self._number(high)
            self.ticks = [low, high] if low != high else [low]
        else:
            self.kinds = sorted({str(value) for value in present})
            self._low, self._high = 0.0, float(len(self.kinds) - 1)
            self.ticks = list(self.kinds)

    def _number(self, value: float) -> float:
        return math.log(value) if self._logarithmic else float(value)

    def at(self, value: Any) -> float:
        """Returns the coordinate of a value."""
        begin, end = self._ends
        if value is None:
            return begin - 0.08 * (end - begin)
        number = float(self.kinds.index(str(value))) if self.kinds else self._number(value)
        share = (number - self._low) / (self._high - self._low) if self._high > self._low else 0.5
        return begin + share * (end - begin)


def text(value: Any) -> str:
    """Returns a value as short text that HTML can hold."""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(shown if len(shown) <= 24 else f"{shown[:23]}…")


def _label(x: float, y: float, content: Any, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(x: float, y: float, kind: str, told: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{html.escape(told)}</title></circle>'


def _picture(parts: Sequence[str], width: float = WIDTH, height: float = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">{"".join(parts)}</svg>'


def _frame(x: Axis, y: Axis, width: float) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    parts = [_line(_LEFT, bottom, width - _RIGHT, bottom), _line(_LEFT, _TOP, _LEFT, bottom)]
    parts += [_label(x.at(tick), bottom + 16, tick) for tick in x.ticks]
    return parts + [_label(_LEFT - 6, y.at(tick) + 4, tick, "end") for tick in y.ticks]


def history(points: Sequence[tuple[int, float, str]], direction: str) -> str:
    """Returns the objective of each trial, and the best so far as a line of steps.

    Args:
        points: Number of the trial, objective, and status, of each trial that has one.
        direction: "min" or "max".
    """
    x = Axis([number for number, _, _ in points], _LEFT + 8, WIDTH - _RIGHT)
    x.ticks = sorted({points[0][0], points[-1][0]})
    y = Axis([value for _, value, _ in points], HEIGHT - _BOTTOM - 8, _TOP)
    better = min if direction == "min" else max
    best: float | None = None
    path: list[str] = []
    for number, value, status in points:
        if status == "completed":
            before, best = best, value if best is None else better(best, value)
            if before is not None:
                path.append(f"{x.at(number):.1f},{y.at(before):.1f}")
            path.append(f"{x.at(number):.1f},{y.at(best):.1f}")
    line = f'<polyline class="best" points="{" ".join(path)}"/>'
    dots = [_dot(x.at(n), y.at(v), status, f"trial {n} ({status}): {v:.6g}") for n, v, status in points]
    return _picture([*_frame(x, y, WIDTH), line, *dots, _label(WIDTH / 2, HEIGHT - 4, "trial")])


def plane(
    points: Sequence[tuple[float, float, str]], front: Sequence[int], names: Sequence[str], *, stairs: bool
) -> str:
    """Returns one objective of each trial over another one, with the Pareto front.

    Args:
        points: Of each trial: the objective to the right, the one upwards, and a text.
        front: Which points are on the front, the best to the right first.
        names: Of the two objectives.
        stairs: Whether to draw the border of what the front beats, which is one where these two are all objectives.
    """
    x = Axis([point[0] for point in points], _LEFT + 8, WIDTH - _RIGHT - 20)
    y = Axis([point[1] for point in points], HEIGHT - _BOTTOM - 8, _TOP)
    path: list[str] = []
    for before, number in zip([front[0], *front], front, strict=False):
        right, last, up = x.at(points[number][0]), y.at(points[before][1]), y.at(points[number][1])
        path += [f"{right:.1f},{last:.1f}", f"{right:.1f},{up:.1f}"]
    line = [f'<polyline class="best" points="{" ".join(path)}"/>'] if stairs else []
    kinds = ["front" if number in front else "completed" for number in range(len(points))]
    dots = [_dot(x.at(a), y.at(b), kind, told) for (a, b, told), kind in zip(points, kinds, strict=True)]
    titles = [_label(WIDTH / 2, HEIGHT - 4, names[0]), _label(_LEFT + 6, _TOP - 4, names[1], "start")]
    return _picture([*_frame(x, y, WIDTH), *line, *dots, *titles])


def parallel(
    settings: Sequence[Mapping[str, Any]], objectives: Mapping[str, Sequence[float]], shares: Sequence[float]
) -> str:
    """Returns a line for each trial through its hyperparameters to its objectives.

    Args:
        settings: Of each trial.
        objectives: Of each trial, by name.
        shares: In (0, 1]: how dark each line is.
    """
    names = [*dict.fromkeys(key for setting in settings for key in setting), *objectives]
    width = max(WIDTH, 110 * len(names))
    rows = [{**setting, **{n: column[i] for n, column in objectives.items()}} for i, setting in enumerate(settings)]
    axes = {key: Axis([row.get(key) for row in rows], HEIGHT - _BOTTOM - 24, _TOP + 8) for key in names}
    places = {key: _LEFT + i * (width - 2 * _LEFT) / max(1, len(names) - 1) for i, key in enumerate(names)}
    parts = []
    for i in sorted(range(len(rows)), key=lambda i: shares[i]):  # The best come last, on top of the others.
        points = " ".join(f"{places[key]:.1f},{axes[key].at(rows[i].get(key)):.1f}" for key in names)
        told = ", ".join(f"{key}={rows[i][key]}" for key in names if key in rows[i])
        style = f'style="stroke-opacity:{0.12 + 0.88 * shares[i] ** 2:.2f}"'
        parts.append(f'<polyline class="trial" {style} points="{points}"><title>{html.escape(told)}</title></polyline>')
    for i, key in enumerate(names):
        parts.append(_line(places[key], _TOP + 8, places[key], HEIGHT - _BOTTOM - 24))
        parts.append(_label(places[key], HEIGHT - 6 - 14 * (i % 2), key))  # Neighbours' names may be long.
        parts += [_label(places[key] + 5, axes[key].at(tick) + 4, tick, "start") for tick in axes[key].ticks]
    return _picture(parts, width)


def bars(shares: Mapping[str, float]) -> str:
    """Returns a bar for each importance."""
    parts = []
    for number, (name, share) in enumerate(shares.items()):
        y = 22 * number + 4
        parts.append(_label(170, y + 13, name, "end"))
        parts.append(f'<rect class="bar" x="180" y="{y}" width="{460 * share:.1f}" height="16"/>')
        parts.append(_label(188 + 460 * share, y + 13, f"{share:.0%}", "start"))
    return _picture(parts, WIDTH, 22 * len(shares) + 8)


def slice_of(values: Sequence[Any], objective: Sequence[float], name: str) -> str:
    """Returns the objective of each trial over one hyperparameter."""
    width = 340
    x, y = Axis(values, _LEFT + 32, width - _RIGHT - 20), Axis(objective, HEIGHT - _BOTTOM - 8, _TOP)
    told = ["inactive" if value is None else text(value) for value in values]
    dots = [
        _dot(x.at(value), y.at(found), "completed", f"{name}={shown}: {found:.6g}")
        for value, found, shown in zip(values, objective, told, strict=True)
    ]
    return _picture([*_frame(x, y, width), *dots, _label(width / 2, HEIGHT - 4, name)], width)
