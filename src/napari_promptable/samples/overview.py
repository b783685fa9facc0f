"""A picture that shows an image, its prompts and the result side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from napari_promptable.prompts import FOREGROUND, PlanePrompts
from napari_promptable.transforms import to_rgb8

_MIN_SIDE = 640  # pixels; smaller images are drawn larger
_GAP, _TITLE = 8, 26  # pixels between and above the pictures
_POSITIVE, _NEGATIVE, _BOX = (0, 220, 150), (255, 110, 40), (240, 228, 66)

# Okabe and Ito's palette, which colour-blind people can tell apart; objects take turns.
_COLORS = np.array(
    [
        (86, 180, 233),
        (230, 159, 0),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    np.uint8,
)


def draw_overview(
    image: npt.NDArray[np.generic],
    prompts: Mapping[int, PlanePrompts],
    labels: npt.NDArray[np.integer[Any]],
) -> npt.NDArray[np.uint8]:
    """Draw image, prompts and labels.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, 3)
        The plane.
    prompts : dict of int to PlanePrompts
        By object id.
    labels : ndarray of int, shape (H, W)
        The result.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Three pictures with titles.
    """
    rgb = to_rgb8(image)
    zoom = max(1, -(-_MIN_SIDE // max(rgb.shape[:2])))
    large = Image.fromarray(rgb).resize(
        (rgb.shape[1] * zoom, rgb.shape[0] * zoom), Image.Resampling.BICUBIC
    )
    zoomed_labels = np.kron(labels, np.ones((zoom, zoom), labels.dtype))
    pictures = {
        "Image": large,
        "Prompts": _draw_prompts(large, prompts, zoom),
        "Objects": _draw_labels(large, zoomed_labels),
    }
    width, height = large.size
    sheet = Image.new("RGB", (3 * width + 2 * _GAP, height + _TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (title, picture) in enumerate(pictures.items()):
        left = column * (width + _GAP)
        draw.text((left + 2, 4), title, fill="black", font_size=16)
        sheet.paste(picture, (left, _TITLE))
    return np.asarray(sheet)


def _draw_prompts(
    picture: Image.Image, prompts: Mapping[int, PlanePrompts], zoom: int
) -> Image.Image:
    """Draw boxes, outlines and clicks. Negative clicks are crosses."""
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for plane in prompts.values():
        for top, left, bottom, right in (plane.boxes_yxyx + np.array([0, 0, 1, 1])) * zoom:
            draw.rectangle((left, top, right, bottom), outline=_BOX, width=2)
        for polygon in plane.polygons_yx:
            outline = [(x, y) for y, x in (polygon + 0.5) * zoom]
            draw.line([*outline, outline[0]], fill=_BOX, width=2)
        for (y, x), label in zip(
            (plane.points_yx + 0.5) * zoom, plane.point_labels, strict=True
        ):
            if label == FOREGROUND:
                draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_POSITIVE, outline="white")
            else:
                for sign in (1, -1):
                    ends = (x - 6, y - 6 * sign, x + 6, y + 6 * sign)
                    draw.line(ends, fill=_NEGATIVE, width=4)
    return picture


def _draw_labels(picture: Image.Image, labels: npt.NDArray[np.integer[Any]]) -> Image.Image:
    """Draw objects in colour with opaque borders."""
    pixels = np.asarray(picture).astype(float)
    colors = _COLORS[labels % len(_COLORS)]
    share = np.where(find_boundaries(labels, mode="inner"), 1.0, 0.4) * (labels > 0)
    mixed = pixels + share[..., None] * (colors - pixels)
    return Image.fromarray(mixed.astype(np.uint8))
