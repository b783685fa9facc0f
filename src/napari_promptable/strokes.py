"""Free-hand strokes as prompts: lines with a sign, drawn along or across an object."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

MAX_CLICKS = 16
"""Most clicks that stand for one stroke."""

_MIN_DISTANCE = 2.0  # pixels between clicks; nearer ones say the same
_SAMPLES_PER_PIXEL = 2
_MAX_SAMPLES = 1024


def stroke_to_clicks(path_yx: FloatArray, max_clicks: int = MAX_CLICKS) -> FloatArray:
    """Space clicks along a stroke, each as far as possible from the ones before.

    Parameters
    ----------
    path_yx : ndarray of float, shape (N, 2)
        Corners of the stroke, (row, col); at least one.
    max_clicks : int, default 16
        Most clicks to return.

    Returns
    -------
    ndarray of float32, shape (n, 2)
        The middle of the stroke first, then one end, and so on: the first clicks alone already
        cover the stroke. Fewer than `max_clicks` where they would be nearer than two pixels.

    Examples
    --------
    >>> stroke_to_clicks(np.array([[5.0, 0.0], [5.0, 40.0]]), 3).tolist()
    [[5.0, 20.0], [5.0, 0.0], [5.0, 40.0]]
    """
    samples = _resample(np.asarray(path_yx, float))
    chosen = [len(samples) // 2]
    distance = np.hypot(*(samples - samples[chosen[0]]).T)
    while len(chosen) < max_clicks and distance.max() >= _MIN_DISTANCE:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.hypot(*(samples - samples[chosen[-1]]).T))
    clicks: FloatArray = samples[chosen].astype(np.float32)
    return clicks


def _resample(path_yx: FloatArray) -> FloatArray:
    """Positions along a path at equal distances, both ends included."""
    lengths = np.hypot(*np.diff(path_yx, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = int(np.clip(along[-1] * _SAMPLES_PER_PIXEL, 2, _MAX_SAMPLES))
    count += count % 2 == 0  # so that there is one in the middle
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, path_yx[:, axis]) for axis in (0, 1)], axis=1)
