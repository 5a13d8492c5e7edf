"""What differentiates: operators of the standard, operator cases of the onnx package, models of the corpus.

    python bench/coverage.py [--readme README.md] [--cases FILE] [--corpus FILE]

Counts are those of the installed onnx. Cases and models are counted from JUnit reports; what is not given is run:

    pytest tests/rules/test_operator_cases.py --junitxml cases.xml
    pytest -m slow tests/corpus --junitxml corpus.xml

A model of the corpus is what a test's parameters name; it passes where all tests of that name in its file do. An
exception (xfail) and a skipped test have not passed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import onnx

from xgraph.graph.normalise.decompose import composites
from xgraph.graph.normalise.sequences import resolved
from xgraph.rules.vjp import vjp

ROOT = Path(__file__).parent.parent
CASES = ["tests/rules/test_operator_cases.py"]
CORPUS = ["-m", "slow", "tests/corpus"]
KINDS = ("rule", "taken apart at import", "constant", "refused")
VENDOR = "com.microsoft"
"""Its operators have no list to count against: it is what ONNX Runtime's optimisers and quantisers write."""


def kind(op: str) -> str:
    """Returns what becomes of an operator, one of ``KINDS``."""
    if op in composites() | resolved():
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


def outcomes(report: Path) -> Iterator[tuple[str, str, bool]]:
    """Yields (file, parameters, whether it passed) of the parametrised tests in a JUnit report."""
    for test in ElementTree.parse(report).iter("testcase"):
        _, bracket, parameters = test.get("name", "").partition("[")
        if bracket:
            failed = any(test.find(tag) is not None for tag in ("failure", "error", "skipped"))
            yield test.get("classname", ""), parameters.removesuffix("]"), not failed


def passed(report: Path) -> tuple[int, int]:
    """Returns how many names passed all their tests, and how many there are."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for file, name, good in outcomes(report):
        found[file, name].append(good)
    return sum(all(tests) for tests in found.values()), len(found)


def run(arguments: Sequence[str], report: Path) -> None:
    """Runs tests into a report; failing ones are counted there."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", f"--junitxml={report}", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    if not report.exists():
        raise SystemExit(f"the tests did not run (pytest ended with {done.returncode})")


def counted(given: Path | None, arguments: Sequence[str]) -> str:
    """Returns ``passed / all`` of a report, which is made where it is not given."""
    with tempfile.TemporaryDirectory() as folder:
        report = given or Path(folder) / "report.xml"
        if given is None:
            run(arguments, report)
        good, total = passed(report)
    return f"{good} / {total} ({good / total:.1%})" if total else "none found"


def markdown(cases: str, corpus: str | None) -> str:
    """Returns the tables."""
    lines = [f"| operators of | {' | '.join(KINDS)} | all |", "|---" * (len(KINDS) + 2) + "|"]
    refused = []
    for title, ops in operators():
        kinds = Counter(kind(op) for op in ops)
        lines.append(f"| {title} | {' | '.join(str(kinds[name]) for name in KINDS)} | {len(ops)} |")
        refused += [op for op in ops if kind(op) == "refused"]
    if refused:
        lines += ["", f"Refused: {', '.join(f'`{op}`' for op in refused)}."]
    lines += ["", "| checked | passed / all |", "|---|---|"]
    lines.append(f"| operator cases of onnx {onnx.__version__} with float input and output | {cases} |")
    if corpus is not None:
        lines.append(f"| models of the corpus | {corpus} |")
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
    parser.add_argument("--cases", type=Path, help="JUnit report of the operator cases; default: run them")
    parser.add_argument("--corpus", type=Path, help="JUnit report of the corpus; default: run it, where there is one")
    parser.add_argument("--readme", type=Path, help="file to write the tables into")
    arguments = parser.parse_args()
    cases = counted(arguments.cases, CASES)
    there = arguments.corpus or (ROOT / "tests" / "corpus").is_dir()
    text = markdown(cases, counted(arguments.corpus, CORPUS) if there else None)
    print(text)
    if arguments.readme:
        write_readme(arguments.readme, text)


if __name__ == "__main__":
    main()
