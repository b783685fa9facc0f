"""Views: parts of an image at a zoom that suits its objects, with maps of all objects.

A view is one call of a convolutional encoder. Views overlap, and each is responsible for its
core only, which lies so far from its border that the maps are what one view of the whole image
would show. So there are no halves of objects to stitch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True)
class Viewpoint:
    """Which part of an image a view shows, and how large.

    Attributes
    ----------
    zoom : float
        Input pixels per image pixel.
    number : (int, int)
        Row and column in the grid of views.
    counts : (int, int)
        Rows and columns of that grid, which covers the image.
    """

    zoom: float
    number: tuple[int, int]
    counts: tuple[int, int]


def viewpoints(size: tuple[int, int], zooms: Iterable[float]) -> list[Viewpoint]:
    """List the viewpoints from which a whole image is seen at some zooms.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    zooms : iterable of float
        See `choose_zooms`.

    Returns
    -------
    list of Viewpoint
        The cores of their views cover the image, once at each zoom.
    """
    found = []
    for zoom in zooms:
        rows, columns = (max(1, round(zoom * length / _CORE)) for length in size)
        found += [
            Viewpoint(zoom, (row, column), (rows, columns))
            for row, column in np.ndindex(rows, columns)
        ]
    return found


def look_from(
    sam: Sam, model_id: str, image: Any, viewpoint: Viewpoint, corner: tuple[int, int] = (0, 0)
) -> View:
    """View a part of an image. Reads no more than the part.

    Parameters
    ----------
    sam, model_id
        As in `look_at`.
    image : array of uint8 of any kind, shape (H, W, 3)
        RGB; perhaps cut out of a larger image.
    viewpoint : Viewpoint
        From `viewpoints`.
    corner : (int, int), optional
        First row and column of the image in the larger one, in which the view is placed.

    Returns
    -------
    View
        Responsible for its core.
    """
    size, zoom = np.array(image.shape[:2]), viewpoint.zoom
    core = np.array([viewpoint.number, np.add(viewpoint.number, 1)]) * size / viewpoint.counts
    first = np.maximum(np.floor(core[0] - _HALO / zoom), 0).astype(int)
    last = np.ceil(core[1] + _HALO / zoom).astype(int)
    view = look_at(sam, model_id, image[first[0] : last[0], first[1] : last[1]], zoom)
    top, left = (first + corner).tolist()
    edges = tuple((core + corner).ravel().tolist())
    return replace(view, corner=(top, left), core_yxyx=edges)


def choose_zooms(sam: Sam, model_id: str, image: Any) -> list[float]:
    """Find the zooms at which the objects of an image have the best size.

    Parameters
    ----------
    sam, model_id
        As in `look_at`.
    image : array of uint8 of any kind, shape (H, W, 3)
        RGB; only its middle is read.

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


def _middle(image: Any, zoom: float) -> Any:
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
