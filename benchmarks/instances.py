"""How well the maps of all objects become labels without any prompt: SA50 and mSA.

    python -m benchmarks.instances DATA DATASET [--split val] [--images N] [--model WEIGHTS]

Each foreground pixel votes for the centre of its object; where many votes fall is an object, of
the pixels that voted for it. SA, the segmentation accuracy, is TP / (TP + FP + FN) at an IoU
threshold; mSA is its mean over thresholds 0.5 to 0.95.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.segmentation import relabel_sequential

from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.models.sam import Sam
from napari_promptable.predict.encoding import encode_pixels
from napari_promptable.predict.instance_maps import predict_diameters, predict_instance_maps
from napari_promptable.predict.load_model import load_model
from napari_promptable.transforms import to_rgb8

BEST_DIAMETER = 48.0  # input pixels to which the median object is brought
MAX_SIDE = 2048  # of the network's input
ZOOM_LIMITS = (0.125, 8.0)
ZOOM_SEARCHES = 3
FOREGROUND = 0.65  # least probability
VOTE_SIGMA = 2.0  # map pixels, by which votes scatter around a centre
MIN_VOTE_SHARE = 0.25  # of an object's pixels, that make a centre
MIN_DISTANCE = 4  # map pixels between centres
MAX_DISTANCE = 1.2  # radii, from a pixel's vote to the centre of its object
MIN_AREA = 25  # of an object in image pixels
THRESHOLDS = np.arange(0.5, 1.0, 0.05)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def encode_at(sam: Sam, rgb: npt.NDArray[np.uint8], zoom: float) -> tuple[FloatArray, tuple]:
    """Encode an image at some zoom; returns its features and its size in input pixels."""
    height, width = (max(32, round(zoom * length)) for length in rgb.shape[:2])
    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    return encode_pixels(sam, np.asarray(resized)), (height, width)


def find_zoom(sam: Sam, rgb: npt.NDArray[np.uint8]) -> float:
    """Zoom at which the median foreground object has the best diameter."""
    most = min(ZOOM_LIMITS[1], MAX_SIDE / max(rgb.shape[:2]))
    zoom = min(1.0, most)
    for _ in range(ZOOM_SEARCHES):
        features, size = encode_at(sam, rgb, zoom)
        diameters = predict_diameters(sam, features, size)
        foreground = predict_instance_maps(sam, features, size)[0, ::4, ::4] > FOREGROUND
        if not foreground.any():
            break
        factor = BEST_DIAMETER / float(np.median(diameters[foreground]))
        zoom = float(np.clip(zoom * factor, ZOOM_LIMITS[0], most))
        if abs(np.log2(factor)) < 0.25:
            break
    return zoom


def segment_from_maps(maps: FloatArray, diameters: FloatArray) -> IntArray:
    """Divide the foreground of instance maps into objects.

    Parameters
    ----------
    maps : ndarray of float32, shape (4, h, w)
        From `predict_instance_maps`.
    diameters : ndarray of float32, shape (rows, columns)
        From `predict_diameters`, in input pixels; 4 × 4 map pixels a cell.

    Returns
    -------
    ndarray of int32, shape (h, w)
        Labels.
    """
    shape = maps.shape[1:]
    labels = np.zeros(shape, np.int32)
    pixels = np.nonzero(maps[0] > FOREGROUND)
    radius = np.kron(diameters, np.ones((4, 4), np.float32))[: shape[0], : shape[1]] / 4
    radius = radius[pixels]
    votes_yx = np.transpose(pixels) + (radius * maps[2:][:, *pixels]).T
    centres_yx = find_centres(votes_yx, radius, shape)
    if len(centres_yx):
        distance, nearest = cKDTree(centres_yx).query(votes_yx)
        labels[pixels] = np.where(distance < MAX_DISTANCE * radius, nearest + 1, 0)
    return labels


def find_centres(
    votes_yx: npt.NDArray[np.floating], radius: FloatArray, shape: tuple[int, ...]
) -> npt.NDArray[np.intp]:
    """Find the places (K, 2) where the votes of a large part of an object's pixels fall.

    Parameters
    ----------
    votes_yx : ndarray, shape (P, 2)
        Where each foreground pixel expects the centre of its object, in map pixels.
    radius : ndarray of float32, shape (P,)
        Of that object.
    shape : (int, int)
        Of the map.
    """
    density = np.zeros(shape, np.float32)
    rows, columns = np.clip(np.rint(votes_yx).astype(int), 0, np.array(shape) - 1).T
    np.add.at(density, (rows, columns), 1 / (np.pi * radius**2))
    density = ndimage.gaussian_filter(density, VOTE_SIGMA)
    least = MIN_VOTE_SHARE / (2 * np.pi * VOTE_SIGMA**2)
    return peak_local_max(
        density, min_distance=MIN_DISTANCE, threshold_abs=least, exclude_border=False
    )


def segment(sam: Sam, rgb: npt.NDArray[np.uint8]) -> IntArray:
    """Segment all objects of an image, shape (H, W, 3), at the zoom that suits them."""
    features, size = encode_at(sam, rgb, find_zoom(sam, rgb))
    labels = segment_from_maps(
        predict_instance_maps(sam, features, size), predict_diameters(sam, features, size)
    )
    full = Image.fromarray(labels).resize(rgb.shape[1::-1], Image.Resampling.NEAREST)
    labels = np.asarray(full).copy()
    labels[np.bincount(labels.ravel())[labels] < MIN_AREA] = 0
    return np.asarray(relabel_sequential(labels)[0], np.int32)


def accuracies(found: IntArray, truth: IntArray) -> npt.NDArray[np.float64]:
    """Segmentation accuracy at each threshold, shape (10,)."""
    shared = np.zeros((found.max() + 1, truth.max() + 1))
    np.add.at(shared, (found.ravel(), truth.ravel()), 1)
    areas = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[None, 1:]
    iou = shared[1:, 1:] / (areas - shared[1:, 1:])
    pairs = iou[linear_sum_assignment(-iou)]
    hits = (pairs[:, None] > THRESHOLDS - 1e-9).sum(axis=0)
    return np.asarray(hits / (sum(iou.shape) - hits))


def main() -> None:
    """Parse the command line, segment and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, help="at most so many of each dataset")
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sam = load_model(arguments.model, device="cpu").sam
    for dataset in arguments.datasets:
        files = find_labelled_files(arguments.data, arguments.data, arguments.split)
        files = [file for file in files if file.dataset == dataset][: arguments.images]
        started, scores = time.process_time(), []
        for file in files:
            for _, image, labels in file.planes():
                truth = relabel_sequential(labels)[0].astype(np.int32)
                scores.append(accuracies(segment(sam, to_rgb8(image)), truth))
        seconds = (time.process_time() - started) / len(scores)
        sa50, msa = np.mean(scores, axis=0)[0], np.mean(scores)
        print(
            f"{dataset}: {len(scores)} planes, SA50 {sa50:.3f}, mSA {msa:.3f}, "
            f"{seconds:.2f} CPU-seconds a plane",
            flush=True,
        )


if __name__ == "__main__":
    main()
