"""Clicks on small nuclei in a large plane, with and without tiles.

    python -m benchmarks.small_objects [100]

The bundled image of nuclei is scaled until its nuclei have a diameter of 20 pixels, and
repeated to 4,096 × 4,096 pixels. `tiny` answers one click in the middle of each of so many
nuclei, or an exact box. Without tiles, its network sees the whole plane in 512 × 512 pixels.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_promptable.files.images import read_image
from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.predict.load_model import load_model
from napari_promptable.prompts import PromptSet
from napari_promptable.samples.data import sample_labels, sample_path
from napari_promptable.transforms import to_rgb8

SIDE, DIAMETER = 4096, 20


def make_mosaic() -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of the mosaic, a number for each nucleus."""
    name = "fluorescence_nuclei"
    rgb, labels = to_rgb8(np.asarray(read_image(sample_path(name)))), sample_labels(name)
    areas = np.bincount(labels.ravel())[1:]
    zoom = DIAMETER / (2 * np.sqrt(np.median(areas[areas > 0]) / np.pi))
    size = tuple(round(zoom * length) for length in rgb.shape[1::-1])
    tile = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    truth = np.asarray(Image.fromarray(labels.astype(np.int32)).resize(size, 0))
    counts = [-(-SIDE // length) for length in tile.shape[:2]]
    mosaic = np.tile(tile, (*counts, 1))[:SIDE, :SIDE]
    mask = np.tile(truth, counts)[:SIDE, :SIDE]
    numbered = np.zeros(mask.shape, np.int32)
    for value in np.unique(truth[truth > 0]):
        pieces, _ = ndimage.label(mask == value)
        numbered[pieces > 0] = pieces[pieces > 0] + numbered.max()
    return mosaic, numbered


def main() -> None:
    """Print the mean IoU with and without tiles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=100)
    count = parser.parse_args().count
    image, labels = make_mosaic()
    boxes = ndimage.find_objects(labels)
    whole = [n for n, box in enumerate(boxes, 1) if np.sum(labels[box] == n) > DIAMETER**2 / 3]
    chosen = np.random.default_rng(0).choice(whole, count, replace=False)
    model = load_model("tiny", device="cpu")
    for with_tiles in (False, True):
        if not with_tiles:
            model.sam.tile_size = None
        embedding = model.encode(image)
        ious: dict[str, list[float]] = {"click": [], "box": []}
        for number in chosen:
            truth = labels == number
            prompts = {
                "click": PromptSet([interior_point_yx(truth)]),
                "box": PromptSet(box_yxyx=mask_to_box_yxyx(truth)),
            }
            for kind, asked in prompts.items():
                [prediction] = model.predict_many(embedding, [asked], None)
                ious[kind].append(mask_iou(prediction.mask(prediction.default), truth))
        means = {kind: round(float(np.mean(values)), 2) for kind, values in ious.items()}
        print(json.dumps({"tiles": with_tiles, "nuclei": len(whole), **means}), flush=True)
        model = load_model("tiny", device="cpu")


if __name__ == "__main__":
    main()
