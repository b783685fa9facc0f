"""Measure speed and memory, print the tables, and write them into docs/benchmarks.md.

    python -m benchmarks.run [--repeats 7] [--threads 1 2] [--cases "encode vit_b" …]
                             [--clicks 1000]

Everything is measured in processes of its own. The viewer needs a screen that knows OpenGL.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import sam2_cases
from benchmarks.timing import ROOT, code_of, machine_facts

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- make bench writes what follows, as far as the next comment -->"
END = "<!-- end of what make bench writes -->"
PLOT = ROOT / "docs" / "images" / "growth.png"
CASES = (
    "encode vit_b",
    "encode vit_t",
    *sam2_cases.CASES,
    *(f"click {size}" for size in (512, 1024, 2048, 4096)),
    *(f"{count} boxes" for count in (1, 16, 64)),
    *(f"tiny {size}" for size in (256, 512, 1024, 2048)),
    "busy click",
)
"""ViT-L and ViT-H take an hour; they are measured only when they are named."""

MEMORY = [
    (case, task)
    for case in ("encode vit_b", "encode vit_t", *sam2_cases.CASES, "64 boxes")
    for task in ("reference", "ours")
]
LOADED = (("tiny", "ours"), ("vit_b", "ours"), ("vit_b", "reference"))
CURVES = {"image size": "pixels along a side", "prompts": "boxes", "slices": "slices"}


def run(module: str, *options: str, checkout: Path = ROOT) -> dict[str, Any]:
    """Run a module of a checkout's benchmarks in a process of its own; it prints JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    output = subprocess.run(
        command,
        cwd=checkout,
        env=code_of(checkout),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown table; each line is printed as soon as it is known."""
    lines = []
    for cells in chain((head, ["---"] * len(head)), rows):
        lines.append(_line(cells))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def speed(cases: list[str], threads: list[int], repeats: int) -> Iterator[Sequence[object]]:
    """Times of all cases."""
    for case in cases:
        for count in threads:
            result = run("measure", case, "--threads", str(count), "--repeats", str(repeats))
            for row in result["rows"]:
                times = (f"{row['wall_ms']:.0f}", f"{row['cpu_ms']:.0f}")
                yield case, count, row["task"], *times, f"{row['ratio']:.2f} ×"


def memory() -> Iterator[Sequence[object]]:
    """Peaks of fresh processes."""
    for case, task in MEMORY:
        peak = run("measure", case, "--memory", task)["peak_mb"]
        yield case, task, f"{peak:.0f}"


def loading() -> Iterator[Sequence[object]]:
    """Seconds and peaks of loading a model."""
    for model, code in LOADED:
        result = run("loading", model, *["--reference"] * (code == "reference"))
        figures = (result["file_mb"], 1000 * result["seconds"], result["peak_mb"])
        yield model, code, *(f"{figure:.0f}" for figure in figures)


def growth() -> Iterator[Sequence[object]]:
    """Times by count, and their exponents; draws them too."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for (curve, unit), axes in zip(
        CURVES.items(), figure.subplots(1, len(CURVES)), strict=True
    ):
        result = run("growth", curve)
        axes.loglog(result["counts"], result["seconds"], "o-")
        axes.set(xlabel=unit, ylabel="seconds", title=f"exponent {result['exponent']:.2f}")
        axes.grid(alpha=0.3)
        pairs = zip(result["counts"], result["seconds"], strict=True)
        times = ", ".join(f"{count}: {seconds:.2f}" for count, seconds in pairs)
        yield curve, times, f"{result['exponent']:.2f}"
    figure.savefig(PLOT, dpi=90)


def viewer(clicks: int) -> Iterator[Sequence[object]]:
    """Opening the panel and clicking in a viewer, beside bare napari."""
    for name, values in run("viewer", "--clicks", str(clicks), "--repeats", "1").items():
        if isinstance(values, dict):
            for key, value in values.items():
                yield name, key.replace("_mb", ", MB").replace("_", " "), f"{value:.0f}"


def git_revision() -> str:
    """Short hash of the commit, with a plus if files differ from it."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def measure_all(cases: list[str], threads: list[int], repeats: int, clicks: int) -> str:
    """Measure everything; returns Markdown."""
    head = ("case", "threads", "task", "wall, ms", "CPU, ms", "faster")
    speed_table = table(head, speed(cases, threads, repeats))
    return f"""{machine_facts()}; commit {git_revision()}, {datetime.date.today()}.

### Speed

Medians of {repeats} interleaved rounds, after two to warm up. *Faster* is the median of
the rounds' ratios to the first task of the case; a case of the bundled model has no reference
to compare with. *Busy click* is the same click while another process uses one core.

{speed_table}

### Memory

Peak of a fresh process during one task, beyond what it held before (weights and inputs).

{table(("case", "task", "peak, MB"), memory())}

### Loading

In a fresh process that has imported torch. The peak is what loading adds to what the process
held before.

{table(("model", "code", "file, MB", "time, ms", "peak, MB"), loading())}

### Growth

The bundled model, two threads. *Image size*: encode and one click. *Prompts*: boxes on 1,024 ×
1,024 pixels. *Slices*: encode and one box on each, of 256 × 256 pixels. The exponent is the
slope of the upper half of the counts; for image size, over the number of pixels.

{table(("by", "seconds", "exponent"), growth())}

![Growth](images/growth.png)

### Clicks in a running viewer

The bundled model on square images of 512 and 2,048 pixels a side; every click is on another
object and its answer is committed. *Preview* is the time until the preview layer is set,
*drawn* until it was drawn, *stuck* the longest time of a click in which napari's thread did not
look at events, without drawing. The screen of this machine is drawn by a program on the same
two cores, which slows everything down; with a graphics card it does not.

{table(("what, side of the image", "ms", "value"), viewer(clicks))}
"""


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--clicks", type=int, default=1000, help="in the viewer")
    results = measure_all(**vars(parser.parse_args()))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{results}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
