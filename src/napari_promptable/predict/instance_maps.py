"""Maps of all objects in an encoded frame, for networks that have an instance head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.errors import UnknownModelError
from napari_promptable.models.cpu.parallel import one_thread
from napari_promptable.models.sam import Sam

FloatArray = npt.NDArray[np.float32]

_MAP_STRIDE = 2  # input pixels per pixel of a map


@one_thread()
@torch.inference_mode()
def predict_instance_maps(sam: Sam, features: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Map all objects of a frame, without any prompt.

    Parameters
    ----------
    sam : Sam
        A network with an instance head.
    features : ndarray of float32, shape (C, rows, columns)
        Image embedding of the frame, see `napari_promptable.predict.encoding.encode_pixels`.
    size : (int, int)
        Height H and width W of the frame in input pixels; the rest is padding.

    Returns
    -------
    ndarray of float32, shape (4, ceil(H / 2), ceil(W / 2))
        Probability of foreground and of borders, 0 to 1; row and column offset to the centre of
        the object, in radii of the disk that has its area.

    Raises
    ------
    UnknownModelError
        If the network has no instance head.
    """
    if sam.instance_head is None:
        raise UnknownModelError("This network has no instance head. Choose the model 'tiny'.")
    maps = sam.instance_head(torch.from_numpy(features).to(sam.device)[None])[0]
    maps[:2] = maps[:2].sigmoid()
    rows, columns = (-(-length // _MAP_STRIDE) for length in size)
    cropped: FloatArray = maps[:, :rows, :columns].cpu().numpy()
    return cropped


@one_thread()
@torch.inference_mode()
def predict_diameters(sam: Sam, features: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Estimate how large the object under each cell of a frame is.

    Parameters
    ----------
    sam : Sam
        A network with a size head.
    features, size
        As in `predict_instance_maps`.

    Returns
    -------
    ndarray of float32, shape (ceil(H / stride), ceil(W / stride))
        Diameter in input pixels of the disk that has the object's area, for each cell of the
        embedding; without meaning on background.

    Raises
    ------
    UnknownModelError
        If the network has no size head.
    """
    if sam.size_head is None:
        raise UnknownModelError("This network has no size head. Choose the model 'tiny'.")
    log2_diameters = sam.size_head(torch.from_numpy(features).to(sam.device)[None])[0, 0]
    rows, columns = (-(-length // sam.patch_stride) for length in size)
    diameters: FloatArray = log2_diameters[:rows, :columns].exp2().cpu().numpy()
    return diameters
