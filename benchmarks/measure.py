"""Measure one case in this process and print the result as JSON.

python -m benchmarks.measure "encode vit_b" --threads 2 --repeats 7
python -m benchmarks.measure "encode vit_b" --memory ours
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

from benchmarks.cases import CASES
from benchmarks.timing import Task, TaskProcess, interleave, ratio, serve

STATUS = Path("/proc/self/status")


def measure_speed(case: str, threads: int, repeats: int) -> list[dict[str, object]]:
    """Medians of each task, and how many times faster than the first it is."""
    names = list(CASES[case]())
    times = interleave(
        {name: TaskProcess(serve_command(case, name, threads)) for name in names}, repeats
    )
    first = times[names[0]]
    return [
        {
            "task": name,
            "wall_ms": time.median_ms,
            "cpu_ms": 1000 * statistics.median(time.cpu),
            "ratio": ratio(first, time),
        }
        for name, time in times.items()
    ]


def serve_command(case: str, task: str, threads: int) -> list[str]:
    """Command of a process that serves one task of a case."""
    module = [sys.executable, "-m", "benchmarks.measure"]
    return [*module, case, "--threads", str(threads), "--serve", task]


def measure_memory(task: Task) -> float:
    """Extra peak memory of a task, in MB (Linux only)."""
    before = read_status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    with torch.inference_mode():
        task()
    return read_status("VmHWM") - before


def read_status(key: str) -> float:
    """A line of the process's status, in MB."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", metavar="TASK", help="peak memory of one task instead")
    parser.add_argument("--serve", metavar="TASK", help="run one task when a line comes in")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.serve:
        serve(CASES[arguments.case]()[arguments.serve])
    elif arguments.memory:
        task = CASES[arguments.case]()[arguments.memory]
        print(json.dumps({"peak_mb": measure_memory(task)}))
    else:
        rows = measure_speed(arguments.case, arguments.threads, arguments.repeats)
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
