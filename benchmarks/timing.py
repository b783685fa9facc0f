"""Interleaved timing: A B A B …, so that a noisy machine is noisy for all alike.

Each task has a process of its own, as it would have at a user's: what one leaves behind in
caches and in the memory allocator does not slow the other down.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
Task = Callable[[], object]


@dataclass
class Times:
    """Duration of each round of one task, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median wall time in milliseconds."""
        return 1000 * statistics.median(self.wall)


def serve(task: Task) -> None:
    """Run a task whenever a line comes in, and print seconds of wall and CPU time as JSON."""
    with torch.inference_mode():
        for _ in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            print(
                json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True
            )


def code_of(checkout: Path) -> dict[str, str]:
    """Environment in which Python imports the code of a checkout."""
    path = os.pathsep.join([str(checkout / "src"), str(checkout)])
    return os.environ | {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}


class TaskProcess:
    """A process that `serve`s a task.

    Parameters
    ----------
    command : list of str
        Starts it.
    checkout : Path
        Root of the checkout whose code it runs; this one by default.
    """

    def __init__(self, command: list[str], checkout: Path = ROOT) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            cwd=checkout,
            env=code_of(checkout),
            stdin=pipe,
            stdout=pipe,
            text=True,
        )

    def __enter__(self) -> TaskProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self) -> tuple[float, float]:
        """Run the task once; returns seconds of wall and CPU time."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write("\n")
        stdin.flush()
        wall, cpu = json.loads(stdout.readline())
        return wall, cpu


def interleave(
    processes: Mapping[str, TaskProcess], repeats: int, seconds: float = 0.0
) -> dict[str, Times]:
    """Run all tasks twice, then in turn: `repeats` rounds, and more while `seconds` last."""
    times = {name: Times() for name in processes}
    with ExitStack() as stack:
        for process in processes.values():
            stack.enter_context(process)
        for process in (*processes.values(), *processes.values()):
            process.run()
        end = time.perf_counter() + seconds
        for number in count():
            if number >= repeats and time.perf_counter() >= end:
                break
            for name, process in processes.items():
                wall, cpu = process.run()
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times


def ratio(slow: Times, fast: Times) -> float:
    """Median of the rounds' ratios of wall times."""
    return statistics.median(a / b for a, b in zip(slow.wall, fast.wall, strict=True))


def machine_facts() -> str:
    """Processor, cores and torch in a line."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if "model name" in line]
        name = names[0] if names else name
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {os.cpu_count()} cores, {capability}, torch {torch.__version__}"
