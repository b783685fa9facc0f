"""SAM 2 on the frames of a stack or film: find an object, and remember it.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1. Nothing is kept between calls: an object's memory goes in and a new one comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.models.prompt_encoder import PADDING
from napari_promptable.models.sam2.mask_decoder import DecodedObjects
from napari_promptable.models.sam2.memory_bank import (
    FrameMemory,
    ObjectMemory,
    Recollection,
    recollect,
)
from napari_promptable.models.sam2.position import encode_distances, encode_grid
from napari_promptable.models.sam2.sam2 import ABSENT_LOGIT, Sam2, limit_logits

_MAX_AMBIGUOUS_POINTS = 1  # up to so many, the best of the three levels is the answer
_MASK_LOGIT = 10.0  # of a mask that a user gives, inside + and outside −


@dataclass(frozen=True, eq=False)
class TrackedObject:
    """An object on one frame.

    Attributes
    ----------
    logits : Tensor of float32, shape (h, w)
        Unthresholded mask.
    predicted_iou : float
        The model's own estimate of the mask's IoU with the object.
    object_score : float
        Positive where the object is on the frame; otherwise the mask is empty.
    memory : FrameMemory
        What to remember.
    """

    logits: Tensor
    predicted_iou: float
    object_score: float
    memory: FrameMemory


@dataclass(frozen=True, eq=False)
class FramePrompts:
    """A user's prompts on one frame, in input pixels.

    Attributes
    ----------
    points_xy : Tensor of float32, shape (P, 2)
        Clicks and box corners.
    point_labels : Tensor of int, shape (P,)
        Codes of `napari_promptable.models.prompt_encoder`; no padding.
    logits : Tensor of float32, shape (h, w), or None
        Earlier answer that the prompts correct.
    """

    points_xy: Tensor
    point_labels: Tensor
    logits: Tensor | None = None


@torch.inference_mode()
def follow_object(
    sam: Sam2,
    image_embedding: Tensor,
    memory: ObjectMemory,
    frame: int,
    num_frames: int,
    *,
    is_backward: bool = False,
) -> TrackedObject:
    """Find an object on a frame from its memory.

    Parameters
    ----------
    sam : Sam2
        The network.
    image_embedding : Tensor, shape (1, 4 * C, rows, columns)
        Of the frame, from `Sam2.encode`.
    memory : ObjectMemory
        Of other frames, at least one of them prompted.
    frame, num_frames : int
        Number of the frame, and how many there are.
    is_backward : bool, default False
        Whether frames are gone through towards lower numbers.

    Returns
    -------
    TrackedObject
        Add its memory by `ObjectMemory.with_followed`.
    """
    recollection = recollect(memory, frame, num_frames, is_backward=is_backward)
    conditioned = _recall(sam, image_embedding, recollection)
    no_points = FramePrompts(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    return _find(sam, image_embedding, conditioned, no_points, is_prompted=False)


@torch.inference_mode()
def prompt_object(
    sam: Sam2,
    image_embedding: Tensor,
    prompts: FramePrompts,
    correction: Recollection | None = None,
) -> TrackedObject:
    """Find an object on a frame by a user's clicks or box.

    Parameters
    ----------
    sam, image_embedding
        As in `follow_object`.
    prompts : FramePrompts
        At least one click or box.
    correction : Recollection, optional
        Memory of the object, if the prompts correct a frame that was followed; by default the
        prompts alone count.

    Returns
    -------
    TrackedObject
        Add its memory by `ObjectMemory.with_prompted`.
    """
    conditioned = None
    if correction is not None:
        conditioned = _recall(sam, image_embedding, correction)
    return _find(sam, image_embedding, conditioned, prompts, is_prompted=True)


@torch.inference_mode()
def show_object(sam: Sam2, image_embedding: Tensor, mask: Tensor) -> TrackedObject:
    """Remember a mask that a user gives, as it is.

    Parameters
    ----------
    sam, image_embedding
        As in `follow_object`.
    mask : Tensor of bool, shape (image_size, image_size)
        In input pixels.

    Returns
    -------
    TrackedObject
        Its mask is the one given. Add its memory by `ObjectMemory.with_prompted`.
    """
    shown = mask[None, None].float()
    logits = F.interpolate(
        _MASK_LOGIT * (2 * shown - 1),
        sam.logits_size,
        mode="bilinear",
        antialias=True,
    )
    score = torch.where(mask.any(), _MASK_LOGIT, -_MASK_LOGIT)[None]
    points, labels = _pad(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), sam.device)
    decoded = sam.decode_objects(
        image_embedding, points, labels, sam.mask_downsample(shown), is_conditioned=True
    )
    pointer = sam.point_to(decoded.mask_tokens[:, 0], decoded.object_score)
    pointer = torch.where(score[:, None] > 0, pointer, sam.no_obj_ptr)
    features = sam.remember(image_embedding, logits, score, is_prompted=True)
    return _to_object(logits, torch.ones(1), score, pointer, features)


def _find(
    sam: Sam2,
    image_embedding: Tensor,
    conditioned: Tensor | None,
    prompts: FramePrompts,
    *,
    is_prompted: bool,
) -> TrackedObject:
    """Decode one object, choose its mask, and remember it."""
    points, labels = _pad(prompts.points_xy, prompts.point_labels, sam.device)
    logits = None if prompts.logits is None else limit_logits(prompts.logits)[None, None]
    decoded = sam.decode_objects(
        image_embedding if conditioned is None else conditioned,
        points,
        labels,
        logits,
        is_conditioned=conditioned is not None,
    )
    mask, token = _choose(decoded, len(prompts.point_labels))
    score = decoded.object_score
    chosen = torch.where(score > 0, decoded.logits[:, mask], ABSENT_LOGIT)[:, None]
    pointer = sam.point_to(decoded.mask_tokens[:, token], score)
    features = sam.remember(image_embedding, chosen, score, is_prompted=is_prompted)
    return _to_object(chosen, decoded.predicted_iou[:, mask], score, pointer, features)


def _choose(decoded: DecodedObjects, num_points: int) -> tuple[int, int]:
    """Which mask is the answer, and whose token becomes the pointer."""
    if num_points > _MAX_AMBIGUOUS_POINTS:
        return 0, 0
    best = 1 + int(decoded.predicted_iou[0, 1:].argmax())
    return best, best


def _pad(points_xy: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Add padding points as SAM 2 does: one, or two where there is no prompt."""
    count = 1 if len(labels) else 2
    padding = torch.full((count,), PADDING, dtype=labels.dtype)
    points_xy = torch.cat([points_xy, points_xy.new_zeros(count, 2)])
    return points_xy[None].to(device), torch.cat([labels, padding])[None].to(device)


def _to_object(
    logits: Tensor, predicted_iou: Tensor, score: Tensor, pointer: Tensor, features: Tensor
) -> TrackedObject:
    """Take one object out of its batch. Spatial memories are kept in half the precision."""
    memory = FrameMemory(pointer[0], features[0].to(torch.bfloat16))
    return TrackedObject(logits[0, 0], float(predicted_iou), float(score), memory)


def _recall(sam: Sam2, image_embedding: Tensor, recollection: Recollection) -> Tensor:
    """Condition an image embedding on a recollection."""
    tokens, positions = [], []
    rows, columns = image_embedding.shape[-2:]
    for distance, features in recollection.features:
        cells = features.to(sam.device).float().flatten(1).T
        tokens.append(cells)
        places = encode_grid(rows, columns, cells.shape[1]).to(sam.device)
        positions.append(places + sam.maskmem_tpos_enc[distance - 1, 0])
    num_pointers = 0
    if recollection.pointers:
        distances, pointers = zip(*recollection.pointers, strict=True)
        shares = torch.tensor(distances) / recollection.max_distance
        parts = torch.stack(pointers).to(sam.device).unflatten(1, (-1, tokens[0].shape[1]))
        times = encode_distances(shares, pointers[0].shape[0]).to(sam.device)
        tokens.append(parts.flatten(0, 1))
        positions.append(sam.obj_ptr_tpos_proj(times).repeat_interleave(parts.shape[1], 0))
        num_pointers = len(tokens[-1])
    return sam.recall(
        image_embedding, torch.cat(tokens)[None], torch.cat(positions)[None], num_pointers
    )
