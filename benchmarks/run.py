"""Measure speed and memory, print the tables, and write them to docs/benchmarks.md.

    python -m benchmarks.run [--repeats 7] [--threads 1 2] [--cases "encode vit_b" …]

Every case runs in processes of its own, once with each number of threads.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
CASES = (
    "encode vit_b",
    "encode vit_t",
    *(f"click {size}" for size in (512, 1024, 2048, 4096)),
    *(f"{count} boxes" for count in (1, 16, 64)),
    *(f"tiny {size}" for size in (256, 512, 1024, 2048)),
)
"""Those of ViT-L and ViT-H take an hour and are measured when they are named."""

MEMORY = [
    (case, task)
    for case in ("encode vit_b", "encode vit_t", "64 boxes")
    for task in ("reference", "ours")
]


def measure(case: str, *options: str) -> dict[str, Any]:
    """Run `benchmarks.measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.measure", case, *options]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    output = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result


def speed_table(cases: list[str], threads: list[int], repeats: int) -> tuple[str, str]:
    """Machine and Markdown table of all cases."""
    lines = [
        "| case | threads | task | wall, ms | CPU, ms | faster than the first |",
        "|---|---|---|---|---|---|",
    ]
    machine = ""
    for case in cases:
        for count in threads:
            result = measure(case, "--threads", str(count), "--repeats", str(repeats))
            machine = result["machine"]
            for row in result["rows"]:
                times = f"{row['wall_ms']:.0f} | {row['cpu_ms']:.0f} | {row['ratio']:.2f} ×"
                lines.append(f"| {case} | {count} | {row['task']} | {times} |")
                print(lines[-1], flush=True)
    return machine, "\n".join(lines)


def memory_table() -> str:
    """Markdown table of the peaks of fresh processes, beyond weights and inputs."""
    lines = ["| case | task | peak, MB |", "|---|---|---|"]
    for case, task in MEMORY:
        peak = measure(case, "--memory", task)["peak_mb"]
        lines.append(f"| {case} | {task} | {peak:.0f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def git_revision() -> str:
    """Short hash of the commit, with a plus if files differ from it."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    machine, speed = speed_table(arguments.cases, arguments.threads, arguments.repeats)
    memory = memory_table()
    PAGE.write_text(
        "# Benchmarks\n\n"
        "Written by `make bench`; [why it is fast](explanation/why-it-is-fast.md) says what is "
        "behind the figures.\n\n"
        f"{machine}; commit {git_revision()}, {datetime.date.today()}. Medians of "
        f"{arguments.repeats} interleaved rounds after one that does not count. *Faster than "
        "the first* is the median of the rounds' ratios to the first task of the case; a case "
        "of the bundled model has no reference to compare with.\n\n"
        f"## Speed\n\n{speed}\n\n"
        "## Memory\n\nPeak of a fresh process during one task, beyond what it held before "
        f"(weights and inputs).\n\n{memory}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
