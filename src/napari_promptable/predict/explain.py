"""Look inside the mask decoder: run it once more on the same prompts and keep everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_promptable.errors import PromptError
from napari_promptable.models.prompt_encoder import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)
from napari_promptable.models.recording import count_blocks, record_decoder
from napari_promptable.models.sam import Sam
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.answers import answer_at_best_zoom
from napari_promptable.predict.checks import check_prompts
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.predict.decoding import decode_all
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.explanation import AttentionStep, Explanation, FloatArray
from napari_promptable.predict.frames import Frame, FramePrompts
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel, wanted_masks
from napari_promptable.prompts import PlanePrompts, PromptSet

_OUTPUT_TOKENS = ("IoU", "mask 0", "mask 1", "mask 2", "mask 3")
_NAMES = {BOX_TOP_LEFT: "box top left", BOX_BOTTOM_RIGHT: "box bottom right"}
_SIGNS = {FOREGROUND: "+", BACKGROUND: "−"}


@torch.inference_mode()
def explain(
    model: PromptableModel, embedding: ImageEmbedding, prompts: PromptSet
) -> Explanation:
    """Show how the mask decoder answers one object's prompts.

    Parameters
    ----------
    model : PromptableModel
        The one that made the embedding.
    embedding : ImageEmbedding
        From `encode_image`.
    prompts : PromptSet
        As for `predict_masks`.

    Returns
    -------
    Explanation
        Attention of every step and head, and how the masks are drawn: the same numbers as in
        the pass that answers the prompts.

    Raises
    ------
    EmbeddingMismatchError
        If another model made the embedding.
    PromptError
        If the prompts cannot be answered.

    Notes
    -----
    A model that looks at parts of the image is explained in the part that gave its answer. The
    bundled model then shows its best mask to itself once more; this second look is left out. To
    see it, give that mask as `mask_logits`.
    """
    check_prompts(model.model_id, embedding, [prompts])
    wanted = [wanted_masks(model.sam, prompts, None)]
    [answer] = answer_at_best_zoom(model.sam, embedding, [prompts], wanted)
    placed = answer.prompts
    recorded = record_decoder(model.sam)
    [masks] = decode_all(recorded.sam, [placed])
    num_blocks = count_blocks(model.sam)
    logits = recorded.upscaling.logits
    by_block = [_stop_after(model.sam, placed, count) for count in range(num_blocks)]
    origin, size = _locate_cells(placed.frame, embedding.original_size, model.sam.patch_stride)
    rows, columns = placed.features.shape[1:]
    return Explanation(
        (*_output_tokens(model.sam), *_name_prompts(placed.codes.tolist())),
        num_blocks,
        tuple(
            AttentionStep(step.block, str(step.direction), _to_numpy(step.attention.weights))
            for step in recorded.steps
        ),
        (rows, columns),
        _to_numpy(recorded.upscaling.upscaled),
        _to_numpy(recorded.upscaling.token_weights).T,
        _to_numpy(logits),
        masks.predicted_iou.float().cpu().numpy(),
        np.stack([_to_numpy(each) for each in (*by_block, logits)]),
        origin,
        size,
    )


def explain_prompts(
    model: PromptableModel, embedding: ImageEmbedding, prompts: PlanePrompts
) -> Explanation:
    """Explain the pass that answers the last of an object's prompts on one plane.

    Parameters
    ----------
    model, embedding
        As in `explain`.
    prompts : PlanePrompts
        Answered click by click, as `answer_prompts` does; the last pass is explained, which has
        the mask before the last click as a prompt. Of several boxes, it is the last one's.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As in `explain`.
    """
    listener = _Listener(model)
    answer_prompts(listener, embedding, prompts)
    if listener.asked is None:
        raise PromptError(
            "the mask of an existing object is shown as it is; click to correct it, and the "
            "decoder answers"
        )
    return explain(model, embedding, listener.asked)


class _Listener:
    """A segmenter that records its latest question."""

    carries_masks = False

    def __init__(self, model: PromptableModel) -> None:
        self._model = model
        self.asked: PromptSet | None = None
        self.encode = model.encode

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        """Pass the question on."""
        self.asked = prompts[-1]
        return self._model.predict_many(embedding, prompts, multimask_output)


def _stop_after(sam: Sam, placed: FramePrompts, num_blocks: int) -> Tensor:
    """Logits (1, 4, …) of a decoder that has only its first blocks."""
    recorded = record_decoder(sam, num_blocks)
    decode_all(recorded.sam, [placed])
    return recorded.upscaling.logits


def _to_numpy(batch: Tensor) -> FloatArray:
    """Take the only object of a batch."""
    array: FloatArray = batch[0].float().cpu().numpy()
    return array


def _output_tokens(sam: Sam) -> tuple[str, ...]:
    return ("object score", *_OUTPUT_TOKENS) if isinstance(sam, Sam2) else _OUTPUT_TOKENS


def _name_prompts(codes: Sequence[int]) -> list[str]:
    """Name prompt tokens by their codes. Clicks are numbered."""
    names = []
    for number, code in enumerate(codes, start=1):
        if code in _SIGNS:
            names.append(f"click {number} {_SIGNS[code]}")
        else:
            names.append("padding" if code == PADDING else _NAMES[code])
    return names


def _locate_cells(
    frame: Frame, size: tuple[int, int], stride: int
) -> tuple[FloatArray, FloatArray]:
    """Centre of the first cell and distance between cells, (row, column) in plane pixels."""
    far = np.array(size, float)
    placed_xy = frame.place_points(np.stack([np.zeros(2), far]).astype(np.float32))
    (first_y, first_x), (last_y, last_x) = placed_xy[:, ::-1].astype(float)
    zoom = np.array([last_y - first_y, last_x - first_x]) / far
    top, left = frame.window[:2]
    centre = (np.array([top, left]) + 0.5) * stride - 0.5
    return (centre - [first_y, first_x]) / zoom, stride / zoom
