"""Interleaved timing: A B A B …, so that a noisy machine is noisy for all alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Task = Callable[[], object]


@dataclass
class Times:
    """What the rounds of one task took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median wall time in milliseconds."""
        return 1000 * statistics.median(self.wall)


def interleave(tasks: dict[str, Task], repeats: int) -> dict[str, Times]:
    """Run all tasks once, then `repeats` times in turn."""
    times = {name: Times() for name in tasks}
    with torch.inference_mode():
        for task in tasks.values():
            task()
        for _ in range(repeats):
            for name, task in tasks.items():
                wall, cpu = time.perf_counter(), time.process_time()
                task()
                times[name].wall.append(time.perf_counter() - wall)
                times[name].cpu.append(time.process_time() - cpu)
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
