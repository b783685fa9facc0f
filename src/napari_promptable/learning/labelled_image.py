"""A plane with the labels of its objects, as training sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One plane with its instance labels.

    Attributes
    ----------
    dataset, name : str
        Where it comes from.
    image : ndarray of uint8, shape (H, W, 3)
        RGB after robust contrast, as the network sees it.
    labels : ndarray of int32, shape (H, W)
        0 background; an object of a stack has the same value on all planes.
    source : str
        File, the same for all planes of a stack.
    is_complete : bool
        Whether every visible object has a label.
    neighbours : tuple of ndarray of int32
        Labels of nearby planes of the same stack; none for a single image.
    held_out : frozenset of int
        Labels that training must not see: neither objects nor background.
    """

    dataset: str
    name: str
    image: UInt8Array
    labels: Int32Array
    source: str = ""
    is_complete: bool = True
    neighbours: tuple[Int32Array, ...] = ()
    held_out: frozenset[int] = frozenset()
