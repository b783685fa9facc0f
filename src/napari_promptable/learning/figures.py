"""What a model reaches on held-out objects, and whether another one reaches more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from napari_promptable.evaluation.evaluate import Protocol, score_objects
from napari_promptable.learning.examples import ObjectKey
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.predict.predictor import PromptableModel, encode_image

CLICK = Protocol("point", corrections=1)
BOX = Protocol("box")
NAMES = ("click", "corrected", "box")
"""One click, one click and one correction, the exact box."""

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

    def to_dict(self) -> dict[str, float]:
        """Return the means by name."""
        return {name: getattr(self, name) for name in NAMES}

    def beats(self, before: Figures) -> bool:
        """Whether the mean is better than before, and no figure clearly worse."""
        losses = [getattr(before, name) - getattr(self, name) for name in NAMES]
        return self.mean >= before.mean + LEAST_GAIN and max(losses) <= MOST_LOSS


def measure(
    model: PromptableModel,
    planes: Sequence[LabelledImage],
    check: Callable[[], None] = lambda: None,
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

    Returns
    -------
    Figures
        Of the objects that are large enough to be scored; where there are few of them, the mean
        over flipped views of each.
    """
    count = sum(len(np.unique(plane.labels)) - 1 for plane in planes)
    views = min(len(ORIENTATIONS), max(1, MEASURED_VIEWS // max(1, count)))
    found: dict[ObjectKey, list[tuple[float, float, float]]] = {}
    for plane, flipped in product(planes, ORIENTATIONS[:views]):
        check()
        embedding = encode_image(model, np.flip(plane.image, flipped), (0, 255))
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


def format_table(before: Figures, after: Figures) -> str:
    """Lay the figures before and after out as text, the worst objects last."""
    lines = ["held-out objects     one click   + 1 correction   exact box"]
    for title, figures in (("before", before), ("after", after)):
        cells = (figures.click, figures.corrected, figures.box)
        lines.append(f"{title:<18}" + "".join(f"{cell:>12.2f}" for cell in cells))
    earlier = {each.key: each for each in before.objects}
    worst = sorted(after.objects, key=lambda each: each.mean)[:3]
    lines += [
        f"worst: object {each.key.label} of image {each.key.example + 1}, one click "
        f"{earlier[each.key].click:.2f} → {each.click:.2f}"
        for each in worst
        if each.key in earlier
    ]
    return "\n".join(lines)
