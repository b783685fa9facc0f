"""Follow objects from plane to plane by the memory of SAM 2.

Nothing is kept between calls: the memory of an object is a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.masks import BoolArray
from napari_promptable.models.cpu.parallel import share_out
from napari_promptable.models.sam2.memory_bank import FrameMemory, ObjectMemory
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.models.sam2.tracking import TrackedObject, follow_object, show_object
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.frames import WholePlane
from napari_promptable.predict.prediction import Prediction, describe_absence


@dataclass(frozen=True, eq=False)
class Trail:
    """Memory of an object on its way from a prompted plane.

    Attributes
    ----------
    memory : ObjectMemory
        Frames are counted in steps: 0 is the prompted plane.
    steps : int
        Planes passed since then.
    """

    memory: ObjectMemory
    steps: int = 0

    def expect(self, distance: int, other: Trail) -> Trail:
        """Add the prompted plane at the other end of the way, so many steps ahead."""
        return Trail(self.memory.with_prompted(distance, other.memory.prompted[0]), self.steps)


@torch.inference_mode()
def remember_mask(sam: Sam2, embedding: ImageEmbedding, mask: BoolArray) -> Trail:
    """Remember an object on a prompted plane.

    Parameters
    ----------
    sam : Sam2
        The network.
    embedding : ImageEmbedding
        Of the plane, made by this network.
    mask : ndarray of bool, shape (H, W)
        The object in image pixels; empty if the user says that it is not on this plane.

    Returns
    -------
    Trail
        The beginning of a way through further planes.
    """
    side = (sam.image_size, sam.image_size)
    pixels = torch.from_numpy(mask.astype(np.float32))[None, None].to(sam.device)
    if pixels.shape[-2:] != side:
        pixels = F.interpolate(pixels, side, mode="bilinear", antialias=True)
    found = show_object(sam, _features(sam, embedding), pixels[0, 0] >= 0.5)
    return Trail(ObjectMemory().with_prompted(0, found.memory))


def follow_trails(
    sam: Sam2, embedding: ImageEmbedding, trails: Sequence[Trail], num_planes: int
) -> list[tuple[Prediction, Trail]]:
    """Find objects on the next plane.

    Parameters
    ----------
    sam : Sam2
        The network.
    embedding : ImageEmbedding
        Of the next plane, made by this network.
    trails : sequence of Trail
        One per object.
    num_planes : int
        Length of the stack or film.

    Returns
    -------
    list of (Prediction, Trail)
        One candidate per object, and its memory including this plane.
    """
    features = _features(sam, embedding)
    found: dict[int, TrackedObject] = {}

    def follow(index: int) -> None:
        trail = trails[index]
        found[index] = follow_object(sam, features, trail.memory, trail.steps + 1, num_planes)

    if len(trails) == 1 or sam.device.type != "cpu":
        for index in range(len(trails)):
            follow(index)
    else:
        share_out(follow, range(len(trails)))
    return [
        (_to_prediction(sam, embedding, found[index]), _extend(trail, found[index].memory))
        for index, trail in enumerate(trails)
    ]


def _features(sam: Sam2, embedding: ImageEmbedding) -> Tensor:
    """The image embedding as a batch of one on the network's device."""
    return torch.from_numpy(embedding.features)[None].to(sam.device)


def _extend(trail: Trail, memory: FrameMemory) -> Trail:
    """Go one step further."""
    return Trail(trail.memory.with_followed(trail.steps + 1, memory), trail.steps + 1)


@torch.inference_mode()
def _to_prediction(sam: Sam2, embedding: ImageEmbedding, found: TrackedObject) -> Prediction:
    """Bring an object's mask to image pixels."""
    is_there = found.object_score > 0
    draw, draw_logits = WholePlane(sam, embedding).bring_back(found.logits[None])
    confidence: npt.NDArray[np.float32] = np.array(
        [found.predicted_iou if is_there else 0.0], np.float32
    )
    return Prediction(
        draw, confidence, draw_logits, absence=describe_absence(found.object_score)
    )
