"""From prompts and an image embedding to low-res answers, and from these to masks.

A SAM network answers on the whole image. A network with a `tile_size` answers on a tile at
the zoom that suits the object, see `napari_promptable.predict.tiling`. A bare click does not
tell the object's size, so it is answered at several zooms, and the surest answer counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_promptable.masks import BoolArray, Prediction
from napari_promptable.models.cpu.parallel import count_threads, one_thread, share_out
from napari_promptable.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING
from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.tiling import Pyramid, Tile, choose_tiles
from napari_promptable.predict.upsampling import (
    AxisBlock,
    split_positions,
    upsample_blocks,
    upsample_masks,
)
from napari_promptable.prompts import FOREGROUND, PromptSet
from napari_promptable.transforms import image_to_model_xy

_CELLS_AT_ONCE = 2**14  # of a decoder call; more objects in one would only need more memory
_CELLS_AT_ONCE_ON_CPU = 2**12  # one object in SAM, each on a thread of its own
_OFF_ZOOM_PENALTY = 0.08  # of predicted IoU; chosen on the validation images
_SURE = 0.85  # predicted IoU that another zoom cannot beat by so much
_OUTSIDE = -10.0  # logits where the decoder was not asked

FloatArray = npt.NDArray[np.float32]
Draw = Callable[[Sequence[int]], BoolArray]


@dataclass(frozen=True, eq=False)
class Question:
    """One object's prompts in the frame of the network's input.

    Attributes
    ----------
    features : ndarray of float32, shape (C, rows, columns)
        Embedding of the whole image or of a tile.
    points_xy : ndarray of float32, shape (T, 2)
        Clicks and box corners in input pixels.
    codes : ndarray of int, shape (T,)
        What they are, see `napari_promptable.models.prompt_encoder`.
    mask_logits : ndarray of float32, shape (4 * rows, 4 * columns), or None
        An earlier answer.
    tile : Tile or None
        Where the features lie; None for the whole image.
    """

    features: FloatArray
    points_xy: FloatArray
    codes: npt.NDArray[np.int64]
    mask_logits: FloatArray | None
    tile: Tile | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """All four masks of one question.

    Attributes
    ----------
    logits : Tensor of float32, shape (4, h, w)
        Unthresholded masks at the decoder's resolution.
    predicted_iou : Tensor of float32, shape (4,)
        One per mask.
    question : Question
        What was asked.
    """

    logits: Tensor
    predicted_iou: Tensor
    question: Question


@torch.inference_mode()
def answer_all(
    sam: Sam,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    masks: Sequence[int],
) -> list[Answer]:
    """Answer the prompts of many objects.

    Parameters
    ----------
    sam : Sam
        The network.
    embedding : ImageEmbedding
        Made by it.
    prompts : sequence of PromptSet
        One per object.
    masks : sequence of int
        Which of the four masks are wanted. Where the best of them is not sure, the zooms above
        and below are tried too, and taken if their best is clearly surer.

    Returns
    -------
    list of Answer
        One per object.
    """
    tiles = [_tiles(sam, embedding, prompt) for prompt in prompts]
    answers = _decode(
        sam,
        [_question(sam, embedding, p, t[0]) for p, t in zip(prompts, tiles, strict=True)],
    )

    def sureness(answer: Answer) -> float:
        return float(answer.predicted_iou[list(masks)].max())

    unsure = [i for i, answer in enumerate(answers) if sureness(answer) < _SURE]
    others = iter(
        _decode(
            sam,
            [_question(sam, embedding, prompts[i], t) for i in unsure for t in tiles[i][1:]],
        )
    )
    for i in unsure:
        best = max((next(others) for _ in tiles[i][1:]), key=sureness, default=answers[i])
        if sureness(best) > sureness(answers[i]) + _OFF_ZOOM_PENALTY:
            answers[i] = best
    return _look_again(sam, answers, masks) if sam.with_second_look else answers


def encode_tiles(sam: Sam, embedding: ImageEmbedding, prompts: PromptSet) -> None:
    """Encode the tiles on which an object's prompts would be answered, ahead of the answer."""
    for tile in _tiles(sam, embedding, prompts):
        if tile is not None:
            _tile_features(sam, embedding, tile)


def _look_again(sam: Sam, answers: Sequence[Answer], masks: Sequence[int]) -> list[Answer]:
    """Ask the same about the surest wanted mask, showing it as the network's earlier answer."""
    chosen = [max(masks, key=answer.predicted_iou.__getitem__) for answer in answers]
    questions = [
        replace(answer.question, mask_logits=answer.logits[mask].cpu().numpy())
        for answer, mask in zip(answers, chosen, strict=True)
    ]
    improved = []
    for answer, mask, look in zip(answers, chosen, _decode(sam, questions), strict=True):
        logits, predicted_iou = answer.logits.clone(), answer.predicted_iou.clone()
        logits[mask], predicted_iou[mask] = look.logits[0], look.predicted_iou[0]
        improved.append(Answer(logits, predicted_iou, answer.question))
    return improved


def _tiles(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet
) -> Sequence[Tile] | Sequence[None]:
    """Where to answer an object's prompts, the best place first; None is the whole image."""
    if sam.tile_size is None:
        return [None]
    return choose_tiles(
        pyramid_of(sam, embedding),
        prompts,
        None if prompts.mask_logits is None else prompts.mask_logits > 0,
        partial(_estimate_size, sam, embedding, prompts),
    )


def _question(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet, tile: Tile | None
) -> Question:
    """Put an object's prompts on the whole image or on a tile."""
    if tile is not None:
        return _question_on_tile(sam, embedding, prompts, tile)
    points, codes = _to_tokens(sam, embedding, prompts)
    return Question(embedding.features, points, codes, prompts.mask_logits)


def pyramid_of(sam: Sam, embedding: ImageEmbedding) -> Pyramid:
    """Zooms and tiles of an image, for a network with a tile size."""
    assert sam.tile_size is not None
    return Pyramid(embedding.original_size, embedding.input_size, sam.tile_size)


def _to_tokens(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Clicks, then the box's corners or, without a box, one padding point, as SAM does.

    SAM gives none to mask logits alone.
    """
    corners_yx = np.zeros((1 if len(prompts.points_yx) else 0, 2), np.float32)
    if prompts.box_yxyx is not None:
        corners_yx = prompts.box_yxyx.reshape(2, 2)
    positions_xy = image_to_model_xy(
        np.concatenate([prompts.points_yx, corners_yx]),
        embedding.original_size,
        embedding.input_size,
    )
    return positions_xy, _codes(prompts, len(corners_yx))


def _codes(prompts: PromptSet, count: int) -> npt.NDArray[np.int64]:
    """What the tokens are: the clicks' labels, then `count` corners or padding points."""
    is_box = prompts.box_yxyx is not None
    codes = [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT] if is_box else [PADDING] * count
    return np.concatenate([prompts.point_labels, np.array(codes, np.int64)])


@torch.inference_mode()
def _estimate_size(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet, tile: Tile | None
) -> float:
    """Mean logarithm of the size that the network sees under the foreground clicks."""
    assert sam.size_head is not None
    features = embedding.features if tile is None else _tile_features(sam, embedding, tile)
    clicks = prompts.points_yx[prompts.point_labels == FOREGROUND]
    positions = pyramid_of(sam, embedding).to_tile_xy(clicks, tile or Tile(0, 0, 0))
    limit = np.array(features.shape[:0:-1]) - 1
    cells = np.clip((positions + 0.5) // sam.patch_stride, 0, limit).astype(int)
    on_device = torch.from_numpy(features).to(sam.device)
    sizes = [sam.size_head.estimate_at(on_device, row, column) for column, row in cells]
    return float(np.mean(sizes))


def _question_on_tile(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet, tile: Tile
) -> Question:
    """Put prompts on a tile, which the network sees in the middle of its input."""
    pyramid = pyramid_of(sam, embedding)
    features = _tile_features(sam, embedding, tile)
    corners_xy = np.zeros((1, 2), np.float32)
    if prompts.box_yxyx is not None:
        corners_xy = pyramid.box_to_tile_xy(prompts.box_yxyx, tile)
    points_xy = pyramid.to_tile_xy(prompts.points_yx, tile)
    logits = prompts.mask_logits
    if logits is not None:
        logits = pyramid.cut(logits, tile, 4 * features.shape[1])
    shift = (sam.image_size - pyramid.tile_size) // 2
    positions_xy = np.concatenate([points_xy, corners_xy]) + np.float32(shift)
    return Question(features, positions_xy, _codes(prompts, 1), logits, tile)


def _tile_features(sam: Sam, embedding: ImageEmbedding, tile: Tile) -> FloatArray:
    """Embedding of a tile, made when it is first needed."""

    def encode() -> FloatArray:
        assert embedding.image is not None
        return encode_pixels(sam, pyramid_of(sam, embedding).crop(embedding.image, tile))

    return embedding.tiles.get_or_make(tile, encode)


@torch.inference_mode()
def encode_pixels(sam: Sam, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Encode an image at the network's input size.

    Parameters
    ----------
    sam : Sam
        The network.
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB.

    Returns
    -------
    ndarray of float32, shape (C, rows, columns)
        Image embedding; in memory the channels of a cell lie together, for the decoder.
    """
    batch = torch.from_numpy(pixels.copy()).to(sam.device).permute(2, 0, 1)[None].float()
    embedding = sam.encode(batch).float().cpu()
    features: FloatArray = embedding.contiguous(memory_format=torch.channels_last)[0].numpy()
    return features


def _decode(sam: Sam, questions: Sequence[Question]) -> list[Answer]:
    """Answer questions in batches of one number of tokens."""

    def batch_key(index: int) -> tuple[int, bool]:
        return len(questions[index].codes), questions[index].mask_logits is not None

    batches: list[list[int]] = []
    for _, group in groupby(sorted(range(len(questions)), key=batch_key), batch_key):
        batches += _split(sam, list(group), questions[0].features.shape)
    answers: dict[int, Answer] = {}

    def decode(batch: list[int]) -> None:
        logits, predicted_iou = _decode_batch(sam, [questions[i] for i in batch])
        for i, maps, confidence in zip(batch, logits, predicted_iou, strict=True):
            answers[i] = Answer(maps, confidence, questions[i])

    with one_thread():
        if len(batches) == 1 or sam.device.type != "cpu":
            for batch in batches:
                decode(batch)
        else:
            share_out(decode, batches)
    return [answers[index] for index in range(len(questions))]


def _split(sam: Sam, members: list[int], features_shape: tuple[int, ...]) -> list[list[int]]:
    """Split questions into batches: of a size that pays, and on a CPU for all its threads."""
    most_cells = _CELLS_AT_ONCE
    size = len(members)
    if sam.device.type == "cpu":
        most_cells, size = _CELLS_AT_ONCE_ON_CPU, -(-len(members) // count_threads())
    size = max(1, min(size, most_cells // prod(features_shape[1:])))
    return [members[start : start + size] for start in range(0, len(members), size)]


def _decode_batch(sam: Sam, questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
    """Answer questions of one shape in one call of the decoder."""

    def stack(arrays: Sequence[npt.NDArray[np.generic] | None]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(sam.device)  # type: ignore[arg-type]

    masks, window = None, None
    if questions[0].mask_logits is not None:
        masks = stack([question.mask_logits for question in questions])[:, None]
    all_features = [question.features for question in questions]
    if all(features is all_features[0] for features in all_features):
        image_embedding = torch.from_numpy(all_features[0])[None]
    else:
        image_embedding = stack(all_features)
    if questions[0].tile is not None:
        rows, columns = all_features[0].shape[1:]
        grid = sam.prompt_encoder.image_embedding_size
        window = ((grid[0] - rows) // 2, (grid[1] - columns) // 2, rows, columns)
    return sam.decode(
        image_embedding.to(sam.device),
        stack([question.points_xy for question in questions]),
        stack([question.codes for question in questions]),
        masks,
        window,
    )


@one_thread()
@torch.inference_mode()
def to_prediction(
    sam: Sam,
    embedding: ImageEmbedding,
    answer: Answer,
    masks: Sequence[int],
    default: int | None = None,
) -> Prediction:
    """Bring some of an answer's masks to image pixels.

    Parameters
    ----------
    sam, embedding
        As in `answer_all`.
    answer : Answer
        Of one object.
    masks : sequence of int
        Which of the four masks become candidates.
    default : int, optional
        Candidate to offer first; that of the highest predicted IoU by default.

    Returns
    -------
    Prediction
        With as many candidates, whose masks are drawn when they are asked for.
    """
    confidence = answer.predicted_iou[list(masks)].float().cpu().numpy()
    logits = answer.logits[list(masks)].float()
    if answer.question.tile is None:
        scale = sam.patch_stride // 4
        padded_size = (scale * logits.shape[1], scale * logits.shape[2])
        sizes = (padded_size, embedding.input_size, embedding.original_size)
        draw: Draw = partial(_draw_whole, logits, sizes, sam.mask_threshold)
        low_res_logits = logits.cpu().numpy()
    else:
        draw, low_res_logits = _paste(sam, embedding, answer.question.tile, logits)
    return Prediction(
        draw,
        confidence,
        low_res_logits,
        int(confidence.argmax()) if default is None else default,
    )


def _draw_whole(
    logits: Tensor,
    sizes: tuple[tuple[int, int], ...],
    threshold: float,
    candidates: Sequence[int],
) -> BoolArray:
    """Draw masks from logits of the whole image."""
    padded, valid, original = sizes
    return upsample_masks(logits[list(candidates)], padded, valid, original, threshold)


def _paste(
    sam: Sam, embedding: ImageEmbedding, tile: Tile, logits: Tensor
) -> tuple[Draw, FloatArray]:
    """What draws masks in pixels, and low-res logits of the image, from a tile's logits."""
    pyramid, threshold = pyramid_of(sam, embedding), sam.mask_threshold
    size, side = embedding.original_size, logits.shape[-1]
    low_res = pyramid.paste(logits.cpu().numpy(), tile, embedding.low_res_size, _OUTSIDE)
    if embedding.low_res_size == size:
        return partial(_draw_low_res, low_res, threshold), low_res
    axes = [
        split_positions(overlap.cells.start, overlap.positions, side)
        for overlap in pyramid.overlaps(tile, size, side)
    ]
    return partial(_draw_tile, logits, axes, size, threshold), low_res


def _draw_low_res(
    low_res: FloatArray, threshold: float, candidates: Sequence[int]
) -> BoolArray:
    """Draw masks from logits of the image's own size."""
    masks: BoolArray = low_res[list(candidates)] > threshold
    return masks


def _draw_tile(
    logits: Tensor,
    axes: list[list[AxisBlock]],
    size: tuple[int, int],
    threshold: float,
    candidates: Sequence[int],
) -> BoolArray:
    """Draw masks from logits of a tile."""
    rows, columns = axes
    return upsample_blocks(logits[list(candidates)], rows, columns, size, threshold)
