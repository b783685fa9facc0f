"""The size that an object will probably have, from objects that are known (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_promptable.errors import PromptError

USUAL_SPREAD = 0.5
"""Octaves of diameter, one standard deviation, within one kind of object, if none is known."""

_USUAL_WEIGHT = 2  # objects that `USUAL_SPREAD` counts for
_MEASURED_SPREAD = 0.3  # octaves by which a network's own estimate is usually wrong
_SIZE_WEIGHT = 0.1  # of a size's likelihood against the predicted IoU
_LARGEST_DEVIATION = 3.0  # spreads; more counts as much


@dataclass(frozen=True)
class ExpectedSize:
    """Distribution of an object's size.

    Attributes
    ----------
    diameter : float
        Of a disk of the object's area, in image pixels; the geometric mean.
    spread : float
        Standard deviation of the diameter's binary logarithm, in octaves.

    Raises
    ------
    PromptError
        If a value is not a positive number.
    """

    diameter: float
    spread: float = USUAL_SPREAD

    def __post_init__(self) -> None:
        """Check the values."""
        if not all(
            math.isfinite(value) and value > 0 for value in (self.diameter, self.spread)
        ):
            raise PromptError(
                "an expected size is a diameter in pixels and its spread in octaves, both "
                f"above 0, not {self.diameter!r} and {self.spread!r}"
            )

    def combine(self, log2_diameter: float) -> float:
        """Combine an estimate from the image with what is expected.

        Parameters
        ----------
        log2_diameter : float
            Binary logarithm of the diameter in image pixels, as a network estimates it.

        Returns
        -------
        float
            Mean of both, each weighted by its certainty.
        """
        share = _MEASURED_SPREAD**2 / (_MEASURED_SPREAD**2 + self.spread**2)
        return log2_diameter + share * (math.log2(self.diameter) - log2_diameter)

    def plausibility(self, area: float) -> float:
        """Rate the size of a mask.

        Parameters
        ----------
        area : float
            In image pixels.

        Returns
        -------
        float
            1 for the expected size, down to 0.64 for sizes that are very unlike it.
        """
        deviation = _LARGEST_DEVIATION
        if area > 0:
            octaves = math.log2(diameter_of(area) / self.diameter)
            deviation = min(abs(octaves) / self.spread, _LARGEST_DEVIATION)
        return math.exp(-_SIZE_WEIGHT * deviation**2 / 2)


def diameter_of(area: float) -> float:
    """Diameter of the disk of some area."""
    return math.sqrt(4 * area / math.pi)


def expect_size(areas: Sequence[float]) -> ExpectedSize | None:
    """Expect a size like that of known objects.

    Parameters
    ----------
    areas : sequence of float
        Areas of known objects in pixels; zeros are left out.

    Returns
    -------
    ExpectedSize or None
        Narrower the more objects there are and the more alike they are; None without any.

    Examples
    --------
    >>> expect_size([314.0, 314.0, 314.0])
    ExpectedSize(diameter=19.99, spread=0.41)
    """
    logs = [math.log2(diameter_of(area)) for area in areas if area > 0]
    if not logs:
        return None
    mean, count = float(np.mean(logs)), len(logs)
    squares = _USUAL_WEIGHT * USUAL_SPREAD**2 + sum((each - mean) ** 2 for each in logs)
    variance = squares / (_USUAL_WEIGHT + count - 1) * (1 + 1 / count)
    return ExpectedSize(round(2**mean, 2), round(math.sqrt(variance), 2))
