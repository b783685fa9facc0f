"""Views: parts of an image at a zoom that suits its objects, with maps of all objects.

A view is one call of a convolutional encoder. Views overlap, and each is responsible for its
core only, which lies so far from its border that the maps are what one view of the whole image
would show. So there are no halves of objects to stitch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from napari_promptable.instances.regions import FOREGROUND
from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.encoding import encode_pixels
from napari_promptable.predict.instance_maps import predict_diameters, predict_instance_maps

FloatArray = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

_BEST_DIAMETER = 60.0  # input pixels to which the median object is brought
_CORE = 1024  # input pixels along the side of a core
_HALO = 128  # input pixels around it
_MIN_SIDE = 32  # input pixels; less shows nothing
_ZOOM_LIMITS = (0.125, 8.0)
_OVERVIEW = 1024  # longest side, in input pixels, of the part whose objects are measured
_MAX_SEARCHES = 4
_SAME_ZOOM = 0.25  # octaves between two estimates of one zoom
_OTHER_ZOOM = 1.2  # octaves between two zooms that are both needed
_CELL = 4  # map pixels along the side of a cell of the embedding


@dataclass(frozen=True, eq=False)
class View:
    """A part of an image, as the network is shown it.

    Attributes
    ----------
    embedding : ImageEmbedding
        Of the part; its `input_size` over its `original_size` is the zoom.
    maps : ndarray of float32, shape (4, h, w)
        See `napari_promptable.predict.instance_maps.predict_instance_maps`.
    diameters : ndarray of float32, shape (rows, columns)
        See `predict_diameters` of the same module.
    corner : (int, int)
        First row and column of the part in the image.
    core_yxyx : (float, float, float, float)
        Edges in image pixels between which the view is responsible: top, left, bottom, right.
    """

    embedding: ImageEmbedding
    maps: FloatArray
    diameters: FloatArray
    corner: tuple[int, int] = (0, 0)
    core_yxyx: tuple[float, ...] = (-np.inf, -np.inf, np.inf, np.inf)

    @property
    def zoom_yx(self) -> npt.NDArray[np.float64]:
        """Input pixels per image pixel along rows and columns."""
        size = np.array(self.embedding.input_size, float)
        zoom: npt.NDArray[np.float64] = size / np.array(self.embedding.original_size)
        return zoom


@torch.inference_mode()
def look_at(sam: Sam, model_id: str, part: Rgb, zoom: float) -> View:
    """Encode a part of an image at some zoom, and map its objects.

    Parameters
    ----------
    sam : Sam
        A network with an instance head and a size head.
    model_id : str
        Its name, for the embedding.
    part : ndarray of uint8, shape (h, w, 3)
        RGB.
    zoom : float
        Input pixels per image pixel.

    Returns
    -------
    View
        Responsible for all of it.
    """
    size = (part.shape[0], part.shape[1])
    height, width = (max(_MIN_SIDE, round(zoom * length)) for length in size)
    resized = Image.fromarray(np.ascontiguousarray(part)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    features = encode_pixels(sam, np.asarray(resized))
    return View(
        ImageEmbedding(features, size, (height, width), model_id, size, size),
        predict_instance_maps(sam, features, (height, width)),
        predict_diameters(sam, features, (height, width)),
    )


def look_everywhere(
    sam: Sam, model_id: str, image: Rgb, zoom: float, corner: tuple[int, int] = (0, 0)
) -> Iterator[View]:
    """View a whole image at some zoom, part by part.

    Parameters
    ----------
    sam, model_id, zoom
        As in `look_at`.
    image : ndarray of uint8, shape (H, W, 3)
        RGB; perhaps cut out of a larger image.
    corner : (int, int), optional
        Its first row and column there; views are placed in the larger image.

    Yields
    ------
    View
        Their cores cover the image.
    """
    size = np.array(image.shape[:2])
    counts = count_views(image, zoom)
    for place in np.ndindex(*counts):
        core = np.array([place, np.add(place, 1)]) * size / counts
        first = np.maximum(np.floor(core[0] - _HALO / zoom), 0).astype(int)
        last = np.ceil(core[1] + _HALO / zoom).astype(int)
        view = look_at(sam, model_id, image[first[0] : last[0], first[1] : last[1]], zoom)
        top, left = (first + corner).tolist()
        edges = tuple((core + corner).ravel().tolist())
        yield replace(view, corner=(top, left), core_yxyx=edges)


def count_views(image: Rgb, zoom: float) -> tuple[int, int]:
    """Rows and columns of views that `look_everywhere` needs."""
    rows, columns = (max(1, round(zoom * length / _CORE)) for length in image.shape[:2])
    return rows, columns


def choose_zooms(sam: Sam, model_id: str, image: Rgb) -> list[float]:
    """Find the zooms at which the objects of an image have the best size.

    Parameters
    ----------
    sam, model_id
        As in `look_at`.
    image : ndarray of uint8, shape (H, W, 3)
        RGB.

    Returns
    -------
    list of float
        Input pixels per image pixel: one for the objects that cover most of the foreground
        and, if most objects are of another size, one for those. Empty if there is no
        foreground.
    """
    zoom, zooms = min(1.0, _OVERVIEW / max(image.shape[:2])), list[float]()
    for _ in range(_MAX_SEARCHES):
        wanted = _wanted_zooms(look_at(sam, model_id, _middle(image, zoom), zoom))
        if not wanted:
            break
        last, zoom, zooms = zoom, wanted[0], wanted
        if abs(np.log2(zoom / last)) < _SAME_ZOOM:
            break
    return zooms


def _middle(image: Rgb, zoom: float) -> Rgb:
    """Cut out of an image what the overview can hold at a zoom."""
    side = int(_OVERVIEW / zoom)
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _wanted_zooms(view: View) -> list[float]:
    """Zooms for the objects in a view, the one for most of the foreground first."""
    is_object = view.maps[0, _CELL // 2 :: _CELL, _CELL // 2 :: _CELL] > FOREGROUND
    diameters = view.diameters[: is_object.shape[0], : is_object.shape[1]][is_object]
    if diameters.size == 0:
        return []
    per_pixel, per_object = np.ones_like(diameters), 1 / diameters**2
    sizes = np.array([_median(diameters, weights) for weights in (per_pixel, per_object)])
    zooms = np.clip(view.zoom_yx.mean() * _BEST_DIAMETER / sizes, *_ZOOM_LIMITS)
    is_spread = abs(np.log2(zooms[1] / zooms[0])) > _OTHER_ZOOM
    return [float(zoom) for zoom in (zooms if is_spread else zooms[:1])]


def _median(values: FloatArray, weights: npt.NDArray[np.floating]) -> float:
    """Value below which half of the weight lies."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order], dtype=float)
    return float(values[order][np.searchsorted(shares, shares[-1] / 2)])
