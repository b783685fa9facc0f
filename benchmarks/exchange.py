"""CPU seconds of exporting and importing 10,000 objects in each format, and of measuring them.

    python -m benchmarks.exchange [--objects 10000]

The image is a movie of ten frames with blobs of about 250 pixels, some of them with holes.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_promptable.files.formats.exchange import FORMATS, export_objects, import_objects
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.measurement.measure import measure_objects

_CELL = 24  # pixels from object to object
_FRAMES = 10
_NAMES = {"roi": "a.zip", "ngff": "a.ome.zarr", "tiff": "a.tif", "ctc": "a_res"}


def make_movie(count: int) -> LabelledObjects:
    """Draw `count` objects, each in one frame, with wavy borders."""
    rng = np.random.default_rng(0)
    side = int(np.ceil((count / _FRAMES) ** 0.5))
    labels = np.zeros((_FRAMES, side * _CELL, side * _CELL), np.uint16)
    rows, columns = np.indices((_CELL, _CELL)) - _CELL / 2
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    for number in range(count):
        frame, place = divmod(number, side * side)
        wave = 9 + 1.5 * np.sin(5 * angle + rng.uniform(0, 6))
        mask = (radius < wave) & (radius > (2 if number % 5 == 0 else -1))
        top, left = (n * _CELL for n in divmod(place, side))
        labels[frame, top : top + _CELL, left : left + _CELL][mask] = number + 1
    return LabelledObjects(labels, "TYX", image_name="movie.tif")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    movie = make_movie(parser.parse_args().objects)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            path = Path(folder, name, _NAMES.get(name, f"a.{name}"))
            path.parent.mkdir()
            start = time.process_time()
            export_objects(path, movie, name)
            results[name] = {"export_s": round(time.process_time() - start, 2)}
            if FORMATS[name].read is None:
                continue
            start = time.process_time()
            found = import_objects(path, movie.labels.shape, movie.axes, name)
            results[name]["import_s"] = round(time.process_time() - start, 2)
            results[name]["changed_pixels"] = int((found.labels != movie.labels).sum())
    start = time.process_time()
    measure_objects(movie, movie.labels)
    results["measure"] = {"seconds": round(time.process_time() - start, 2)}
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
