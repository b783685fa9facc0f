"""Memory for opening and segmenting a stack that is larger than memory should be.

    python -m benchmarks.big_stack [--gigabytes 10] [--format zarr] [--model tiny] [--planes 5]

Makes the stack in a temporary folder, loads a model, then opens the stack, answers prompts on
some planes and writes the labels of all, as the command `segment` does. Prints JSON: sizes, and
the peak of memory beyond the process with the model loaded (Linux only).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
import zarr

import napari_promptable as npp
from benchmarks.measure import measure_memory
from napari_promptable.batch.segment import room_for_labels, segment_document
from napari_promptable.files.images import read_image
from napari_promptable.files.label_images import write_labels
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.prompts import PlanePrompts

SIDE = 2048
BYTES_PER_PLANE = 2 * SIDE * SIDE
CENTRES = [(300 + 350 * row, 300 + 350 * column) for row in range(5) for column in range(5)]
RADIUS = 60


def draw_plane(seed: int) -> npt.NDArray[np.uint16]:
    """Bright disks in noise."""
    plane = np.random.default_rng(seed).normal(1000, 60, (SIDE, SIDE))
    rows, columns = np.indices((2 * RADIUS + 1, 2 * RADIUS + 1)) - RADIUS
    disk = np.hypot(rows, columns) <= RADIUS
    for row, column in CENTRES:
        window = np.s_[row - RADIUS : row + RADIUS + 1, column - RADIUS : column + RADIUS + 1]
        plane[window][disk] += 800
    return plane.astype(np.uint16)


def make_stack(path: Path, num_planes: int, drawn: list[int]) -> None:
    """Write a stack of which some planes are drawn; of a TIFF, all bytes are in the file."""
    shape = (num_planes, SIDE, SIDE)
    if path.suffix == ".tif":
        stack = tifffile.memmap(
            path, shape=shape, dtype=np.uint16, bigtiff=True, photometric="minisblack"
        )
    else:
        stack = zarr.create_array(path, shape=shape, chunks=(1, 512, 512), dtype=np.uint16)
    for z in drawn:
        stack[z] = draw_plane(z)


def segment(model: npp.PromptableModel, path: Path, drawn: list[int], folder: Path) -> int:
    """Run the command's work and count the objects it finds."""
    image = read_image(path)
    objects = {
        number: {(z,): PlanePrompts([centre]) for z in drawn}
        for number, centre in enumerate(CENTRES, start=1)
    }
    document = npp.PromptDocument(path.name, tuple(image.shape), (1, 2), model.name, objects)
    cache = EmbeddingCache(store=npp.EmbeddingStore(folder / "cache.zarr"))
    with room_for_labels(image.shape) as labels:
        segment_document(model, image, document, cache=cache, labels=labels)
        write_labels(folder / "labels.tif", labels)
        return sum(len(np.unique(labels[z])) - 1 for z in drawn)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--format", choices=("zarr", "tif"), default="zarr")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--planes", type=int, default=5, help="planes with prompts")
    arguments = parser.parse_args()
    num_planes = max(arguments.planes, round(arguments.gigabytes * 1e9 / BYTES_PER_PLANE))
    drawn = np.linspace(0, num_planes - 1, arguments.planes).astype(int).tolist()
    model = npp.load_model(arguments.model, device="cpu")
    found = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"stack.{arguments.format}"
        make_stack(path, num_planes, drawn)

        def task() -> None:
            nonlocal found
            found = segment(model, path, drawn, folder)

        start = time.perf_counter()
        peak_mb = measure_memory(task)
    print(
        json.dumps(
            {
                "shape": [num_planes, SIDE, SIDE],
                "gigabytes": num_planes * BYTES_PER_PLANE / 1e9,
                "format": arguments.format,
                "model": model.name,
                "objects": found,
                "seconds": round(time.perf_counter() - start, 1),
                "peak_mb_beyond_model": round(peak_mb),
            }
        )
    )


if __name__ == "__main__":
    main()
