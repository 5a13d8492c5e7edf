"""What differentiates: operators of the standard, operator cases of the onnx package, models of the corpus.

    python bench/operator_coverage.py [--readme README.md] [--cases FILE] [--corpus FILE] [--at-least 0.98]

Counts are those of the installed onnx. Cases and models are counted from JUnit reports of a run that had them, perhaps
in another environment; where neither is given, both are run here:

    pytest tests/rules/test_operator_cases.py --junitxml cases.xml
    pytest tests/corpus --junitxml corpus.xml

A model of the corpus is what a test's parameters name; it passes where all tests of that name in its file do. An
exception (xfail) and a skipped test have not passed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import onnx

from xgraph.graph.aside import ZIP
from xgraph.graph.normalise.decompose import composites
from xgraph.graph.normalise.sequences import resolved
from xgraph.rules.vjp import vjp

ROOT = Path(__file__).parent.parent
CASES, CORPUS = "tests/rules/test_operator_cases.py", "tests/corpus"
KINDS = ("rule", "taken apart at import", "constant", "refused")
VENDOR = "com.microsoft"
"""Its operators have no list to count against: it is what ONNX Runtime's optimisers and quantisers write."""


def kind(op: str) -> str:
    """Returns what becomes of an operator, one of ``KINDS``."""
    if op in composites() | resolved() | {f"ai.onnx.ml::{ZIP}"}:
        return "taken apart at import"
    entry = vjp.entries.get(op)
    if entry is None:
        return "refused"
    return "rule" if entry.rule else "constant"


def operators() -> Iterator[tuple[str, list[str]]]:
    """Yields the domains of the standard and ONNX Runtime's, each with its operators of today."""
    for domain, title in (("", f"`ai.onnx`, opset {onnx.defs.onnx_opset_version()}"), ("ai.onnx.ml", "`ai.onnx.ml`")):
        named = f"{domain}::" if domain else ""
        schemas = [s for s in onnx.defs.get_all_schemas() if s.domain == domain and not s.deprecated]
        yield title, sorted(f"{named}{schema.name}" for schema in schemas)
    known = {*vjp.entries, *composites()}
    yield f"`{VENDOR}`, as ONNX Runtime writes it", sorted(op for op in known if op.startswith(f"{VENDOR}::"))


def outcomes(report: Path, place: str) -> Iterator[tuple[str, str, bool]]:
    """Yields (file, parameters, whether it passed) of the parametrised tests at a place, from a JUnit report."""
    for test in ElementTree.parse(report).iter("testcase"):
        file = test.get("classname", "")
        _, bracket, parameters = test.get("name", "").partition("[")
        if bracket and file.startswith(place.removesuffix(".py").replace("/", ".")):
            failed = any(test.find(tag) is not None for tag in ("failure", "error", "skipped"))
            yield file, parameters.removesuffix("]"), not failed


def passed(report: Path, place: str) -> tuple[int, int]:
    """Returns how many names passed all their tests, and how many there are."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for file, name, good in outcomes(report, place):
        found[file, name].append(good)
    if not found:
        raise SystemExit(f"{report} has no tests of {place}")
    return sum(all(tests) for tests in found.values()), len(found)


def run(place: str, folder: str) -> Path:
    """Runs tests and returns their report; failing ones are counted there."""
    report = Path(folder) / f"{Path(place).stem}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", f"--junitxml={report}", place]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    if not report.exists():
        raise SystemExit(f"{place} did not run (pytest ended with {done.returncode})")
    return report


def markdown(counts: Mapping[str, tuple[int, int]]) -> str:
    """Returns the tables; ``counts`` are (passed, all) by what was checked."""
    lines = [f"| operators of | {' | '.join(KINDS)} | all |", "|---" * (len(KINDS) + 2) + "|"]
    refused = []
    for title, ops in operators():
        kinds = Counter(kind(op) for op in ops)
        lines.append(f"| {title} | {' | '.join(str(kinds[name]) for name in KINDS)} | {len(ops)} |")
        refused += [op for op in ops if kind(op) == "refused"]
    if refused:
        lines += ["", f"Refused: {', '.join(f'`{op}`' for op in refused)}."]
    lines += ["", "| checked | passed / all |", "|---|---|"]
    lines += [f"| {title} | {good} / {total} ({good / total:.1%}) |" for title, (good, total) in counts.items()]
    return "\n".join(lines)


def write_readme(path: Path, text: str) -> None:
    """Puts the tables between the markers."""
    begin, end = "<!-- coverage -->", "<!-- /coverage -->"
    head, found, rest = path.read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path} has no {begin} ... {end}")
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def main() -> None:
    """Counts, and prints or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, help="JUnit report with the operator cases")
    parser.add_argument("--corpus", type=Path, help="JUnit report with the models of the corpus")
    parser.add_argument("--at-least", type=float, default=0.0, help="fail where a smaller share of the cases passed")
    parser.add_argument("--readme", type=Path, help="file to write the tables into")
    arguments = parser.parse_args()
    counts: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        both = not (arguments.cases or arguments.corpus)
        if both or arguments.cases:
            title = f"operator cases of onnx {onnx.__version__} with float input and output"
            counts[title] = passed(arguments.cases or run(CASES, folder), CASES)
        if both or arguments.corpus:
            counts["models of the corpus, in each of their forms"] = passed(
                arguments.corpus or run(CORPUS, folder), CORPUS
            )
    text = markdown(counts)
    print(text)
    if arguments.readme:
        write_readme(arguments.readme, text)
    short = [title for title, (good, total) in counts.items() if good < arguments.at_least * total]
    if short:
        raise SystemExit(f"fewer than {arguments.at_least:.0%} passed of the {' and the '.join(short)}")


if __name__ == "__main__":
    main()
