"""One readable line from whatever a failed conversion printed."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

LONGEST = 300
"""Characters of Paddle's or the converter's own words that a message carries."""
ALARM = re.compile(r"\[ERROR\](?:\[Paddle2ONNX\])?\s*(?P<words>.*)")
RAISED = re.compile(r"\s*(?P<kind>(?:\w+\.)*\w*(?:Error|Exception)): (?P<words>.*)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PREAMBLE = re.compile(r"^\((?:\w+)\) |\s*\(at /\S+\)|\s*\[Hint: .*?\](?= |$)")


def describe(model: Path, doing: str, code: int, output: str, unsupported: Sequence[str]) -> str:
    """Returns what failed, in the converter's own words, and what to try.

    Args:
        model: The model file.
        doing: The child's stage: ``importing Paddle``, ``reading``, ``translating``, ``converting`` or ``running``.
        code: The child's exit code, negative for a signal.
        output: All that the child printed.
        unsupported: Operators of the program that the converter does not list.
    """
    said = _words(COLOUR.sub("", output))
    if doing == "converting":
        if "unsupported operators" in output and unsupported:
            operators = f"operator{'s' if len(unsupported) > 1 else ''} {', '.join(unsupported)}"
            return (
                f"{model} cannot become ONNX: the converter does not know the Paddle {operators}; "
                "build the layer from other operators and export the model again"
            )
        return (
            f"{model} cannot become ONNX: {said or _ending(code)}; "
            "change that layer and export the model again, or pass an .onnx file converted by other means"
        )
    if doing == "reading":
        if re.search(r"parse_error|program_desc|PIR|magic", said):
            return f"{model} is damaged or no Paddle program: {said}; copy or export it again"
        return (
            f"{model} and its .pdiparams cannot be read, one is damaged or they do not belong together: "
            f"{said or _ending(code)}; copy or export both again"
        )
    if doing == "translating":
        return (
            f"Paddle cannot turn {model} into a program of Paddle 3: {said or _ending(code)}; export it with Paddle 3"
        )
    if doing == "running":
        why = said or _ending(code)
        return f"Paddle cannot run {model} to check its conversion: {why}; verify=False skips the check"
    return f"Paddle does not start, so {model} cannot be read: {said or _ending(code)}"


def _words(output: str) -> str:
    """Returns the converter's ``[ERROR]`` lines, each once; without any, the last exception."""
    lines = output.splitlines()
    alarms = [match["words"].strip() for match in map(ALARM.search, lines) if match]
    said = "; ".join(dict.fromkeys(words.rstrip(".") for words in alarms if words))
    if not said:
        raised = [match["words"] for match in map(RAISED.match, lines) if match]
        # Paddle repeats a crash and a stack of "user code" as errors of their own; neither says anything.
        raised = [words for words in raised if "by the operating system" not in words and words != "In user code:"]
        said = PREAMBLE.sub("", raised[-1]) if raised else ""
    said = " ".join(said.split()).rstrip(".")
    return said if len(said) <= LONGEST else said[: LONGEST - 3] + "..."


def _ending(code: int) -> str:
    if code < 0:
        return f"the process ended with {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"
