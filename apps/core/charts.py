"""Stacked bar charts as plain geometry: templates draw them as SVG, without a line of script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 4.0, 10.0, 26.0
STEPS = (1, 2, 2.5, 5, 10)
MOST_LABELS = 12
COLOURS = 8
"""How many series have a colour of their own; what comes after them is one series, "Other"."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a column. `series` counts from 1; `title` is what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A text beside an axis, and where."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Everything that is drawn, in units of `width` by `height`."""

    bars: list[Bar]
    columns: list[Mark]
    lines: list[Mark]
    names: list[str]
    left: float = LEFT
    right: float = WIDTH - RIGHT
    foot: float = HEIGHT - BOTTOM
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to draw."""
        return not self.bars


def stack_bars(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], *, show: Callable[[float], str]
) -> StackedChart:
    """Return a column per label, the series upon each other in order; `show` writes a value for people.

    The axis begins at 0 and ends at the next round step above the highest column.
    """
    highest = max((sum(values[place] for _, values in series) for place in range(len(labels))), default=0)
    step = round_step(highest / 4)
    top = step * -(-highest // step) if highest else step
    room, scale = WIDTH - LEFT - RIGHT, (HEIGHT - TOP - BOTTOM) / top
    slot = room / max(len(labels), 1)
    width = max(slot * 0.72, 1)
    bars: list[Bar] = []
    for place, label in enumerate(labels):
        below = 0
        for number, (name, values) in enumerate(series, 1):
            if values[place] > 0:
                below += values[place]
                bars.append(
                    Bar(
                        x=round(LEFT + slot * place + (slot - width) / 2, 2),
                        y=round(HEIGHT - BOTTOM - below * scale, 2),
                        width=round(width, 2),
                        height=round(max(values[place] * scale, 0.5), 2),
                        series=number,
                        title=f"{label}, {name}: {show(values[place])}",
                    )
                )
    every = -(-len(labels) // MOST_LABELS) or 1
    count = round(top / step)
    return StackedChart(
        bars=bars,
        columns=[
            Mark(round(LEFT + slot * (place + 0.5), 2), label)
            for place, label in enumerate(labels)
            if place % every == 0
        ],
        lines=[Mark(round(HEIGHT - BOTTOM - step * n * scale, 2), show(step * n)) for n in range(count + 1)],
        names=[name for name, _ in series],
    )


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten, from 1 on, that is not below `least`."""
    power = 1.0
    while power * 10 < least:
        power *= 10
    return next(power * step for step in STEPS if power * step >= least and (power > 1 or step != 2.5))


def keep_largest(series: Sequence[tuple[str, Sequence[int]]], *, most: int = COLOURS) -> list[tuple[str, list[int]]]:
    """Return the series by falling sum; where there are more than `most`, the smallest together as "Other"."""
    ordered = sorted(series, key=lambda one: -sum(one[1]))
    if len(ordered) <= most:
        return [(name, list(values)) for name, values in ordered]
    rest = [sum(values) for values in zip(*(values for _, values in ordered[most - 1 :]), strict=True)]
    return [*((name, list(values)) for name, values in ordered[: most - 1]), ("Other", rest)]
