"""Is this checkout slower than another one? Each case of `make bench`, in turns.

    git worktree add ../old COMMIT
    python -m benchmarks.compare ../old [--repeats 3] [--seconds 3] [--threads 2]
                                 [--cases "click 512" ...]

Each task has one process per checkout. They take turns, so a noisy machine is noisy for both.
Prints a table with ratios new / old: above 1 is slower or larger. It leaves out cases that only
one of the checkouts has, the reference's tasks, the growth curves and the viewer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.measure import serve_command
from benchmarks.run import CASES as USUAL_CASES
from benchmarks.run import LOADED, MEMORY, run, table
from benchmarks.timing import ROOT, TaskProcess, code_of, interleave, ratio

LIST_CASES = "import json; from benchmarks.cases import CASES; print(json.dumps(list(CASES)))"


def cases_of(checkout: Path) -> list[str]:
    """Names of the cases that a checkout has."""
    command = [sys.executable, "-c", LIST_CASES]
    output = subprocess.run(
        command, cwd=checkout, env=code_of(checkout), check=True, capture_output=True, text=True
    )
    names: list[str] = json.loads(output.stdout)
    return names


def compare_speed(
    old: Path, cases: Iterable[str], threads: int, repeats: int, seconds: float
) -> Iterator[Sequence[object]]:
    """Median wall times of our tasks, and the median of the rounds' ratios."""
    for case in cases:
        for task in CASES[case]():
            if task.startswith("reference"):
                continue
            command = serve_command(case, task, threads)
            processes = {"old": TaskProcess(command, old), "new": TaskProcess(command)}
            times = interleave(processes, repeats, seconds)
            before, after = times["old"], times["new"]
            walls = (f"{each.median_ms:.1f} ms" for each in (before, after))
            yield case, task, *walls, f"{ratio(after, before):.2f}"


def compare_memory(old: Path, cases: Iterable[str]) -> Iterator[Sequence[object]]:
    """Peak memory of our tasks in fresh processes."""
    for case, task in MEMORY:
        if case in cases and task == "ours":
            before, after = (
                run("measure", case, "--memory", task, checkout=checkout)["peak_mb"]
                for checkout in (old, ROOT)
            )
            yield f"memory of {case}", task, *_with_ratio(before, after, "MB")


def compare_loading(old: Path, repeats: int) -> Iterator[Sequence[object]]:
    """Time and peak memory of loading a model in fresh processes, by turns."""
    for model, code in LOADED:
        if code == "reference":
            continue
        rounds = [
            [run("loading", model, checkout=c) for c in (old, ROOT)] for _ in range(repeats)
        ]
        for key, unit, factor in (("seconds", "ms", 1000), ("peak_mb", "MB", 1)):
            before, after = (
                factor * statistics.median(each[side][key] for each in rounds)
                for side in (0, 1)
            )
            yield f"loading {model}", key, *_with_ratio(before, after, unit)


def _with_ratio(before: float, after: float, unit: str) -> tuple[str, str, str]:
    return f"{before:.1f} {unit}", f"{after:.1f} {unit}", f"{after / before:.2f}"


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="root of the other checkout")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, at least")
    parser.add_argument("--seconds", type=float, default=3.0, help="of rounds, at least")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", default=list(USUAL_CASES), choices=CASES)
    options = parser.parse_args()
    old = options.old.resolve()
    known = set(cases_of(old))
    cases = [case for case in options.cases if case in known]

    def rows() -> Iterator[Sequence[object]]:
        yield from compare_speed(old, cases, options.threads, options.repeats, options.seconds)
        yield from compare_memory(old, cases)
        yield from compare_loading(old, options.repeats)

    table(("case", "task", "old", "new", "new / old"), rows())


if __name__ == "__main__":
    main()
