# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of growth: two panels, time and memory over the number of objects, both axes logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass

WIDTH, HEIGHT = 860, 380
PANEL_WIDTH, PANEL_HEIGHT, TOP, BOTTOM = 330, 250, 70, 320
LEFTS = (70, 500)
# Readable on light and on dark pages: the picture brings its own ground.
STYLE = (
    "text{font:13px"
    " sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.small{font-size:12px;fill:#57606a}.value{font-weight:600}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#57606a;stroke-width:1.2}.line{fill:none;stroke:#0969da;stroke-width:2.5}.dot{fill:#0969da}.goal{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:6"
    " 4}.goal-text{fill:#cf222e;font-size:12px}"
)


@dataclass(frozen=True)
class Panel:
    """points: (objects, value); goal: a line across, where there is one."""

    title: str
    unit: str
    points: list[tuple[int, float]]
    goal: float | None = None


def svg(panels: list[Panel], caption: str) -> str:
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' role="img">'
        ),
        "<!-- SPDX-FileCopyrightText: The servicemesh.istio authors -->",
        "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->",
        f"<title>{caption}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
        f'<text class="title" x="{LEFTS[0]}" y="28">{caption}</text>',
    ]
    for left, panel in zip(LEFTS, panels):
        parts += _panel(left, panel)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, panel: Panel) -> list[str]:
    counts = [count for count, _value in panel.points]
    values = [value for _count, value in panel.points] + ([panel.goal] if panel.goal else [])
    low_x, high_x = _bounds(counts)
    low_y, high_y = _bounds(values)

    def x(count: float) -> float:
        return left + PANEL_WIDTH * (math.log10(count) - low_x) / (high_x - low_x)

    def y(value: float) -> float:
        return BOTTOM - PANEL_HEIGHT * (math.log10(value) - low_y) / (high_y - low_y)

    parts = [f'<text x="{left}" y="{TOP - 14}">{panel.title}</text>']
    for count in _ticks(low_x, high_x):
        parts.append(f'<line class="grid" x1="{x(count):.1f}" y1="{TOP}" x2="{x(count):.1f}" y2="{BOTTOM}"/>')
        parts.append(
            f'<text class="small" x="{x(count):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{count:,.10g}</text>'
        )
    for value in _ticks(low_y, high_y):
        parts.append(
            f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{left + PANEL_WIDTH}" y2="{y(value):.1f}"/>'
        )
        parts.append(
            f'<text class="small" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.10g}</text>'
        )
    parts.append(f'<path class="axis" fill="none" d="M{left} {TOP}V{BOTTOM}H{left + PANEL_WIDTH}"/>')
    parts.append(
        f'<text class="small" x="{left + PANEL_WIDTH / 2}" y="{BOTTOM + 40}" text-anchor="middle">objects</text>'
    )
    if panel.goal:
        parts.append(
            f'<line class="goal" x1="{left}" y1="{y(panel.goal):.1f}" x2="{left + PANEL_WIDTH}"'
            f' y2="{y(panel.goal):.1f}"/>'
        )
        parts.append(
            f'<text class="goal-text" x="{left + 6}" y="{y(panel.goal) - 6:.1f}">goal: at most {panel.goal:g}'
            f" {panel.unit}</text>"
        )
    parts.append(f'<polyline class="line" points="{" ".join(f"{x(c):.1f},{y(v):.1f}" for c, v in panel.points)}"/>')
    for count, value in panel.points:
        # The curve rises, so what stands above a point and to its left is clear of it; the first has no room there.
        first = count == counts[0]
        parts.append(f'<circle class="dot" cx="{x(count):.1f}" cy="{y(value):.1f}" r="4"/>')
        place = (
            f'x="{x(count) + (4 if first else -4):.1f}" y="{y(value) - (12 if first else 8):.1f}"'
            f' text-anchor="{"start" if first else "end"}"'
        )
        parts.append(f'<text class="value" {place}>{value:.3g} {panel.unit}</text>')
    return parts


def _bounds(values: list[int] | list[float]) -> tuple[float, float]:
    """Exponents of ten, to the next of 1, 2, 5 around the values."""
    steps = sorted(math.log10(factor) + exponent for exponent in range(-3, 7) for factor in (1, 2, 5))
    low, high = math.log10(min(values)), math.log10(max(values))
    return max(s for s in steps if s <= low + 1e-9), min(s for s in steps if s >= high - 1e-9 and s > low)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... where they fit; only powers of ten on a long axis."""
    factors = (1,) if high - low > 1.8 else (1, 2, 5)
    found = [factor * 10.0**exponent for exponent in range(-3, 7) for factor in factors]
    return [value for value in found if low - 1e-9 <= math.log10(value) <= high + 1e-9]
