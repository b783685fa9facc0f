"""The curve of a training run: a table that grows, and its picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import SupportsFloat

import numpy as np
from matplotlib.figure import Figure

LOSSES = ("loss", "instance_loss", "size_error", "iou_error")
IOUS = ("box_iou", "point_iou", "best_of_three", "corrected_iou", "carried_iou", "absent_area")
NAMES = (*LOSSES, *IOUS)
"""Columns after the iteration and its seconds; not every iteration has all of them."""


def append(
    path: Path, iteration: int, seconds: float, recent: Sequence[Mapping[str, SupportsFloat]]
) -> None:
    """Append the means of the last iterations to the table and redraw it.

    Parameters
    ----------
    path : Path
        Of the CSV; the picture gets the same name and the ending .png.
    iteration : int
        How many are done.
    seconds : float
        Per iteration.
    recent : sequence of dict of str to number
        Figures of the last iterations.
    """
    table = np.array(
        [[float(figures.get(name, np.nan)) for name in NAMES] for figures in recent]
    )
    columns = [column[np.isfinite(column)] for column in table.T]
    means = [f"{column.mean():.4f}" if len(column) else "" for column in columns]
    is_new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["iteration", "seconds_per_iteration", *NAMES])
        writer.writerow([iteration, f"{seconds:.2f}", *means])
    print(iteration, f"{seconds:.2f} s", dict(zip(NAMES, means, strict=True)), flush=True)
    draw(path)


def draw(path: Path) -> None:
    """Draw losses and IoUs of a table over the iterations."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, names in zip(figure.subplots(1, 2), (LOSSES, IOUS), strict=True):
        for name in names:
            points = [(int(row["iteration"]), float(row[name])) for row in rows if row[name]]
            axes.plot([x for x, _ in points], [y for _, y in points], label=name)
        axes.set_xlabel("iteration")
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path.with_suffix(".png"), dpi=100)
