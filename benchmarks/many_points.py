"""Seconds and memory of one object per point: 1,000 points on 2048 × 2048 pixels with `tiny`.

python -m benchmarks.many_points [--points N] [--side PIXELS]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
from skimage.draw import disk

import napari_promptable as npp

RADIUS, DARK, BRIGHT = 8, 20, 200


def make_disks(side: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Image of disks on a grid, and their centres."""
    columns = int(np.ceil(count**0.5))
    places = (np.arange(columns) + 0.5) * side / columns
    centres = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)[:count]
    image = np.full((side, side), DARK, np.uint8)
    for centre in centres:
        image[disk(centre, RADIUS, shape=image.shape)] = BRIGHT
    return image, centres


def peak_mb() -> float:
    """Peak memory of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--side", type=int, default=2048)
    options = parser.parse_args()
    image, centres = make_disks(options.side, options.points)
    model = npp.load_model("tiny", device="cpu")
    before, start, start_cpu = peak_mb(), time.perf_counter(), time.process_time()
    labels = npp.segment_points(model, image, centres)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    found = sum(
        labels[tuple(np.rint(centre).astype(int))] == number
        for number, centre in enumerate(centres, start=1)
    )
    print(
        f"{options.points} points on {options.side} × {options.side}: {seconds:.1f} s "
        f"({cpu_seconds:.1f} s of CPU), {peak_mb() - before:.0f} MB beyond the model, "
        f"{found} points inside their object"
    )


if __name__ == "__main__":
    main()
