"""What a model reaches on held-out objects, and whether another one reaches more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from napari_promptable.evaluation.evaluate import Protocol, score_objects
from napari_promptable.learning.examples import ObjectKey
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.planes import Embed
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.predictor import PromptableModel, encode_image

CLICK = Protocol("point", corrections=1)
BOX = Protocol("box")
NAMES = ("click", "corrected", "box")
"""One click, one click and one correction, the exact box."""

_TITLES = dict(zip(NAMES, ("one click", "+ 1 correction", "exact box"), strict=True))

_NUM_WORST = 3  # objects that are shown

LEAST_GAIN = 0.005  # of the mean IoU, that makes a model better
MOST_LOSS = 0.01  # of any figure, that a better model may have
MEASURED_VIEWS = 8  # of all objects together, where there are fewer objects than that
ORIENTATIONS = ((), (1,), (0,), (0, 1))  # axes along which a view is flipped


@dataclass(frozen=True)
class ObjectFigures:
    """IoU of one held-out object.

    Attributes
    ----------
    key : ObjectKey
        The object.
    click, corrected, box : float
        IoU after one click, after one click and one correction, and with the exact box.
    """

    key: ObjectKey
    click: float
    corrected: float
    box: float

    @property
    def mean(self) -> float:
        """Mean of the three."""
        return (self.click + self.corrected + self.box) / 3


@dataclass(frozen=True)
class Figures:
    """IoU of all held-out objects.

    Attributes
    ----------
    objects : tuple of ObjectFigures
        At least one.
    """

    objects: tuple[ObjectFigures, ...]

    @property
    def click(self) -> float:
        """Mean IoU after one click."""
        return self._mean("click")

    @property
    def corrected(self) -> float:
        """Mean IoU after one click and one correction."""
        return self._mean("corrected")

    @property
    def box(self) -> float:
        """Mean IoU with the exact box."""
        return self._mean("box")

    @property
    def mean(self) -> float:
        """Mean of the three."""
        return self._mean("mean")

    def _mean(self, name: str) -> float:
        return float(np.mean([getattr(each, name) for each in self.objects]))

    @property
    def worst(self) -> list[ObjectFigures]:
        """At most three objects with the lowest mean, the worst first."""
        return sorted(self.objects, key=lambda each: each.mean)[:_NUM_WORST]

    def to_dict(self) -> dict[str, float]:
        """Return the means by name."""
        return {name: getattr(self, name) for name in NAMES}

    def beats(self, before: Figures) -> bool:
        """Whether the mean is better than before, and no figure clearly worse."""
        is_better = self.mean >= before.mean + LEAST_GAIN
        return is_better and self.largest_loss(before) <= MOST_LOSS

    def largest_loss(self, before: Figures) -> float:
        """How much the figure that fell most was higher before."""
        return float(max(getattr(before, name) - getattr(self, name) for name in NAMES))


def encode_rgb8(model: PromptableModel, image: npt.NDArray[np.uint8]) -> ImageEmbedding:
    """Encode a plane, (H, W, 3), without another change of its contrast."""
    return encode_image(model, image, (0, 255))


def measure(
    model: PromptableModel,
    planes: Sequence[LabelledImage],
    check: Callable[[], None] = lambda: None,
    embed: Embed = encode_rgb8,
) -> Figures:
    """Ask a model about all objects of some planes.

    Parameters
    ----------
    model : PromptableModel
        Any.
    planes : sequence of LabelledImage
        With the labels of the wanted objects only.
    check : callable, optional
        Called before each plane; may raise CancelledError.
    embed : callable, optional
        Gives the embedding of a plane, see `Embed`.

    Returns
    -------
    Figures
        Of the objects that are large enough to be scored; where there are few of them, the mean
        over flipped views of each. A network that sees whole planes gets no flipped views,
        because each would have to be encoded.
    """
    count = sum(len(np.unique(plane.labels)) - 1 for plane in planes)
    views = min(len(ORIENTATIONS), max(1, MEASURED_VIEWS // max(1, count)))
    if model.sam.tile_size is None:
        views = 1
    found: dict[ObjectKey, list[tuple[float, float, float]]] = {}
    for plane, flipped in product(planes, ORIENTATIONS[:views]):
        check()
        embedding = embed(model, np.flip(plane.image, flipped))
        labels = np.flip(plane.labels, flipped)
        clicks, boxes = (
            score_objects(model, embedding, labels, protocol) for protocol in (CLICK, BOX)
        )
        for click, box in zip(clicks, boxes, strict=True):
            key = ObjectKey(int(plane.source), click.label)
            found.setdefault(key, []).append((click.ious[0], click.ious[1], box.ious[0]))
    return Figures(
        tuple(ObjectFigures(key, *np.mean(ious, axis=0)) for key, ious in found.items())
    )


def format_table(
    before: Figures, after: Figures, further: tuple[str, float, float] | None = None
) -> str:
    """Lay the figures before and after out as text, the worst objects last.

    Parameters
    ----------
    before, after : Figures
        Of the same objects.
    further : (str, float, float), optional
        Title of one more column, and its figures.
    """
    columns = [(_TITLES[name], getattr(before, name), getattr(after, name)) for name in NAMES]
    if further is not None:
        columns.append(further)
    titles, *rows = zip(*columns, strict=True)
    lines = [f"{'held-out objects':<18}" + "".join(f"{title:>17}" for title in titles)]
    for title, row in zip(("before", "after"), rows, strict=True):
        lines.append(f"{title:<18}" + "".join(f"{cell:>17.2f}" for cell in row))
    earlier = {each.key: each for each in before.objects}
    lines += [
        f"worst: object {each.key.label} of image {each.key.example + 1}, one click "
        f"{earlier[each.key].click:.2f} → {each.click:.2f}"
        for each in after.worst
        if each.key in earlier
    ]
    return "\n".join(lines)
