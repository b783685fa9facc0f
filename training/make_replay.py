"""Write the sample of the training images that learning shows `tiny` again.

    python -m training.make_replay --data DATA

At most `PER_DATASET` windows of each dataset, from different images where there are enough,
reduced where their objects are larger than `MAX_DIAMETER`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import relabel_sequential

from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.replay import REPLAY_PATH, write_replay
from napari_promptable.learning.sampling import by_source
from training.dataset import load_split

PER_DATASET = 16
SIDE = 224  # most pixels of a window
MAX_DIAMETER = 64.0  # median of a window's objects
MIN_AREA = 20  # of an object
SMALLEST_ZOOM = 0.125


def choose_windows(
    images: list[LabelledImage], rng: np.random.Generator
) -> list[LabelledImage]:
    """Cut windows, one of each image or stack before a second one of any."""
    groups = by_source(images)
    order = rng.permutation(len(groups))
    turns = [groups[order[n % len(order)]] for n in range(PER_DATASET)]
    return [cut_window(group[rng.integers(len(group))], rng) for group in turns]


def cut_window(image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """Reduce an image if its objects are large, and cut a window around one of them."""
    areas = np.bincount(image.labels.ravel())[1:]
    diameter = np.sqrt(4 * np.median(areas[areas > 0]) / np.pi)
    image = reduce_image(image, float(np.clip(MAX_DIAMETER / diameter, SMALLEST_ZOOM, 1)))
    rows, columns = np.nonzero(image.labels)
    pick = rng.integers(len(rows))
    start = [
        int(np.clip(position[pick] - SIDE // 2, 0, max(0, length - SIDE)))
        for position, length in zip((rows, columns), image.labels.shape, strict=True)
    ]
    window = tuple(slice(first, first + SIDE) for first in start)
    labels = image.labels[window]
    labels = np.where((np.bincount(labels.ravel()) >= MIN_AREA)[labels], labels, 0)
    return replace(
        image,
        image=np.ascontiguousarray(image.image[window]),
        labels=relabel_sequential(labels)[0].astype(np.int32),
        neighbours=(),
    )


def reduce_image(image: LabelledImage, zoom: float) -> LabelledImage:
    """Resize image and labels."""
    if zoom == 1:
        return image
    size = tuple(max(1, round(zoom * length)) for length in image.labels.shape[::-1])
    pixels, labels = (
        np.asarray(Image.fromarray(array).resize(size, method))
        for array, method in (
            (image.image, Image.Resampling.BILINEAR),
            (image.labels, Image.Resampling.NEAREST),
        )
    )
    return replace(image, image=pixels, labels=labels)


def main() -> None:
    """Parse the command line and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--output", type=Path, default=REPLAY_PATH)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    groups = load_split(arguments.data, "train").values()
    windows = [window for images in groups for window in choose_windows(images, rng)]
    windows = [window for window in windows if window.labels.any()]
    licences = sorted((arguments.data / "LICENSES").iterdir())
    write_replay(arguments.output, windows, licences)
    megabytes = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {len(windows)} windows, {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
