"""From placed prompts to the decoder's masks, in batches and on all threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_promptable.models.cpu.parallel import count_threads, one_thread, share_out
from napari_promptable.models.sam import ObjectMasks, Sam
from napari_promptable.predict.frames import FramePrompts

_CELLS_AT_ONCE = 2**14  # of a decoder call; more objects in one would only need more memory
_CELLS_AT_ONCE_ON_CPU = 2**12  # one object in SAM, each on a thread of its own


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """The decoder's four masks of one object, in its frame.

    Attributes
    ----------
    prompts : FramePrompts
        The prompts that these masks answer.
    logits : Tensor of float32, shape (4, h, w)
        Unthresholded masks at the decoder's resolution.
    predicted_iou : Tensor of float32, shape (4,)
        One per mask.
    object_score : float or None
        Positive where the object is there, otherwise its masks are empty; None from networks
        that do not say.
    """

    prompts: FramePrompts
    logits: Tensor
    predicted_iou: Tensor
    object_score: float | None = None

    @cached_property
    def sureness(self) -> Tensor:
        """Predicted IoU of each mask, lower where its size is unlike the expected one, (4,)."""
        expected = self.prompts.expected_size
        if expected is None:
            return self.predicted_iou
        pixels = self.prompts.frame.pixels_per_logit(self.logits.shape[-1])
        counts = (self.logits > 0).sum(dim=(1, 2)).tolist()
        ratings = [expected.plausibility(pixels * count) for count in counts]
        return self.predicted_iou * self.predicted_iou.new_tensor(ratings)

    def surest(self, wanted: Iterable[int]) -> int:
        """Return the one of some masks that is surest."""
        return max(wanted, key=self.sureness.__getitem__)


@torch.inference_mode()
def decode_all(sam: Sam, prompts: Sequence[FramePrompts]) -> list[FrameMasks]:
    """Decode the prompts of many objects.

    Parameters
    ----------
    sam : Sam
        The network.
    prompts : sequence of FramePrompts
        In frames of one size.

    Returns
    -------
    list of FrameMasks
        In the order of `prompts`.
    """
    masks: dict[int, FrameMasks] = {}

    def decode(batch: list[int]) -> None:
        logits, predicted_iou, object_score = _decode_batch(sam, [prompts[i] for i in batch])
        for row, i in enumerate(batch):
            score = None if object_score is None else float(object_score[row])
            masks[i] = FrameMasks(prompts[i], logits[row], predicted_iou[row], score)

    batches = _split_into_batches(sam, prompts)
    with one_thread():
        if len(batches) == 1 or sam.device.type != "cpu":
            for batch in batches:
                decode(batch)
        else:
            share_out(decode, batches)
    return [masks[index] for index in range(len(prompts))]


def _split_into_batches(sam: Sam, prompts: Sequence[FramePrompts]) -> list[list[int]]:
    """Group prompts that fit one tensor: as many tokens, and mask logits or none."""

    def shape(index: int) -> tuple[int, bool]:
        return len(prompts[index].codes), prompts[index].mask_logits is not None

    batches: list[list[int]] = []
    for _, group in groupby(sorted(range(len(prompts)), key=shape), shape):
        members = list(group)
        cells = prod(prompts[members[0]].features.shape[1:])
        size = _batch_size(sam, len(members), cells)
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _batch_size(sam: Sam, count: int, cells: int) -> int:
    """How many of `count` objects one call decodes: on a CPU, every thread gets some."""
    most_cells = _CELLS_AT_ONCE
    if sam.device.type == "cpu":
        most_cells, count = _CELLS_AT_ONCE_ON_CPU, -(-count // count_threads())
    return max(1, min(count, most_cells // cells))


def _decode_batch(sam: Sam, prompts: Sequence[FramePrompts]) -> ObjectMasks:
    """Decode prompts of one shape in one call of the decoder."""

    def stack(arrays: Sequence[npt.NDArray[np.generic] | None]) -> Tensor:
        stacked = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)  # type: ignore
        return torch.from_numpy(stacked).to(sam.device)

    features = [each.features for each in prompts]
    if all(other is features[0] for other in features):
        features = features[:1]  # the decoder reads one embedding for all, without a copy
    masks = None
    if prompts[0].mask_logits is not None:
        masks = stack([each.mask_logits for each in prompts])[:, None]
    return sam.find_objects(
        stack(features),
        stack([each.points_xy for each in prompts]),
        stack([each.codes for each in prompts]),
        masks,
        prompts[0].frame.window,
    )
