"""Tokens and bars as text for a terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.render import bars_ansi, tokens_ansi
from xgraph.render.terminal import welcome
from xgraph.render.text import cells


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_tokens_have_exact_colours_at_zero_and_at_the_ends() -> None:
    text = tokens_ansi(["a", "b", "c"], np.array([2.0, 0.0, -2.0]), width=80, colour="full")
    assert text == (
        "\x1b[48;2;255;0;0;38;2;0;0;0ma\x1b[0m "
        "\x1b[48;2;255;255;255;38;2;0;0;0mb\x1b[0m "
        "\x1b[48;2;0;0;255;38;2;255;255;255mc\x1b[0m"
    )
    text = tokens_ansi(["a", "b", "c"], np.array([2.0, 0.0, -2.0]), width=80, colour="256")
    assert text == ("\x1b[48;5;196;38;5;16ma\x1b[0m \x1b[48;5;231;38;5;16mb\x1b[0m \x1b[48;5;21;38;5;231mc\x1b[0m")


def test_without_colours_numbers_stand_behind_tokens() -> None:
    assert tokens_ansi(["a", "b"], np.array([1.0, -0.25]), width=80, colour="none") == "a(1) b(−0.25)"


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        ({}, "256"),
        ({"COLORTERM": "truecolor"}, "full"),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"NO_COLOR": ""}, "256"),
        ({"TERM": "dumb"}, "none"),
    ],
)
def test_the_environment_chooses_colours(
    environment: dict[str, str], want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert welcome() == want
    assert ("\x1b" in tokens_ansi(["a"], np.ones(1))) == (want != "none")
    assert ("\x1b" in bars_ansi(["a"], np.ones(1))) == (want != "none")


def test_lines_are_wrapped_by_columns_and_tokens_stay_whole() -> None:
    tokens = ["这部电影", "was", "e\u0301", "good"] * 5
    lines = plain(tokens_ansi(tokens, np.linspace(-1, 1, 20), width=20, colour="256")).split("\n")
    assert len(lines) > 1
    assert max(map(cells, lines)) <= 20
    assert " ".join(lines).split(" ") == tokens
    assert cells("这部") == 4
    assert cells("e\u0301") == 1


def test_a_token_cannot_command_the_terminal() -> None:
    text = tokens_ansi(["\x1b[2J", "a\nb", "\u202ecba", "", " "], np.zeros(5), width=80, colour="none")
    assert text == "\ufffd[2J(0) a⏎b(0) \ufffdcba(0) ∅(0) ␣(0)"
    assert "\x1b" not in bars_ansi(["\x1b[2J"], np.ones(1), colour="none")


def test_every_token_needs_a_number() -> None:
    with pytest.raises(InputError, match="1 tokens but values of shape"):
        tokens_ansi(["a"], np.zeros(2))


def test_bars_stand_on_both_sides_of_zero_and_keep_the_width() -> None:
    text = bars_ansi(["up", "down", "none"], np.array([1.0, -1.0, 0.0]), width=40, colour="none")
    first, second, third = text.split("\n")
    assert first.endswith("█ 1")
    assert second.endswith("█ −1")
    assert third.endswith(" 0")
    assert first.index("█") == second.rindex("█") + 1
    assert max(map(len, (first, second, third))) <= 40


def test_bars_show_the_largest_and_sum_up_the_rest() -> None:
    text = bars_ansi([f"n{i}" for i in range(30)], np.arange(30.0), most=3, colour="none")
    assert [line.split()[0] for line in text.split("\n")] == ["n29", "n28", "n27", "27"]
    assert text.endswith("27 more, together 351")
    assert bars_ansi([], np.zeros(0), colour="none") == ""
    assert "█" not in bars_ansi(["a"], np.zeros(1), colour="none")
