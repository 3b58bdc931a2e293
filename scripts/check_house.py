"""House rules that no linter knows: sizes of files and functions, names, markers of unfinished work, paths.

Prints every breach with its place and exits 1 when there is one; `--figures` prints the largest and median file.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("router", "evals", "benchmarks")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|base|manager|service)($|_)")
# The platform raises NotImplementedError itself; suppressing it is finished work.
UNFINISHED = re.compile(r"raise NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b")
BROAD_EXCEPT = re.compile(r"except\s*(Exception)?\s*(as \w+)?:")
# The outermost handlers of the two edges, and of a task that must live as long as the process; everywhere else an error
# has a name.
BROAD_EXCEPT_ALLOWED = (
    "router/server/",
    "router/providers/",
    "router/dispatch.py",
    "router/guarding.py",
    "router/stores/budgets/leased.py",
)


def sources() -> list[Path]:
    """Every Python file of the packages, in a stable order."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def breaches_of(path: Path) -> list[str]:
    """What the file breaks, each as ``path:line: rule``."""
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: list[str] = []
    if len(lines) > FILE_LINES_MAX:
        found.append(f"{name}:1: {len(lines)} lines, at most {FILE_LINES_MAX}")
    if BANNED_NAMES.search(path.stem) or any(BANNED_NAMES.search(part) for part in Path(name).parts[:-1]):
        found.append(f"{name}:1: a name that says nothing")
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            found.append(f"{name}:{number}: unfinished work")
        if BROAD_EXCEPT.search(line) and not name.startswith(BROAD_EXCEPT_ALLOWED):
            found.append(f"{name}:{number}: a broad except away from the edges")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                found.append(f"{name}:{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES_MAX}")
    return found


def main() -> int:
    """Check, print, and say so by the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", action="store_true", help="print the largest and the median file")
    figures = parser.parse_args().figures
    paths = sources()
    found = [breach for path in paths for breach in breaches_of(path)]
    for breach in found:
        print(breach)
    if figures:
        sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
        largest = max(sizes, key=lambda path: sizes[path])
        median = statistics.median(sizes.values())
        print(f"{len(paths)} files, largest {largest.relative_to(ROOT)} ({sizes[largest]}), median {median:g} lines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
