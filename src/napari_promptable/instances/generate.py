"""Label all objects of an image, a stack or a film."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.instances.automatic import find_objects
from napari_promptable.instances.place import is_stack
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.instances.stack import find_objects_in_stack
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress


def generate_labels(
    model: Segmenter,
    image: Any,
    settings: AutomaticSettings | None = None,
    *,
    region: npt.ArrayLike | None = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> npt.NDArray[np.integer[Any]]:
    """Label all objects of an image without any prompt.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    image : array of any kind, shape ([Z,] H, W), ([Z,] H, W, 3) or ([Z,] H, W, 4)
        Any real dtype. A stack is segmented slice by slice, then objects are linked by overlap;
        Z may be time.
    settings : AutomaticSettings, optional
        Where the prompts come from, and thresholds.
    region : array_like of bool, shape (H, W), or (top, left, bottom, right), optional
        Label only this part of each plane: a mask, or the first and last rows and columns of a
        box. An object counts if at least half of it lies inside; the rest is cut off.
    labels : array of int, shape ([Z,] H, W), optional
        Existing labels; they stay as they are, and new objects lie beside them.
    progress : callable, optional
        Called with how much of the total is done. An exception that it raises ends the work.

    Returns
    -------
    ndarray of int, shape ([Z,] H, W)
        The existing labels, and the new objects numbered after them.

    Raises
    ------
    ImageFormatError
        If the image has another number of axes or cannot be encoded.
    PromptError
        If the region has another shape or holds no pixel of the image.
    LabelError
        If the labels have another shape or are not whole numbers.
    UnknownModelError
        If the seeds are to come from instance maps that the model does not have.

    See Also
    --------
    find_objects : The same for one plane, with confidences and thresholds that can be changed.
    find_objects_in_stack : The same for a stack.
    """
    pixels = image if hasattr(image, "shape") else np.asarray(image)
    if not is_stack(tuple(pixels.shape)):
        return find_objects(
            model,
            np.asarray(pixels),
            settings,
            region=region,
            labels=labels,
            progress=progress,
        ).labels
    return find_objects_in_stack(
        model, pixels, settings, region=region, labels=labels, progress=progress
    ).labels
