"""From prompts to the best of several answers, and from that to a prediction.

A bare click does not tell the object's size. So a network that looks at tiles answers it at
several zooms, and the surest answer counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from napari_promptable.models.cpu.parallel import one_thread
from napari_promptable.models.sam import Sam
from napari_promptable.predict.decoding import FrameMasks, decode_all
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.frames import Frame, choose_frames, place_prompts
from napari_promptable.predict.prediction import Prediction, describe_absence
from napari_promptable.predict.tile_choice import positive_clicks
from napari_promptable.prompts import PromptSet


class ZoomRule(NamedTuple):
    """When a zoom other than the likeliest may answer, chosen on the validation images.

    Attributes
    ----------
    sure : float
        Predicted IoU from which on no other zoom is tried.
    lead : float
        By how much another zoom's predicted IoU must be higher.
    """

    sure: float
    lead: float


_FOR_LEVELS = ZoomRule(sure=0.85, lead=0.08)
_FOR_CLEAR_ANSWERS = ZoomRule(sure=0.4, lead=0.2)
_FOR_REFITTED = ZoomRule(sure=0.5, lead=0.05)
"""Where the zoom follows the size of a clear answer."""

Wanted = Sequence[int]
"""Which of the decoder's four masks may answer."""


@torch.inference_mode()
def answer_all(
    sam: Sam,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    wanted: Sequence[Wanted],
) -> list[FrameMasks]:
    """Answer the prompts of many objects.

    Parameters
    ----------
    sam : Sam
        The network.
    embedding : ImageEmbedding
        Made by it.
    prompts : sequence of PromptSet
        One per object.
    wanted : sequence of sequence of int
        Which masks of each object are wanted. Where the best of them is not sure, the zooms
        above and below are tried too, and taken if their best is clearly surer.

    Returns
    -------
    list of FrameMasks
        One per object.
    """
    answers = answer_at_best_zoom(sam, embedding, prompts, wanted)
    return look_again(sam, answers, wanted) if sam.with_second_look else answers


@torch.inference_mode()
def answer_at_best_zoom(
    sam: Sam,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    wanted: Sequence[Wanted],
) -> list[FrameMasks]:
    """Answer prompts without a second look. Parameters are as in `answer_all`."""
    frames = [choose_frames(sam, embedding, each) for each in prompts]
    answers = decode_all(
        sam,
        [place_prompts(first, each) for (first, *_), each in zip(frames, prompts, strict=True)],
    )
    rule = _FOR_LEVELS if sam.compares_levels else _FOR_CLEAR_ANSWERS
    several = [i for i, others in enumerate(frames) if len(others) > 1]

    def refit(i: int) -> Sequence[Frame]:
        return _refit(answers[i], prompts[i], wanted[i])

    _try_frames(sam, answers, prompts, wanted, several, lambda i: frames[i][1:], rule)
    if not sam.compares_levels:
        _try_frames(sam, answers, prompts, wanted, several, refit, _FOR_REFITTED)
    return answers


def _refit(answer: FrameMasks, prompts: PromptSet, wanted: Wanted) -> list[Frame]:
    """Frame at the zoom that suits the size of an answer, if it is another one."""
    mask = (answer.logits[answer.surest(wanted)] > 0).cpu().numpy()
    frame = answer.prompts.frame.refit(mask, positive_clicks(prompts))
    return [] if frame is None else [frame]


def _try_frames(
    sam: Sam,
    answers: list[FrameMasks],
    prompts: Sequence[PromptSet],
    wanted: Sequence[Wanted],
    which: Sequence[int],
    find_frames: Callable[[int], Sequence[Frame]],
    rule: ZoomRule,
) -> None:
    """Put answers from other frames in the place of unsure ones, where a rule says so."""
    tried = {i: find_frames(i) for i in which if _sureness(answers[i], wanted[i]) < rule.sure}
    placed = [
        place_prompts(frame, prompts[i]) for i, others in tried.items() for frame in others
    ]
    found = iter(decode_all(sam, placed))
    for i, others in tried.items():
        at_other_zooms = [next(found) for _ in others]
        answers[i] = _choose_zoom(answers[i], at_other_zooms, wanted[i], rule.lead)


def _sureness(answer: FrameMasks, wanted: Wanted) -> float:
    """How sure the surest of the wanted masks is."""
    return float(answer.sureness[answer.surest(wanted)])


def _choose_zoom(
    first: FrameMasks, others: Sequence[FrameMasks], wanted: Wanted, lead: float
) -> FrameMasks:
    """Keep the answer at the likeliest zoom, unless another is clearly surer."""
    best = max(others, key=lambda answer: _sureness(answer, wanted), default=first)
    is_surer = _sureness(best, wanted) > _sureness(first, wanted) + lead
    return best if is_surer else first


def look_again(
    sam: Sam, answers: Sequence[FrameMasks], wanted: Sequence[Wanted]
) -> list[FrameMasks]:
    """Ask the same about the surest wanted mask, showing it as the network's earlier answer."""
    chosen = [answer.surest(masks) for answer, masks in zip(answers, wanted, strict=True)]
    looks = decode_all(
        sam,
        [
            replace(answer.prompts, mask_logits=answer.logits[mask].cpu().numpy())
            for answer, mask in zip(answers, chosen, strict=True)
        ],
    )
    improved = []
    for answer, mask, look in zip(answers, chosen, looks, strict=True):
        logits, predicted_iou = answer.logits.clone(), answer.predicted_iou.clone()
        logits[mask], predicted_iou[mask] = look.logits[0], look.predicted_iou[0]
        improved.append(replace(answer, logits=logits, predicted_iou=predicted_iou))
    return improved


@one_thread()
@torch.inference_mode()
def to_prediction(
    answer: FrameMasks, candidates: Sequence[int], default: int | None = None
) -> Prediction:
    """Bring some of an answer's masks to the plane.

    Parameters
    ----------
    answer : FrameMasks
        Of one object.
    candidates : sequence of int
        Which of the four masks are offered, in this order.
    default : int, optional
        Candidate to offer first; the surest by default.

    Returns
    -------
    Prediction
        With as many candidates, whose masks are drawn when they are asked for.
    """
    chosen = list(candidates)
    confidence = answer.predicted_iou[chosen].float().cpu().numpy()
    draw, draw_logits = answer.prompts.frame.bring_back(answer.logits[chosen].float())
    if default is None:
        default = int(answer.sureness[chosen].argmax())
    absence = describe_absence(answer.object_score)
    return Prediction(draw, confidence, draw_logits, default, absence)
