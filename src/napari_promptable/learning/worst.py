"""Pictures of the held-out objects that the learned model answers worst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from napari_promptable.learning.examples import Examples
from napari_promptable.learning.learned import Learned
from napari_promptable.learning.planes import Embed
from napari_promptable.masks import BoolArray, interior_point_yx, mask_to_box_yxyx
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.prompts import PlanePrompts

_SIDE = 112  # pixels of a picture
_MARGIN = 0.4  # of the object's longer side, around it
_TRUTH, _ANSWER = (86, 180, 233), (230, 159, 0)  # blue and orange

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class WorstObject:
    """A held-out object and the learned model's answer to one click.

    Attributes
    ----------
    picture : ndarray of uint8, shape (h, w, 3)
        The object's outline in blue, and the answer's in orange.
    text : str
        Its IoU before and after.
    """

    picture: Picture
    text: str


def draw_worst(learned: Learned, examples: Examples, embed: Embed) -> Iterator[WorstObject]:
    """Draw the held-out objects with the lowest IoU after learning.

    Parameters
    ----------
    learned : Learned
        With its figures.
    examples : Examples
        All labels.
    embed : callable
        See `Embed`.

    Yields
    ------
    WorstObject
        At most three, the worst first.
    """
    before = {each.key: each.click for each in learned.before.objects}
    for figures in learned.after.worst:
        [plane] = examples.only([figures.key])
        truth = plane.labels == figures.key.label
        prompts = PlanePrompts([interior_point_yx(truth)])
        embedding = embed(learned.model, plane.image)
        prediction = answer_prompts(learned.model, embedding, prompts)[-1].prediction
        answer = prediction.mask(prediction.default)
        text = f"{before[figures.key]:.2f} → {figures.click:.2f}"
        yield WorstObject(draw_outlines(plane.image, truth, answer), text)


def draw_outlines(image: Picture, truth: BoolArray, answer: BoolArray) -> Picture:
    """Cut an object out of an image, and draw its outline and the one of an answer."""
    top, left, bottom, right = mask_to_box_yxyx(truth).astype(int)
    margin = int(_MARGIN * max(bottom - top, right - left)) + 2
    rows = slice(max(top - margin, 0), bottom + margin + 1)
    columns = slice(max(left - margin, 0), right + margin + 1)
    part = Image.fromarray(np.ascontiguousarray(image[rows, columns]))
    zoom = _SIDE / max(part.size)
    size = (max(1, round(zoom * part.width)), max(1, round(zoom * part.height)))
    drawn = np.array(part.resize(size, Image.Resampling.BICUBIC))
    for mask, colour in ((truth, _TRUTH), (answer, _ANSWER)):
        shape = Image.fromarray(mask[rows, columns]).resize(size, Image.Resampling.NEAREST)
        enlarged = np.asarray(shape)
        drawn[enlarged & ~ndimage.binary_erosion(enlarged, iterations=2)] = colour
    return drawn
