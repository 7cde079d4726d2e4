"""Charts are geometry: columns stand on the axis, parts upon each other, and what is too much is one part."""

from __future__ import annotations

import pytest

from apps.core.charts import BOTTOM, HEIGHT, TOP, keep_largest, round_step, stack_bars


def show(value: float) -> str:
    return f"{value:g} t"


def test_parts_stand_upon_each_other() -> None:
    chart = stack_bars(["Mon", "Tue"], [("a", [30, 0]), ("b", [10, 8])], show=show)
    assert [(bar.series, bar.title) for bar in chart.bars] == [
        (1, "Mon, a: 30 t"),
        (2, "Mon, b: 10 t"),
        (2, "Tue, b: 8 t"),
    ]
    low, high, other = chart.bars
    assert (low.y + low.height, high.y + high.height) == (HEIGHT - BOTTOM, low.y)
    assert (round(other.y + other.height, 2), high.y, other.x > low.x + low.width) == (HEIGHT - BOTTOM, TOP, True)
    assert [line.text for line in chart.lines] == ["0 t", "10 t", "20 t", "30 t", "40 t"]
    assert ([mark.text for mark in chart.columns], chart.names, chart.is_empty) == (["Mon", "Tue"], ["a", "b"], False)


def test_many_columns_share_their_labels() -> None:
    chart = stack_bars([str(n) for n in range(90)], [("a", [1] * 90)], show=show)
    assert (len(chart.bars), [mark.text for mark in chart.columns][:3]) == (90, ["0", "8", "16"])


@pytest.mark.parametrize("labels", [[], ["Mon"]])
def test_nothing_is_an_axis_without_bars(labels: list[str]) -> None:
    chart = stack_bars(labels, [("a", [0] * len(labels))], show=show)
    assert (chart.is_empty, [line.text for line in chart.lines]) == (True, ["0 t", "1 t"])


@pytest.mark.parametrize(("least", "step"), [(0, 1), (1, 1), (1.2, 2), (3, 5), (7, 10), (11, 20), (21, 25), (260, 500)])
def test_steps_are_round(least: float, step: float) -> None:
    assert round_step(least) == step


def test_the_largest_keep_their_names() -> None:
    series = [("small", [1, 1]), ("large", [9, 9]), ("middle", [3, 0]), ("tiny", [0, 1])]
    assert keep_largest(series) == [("large", [9, 9]), ("middle", [3, 0]), ("small", [1, 1]), ("tiny", [0, 1])]
    assert keep_largest(series, most=3) == [("large", [9, 9]), ("middle", [3, 0]), ("Other", [1, 2])]
