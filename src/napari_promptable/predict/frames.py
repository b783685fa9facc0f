"""Frames: the parts of a plane that the network is shown, and the way there and back.

SAM is shown the whole plane. A network with a `tile_size` is shown tiles, each at the zoom that
suits the object, see `napari_promptable.predict.tiling`. A frame has an embedding of its own,
places prompts in the network's input, and brings masks back to the plane. Decoding and ranking
answers need nothing else, so that a new kind of view is a new kind of frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_promptable.masks import BoolArray, FloatArray
from napari_promptable.models.prompt_encoder import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    PADDING,
    Window,
)
from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.encoding import encode_pixels
from napari_promptable.predict.tile_choice import choose_tiles, positive_clicks, refit_tile
from napari_promptable.predict.tiling import Pyramid, Tile
from napari_promptable.predict.upsampling import (
    split_positions,
    upsample_blocks,
    upsample_masks,
)
from napari_promptable.prompts import PromptSet
from napari_promptable.sizes import ExpectedSize
from napari_promptable.transforms import image_to_model_xy

_OUTSIDE = -10.0  # logits where the decoder was not asked

Draw = Callable[[Sequence[int]], BoolArray]
"""Draws the masks of some candidates in image pixels, (n, H, W)."""

DrawLogits = Callable[[], FloatArray]
"""Draws the low-res logits of all candidates, (M, rows, columns)."""


class Frame(Protocol):
    """A part of a plane in the form the network sees: `WholePlane` or `TileFrame`."""

    @property
    def always_pads(self) -> bool:
        """Whether mask logits alone, too, come with a padding point."""
        ...

    @property
    def pads_boxes(self) -> bool:
        """Whether boxes, too, come with a padding point."""
        ...

    @property
    def features(self) -> FloatArray:
        """Image embedding of the frame, (C, rows, columns)."""
        ...

    @property
    def window(self) -> Window:
        """Cells of the network's input that the embedding fills."""
        ...

    def pixels_per_logit(self, side: int) -> float:
        """Image pixels that each pixel of logits (M, side, side) covers."""
        ...

    def place_points(self, points_yx: FloatArray) -> FloatArray:
        """Take positions from plane pixels to (x, y) in input pixels. Shapes are (N, 2)."""
        ...

    def place_box(self, box_yxyx: FloatArray) -> FloatArray:
        """Take a box to (x, y) of its first and last input pixel, shape (2, 2)."""
        ...

    def place_logits(self, logits: FloatArray) -> FloatArray:
        """Take low-res logits from the plane to the frame."""
        ...

    def bring_back(self, logits: Tensor) -> tuple[Draw, DrawLogits]:
        """Take logits (M, h, w) to the plane: functions that draw masks and low-res logits."""
        ...

    def refit(self, mask: BoolArray, clicks_yx: FloatArray) -> Frame | None:
        """Find the frame at another zoom that suits the size of an answer, (h, w).

        The frame also holds clicks (N, 2) on the plane. None if this zoom suits, or there is
        nothing in the answer.
        """
        ...


@dataclass(frozen=True, eq=False)
class WholePlane:
    """The whole plane, resized to the network's input and padded, as SAM does it.

    SAM 2 squashes the plane to its square input instead.

    Attributes
    ----------
    sam : Sam
        The network.
    embedding : ImageEmbedding
        Of the plane.
    """

    sam: Sam
    embedding: ImageEmbedding
    always_pads = False

    @property
    def pads_boxes(self) -> bool:
        """See `Frame.pads_boxes`."""
        return self.sam.pads_boxes

    @property
    def features(self) -> FloatArray:
        """See `Frame.features`."""
        return self.embedding.features

    @property
    def window(self) -> Window:
        """The top-left corner of the network's input."""
        return (0, 0, self.features.shape[1], self.features.shape[2])

    def pixels_per_logit(self, side: int) -> float:
        """See `Frame.pixels_per_logit`."""
        step = self.features.shape[2] * self.sam.patch_stride / side
        return float(
            step**2 * prod(self.embedding.original_size) / prod(self.embedding.input_size)
        )

    def place_points(self, points_yx: FloatArray) -> FloatArray:
        """See `Frame.place_points`."""
        embedding = self.embedding
        return image_to_model_xy(points_yx, embedding.original_size, embedding.input_size)

    def place_box(self, box_yxyx: FloatArray) -> FloatArray:
        """See `Frame.place_box`."""
        return self.place_points(box_yxyx.reshape(2, 2))

    def place_logits(self, logits: FloatArray) -> FloatArray:
        """Return the logits: they are the frame's already."""
        return logits

    def bring_back(self, logits: Tensor) -> tuple[Draw, DrawLogits]:
        """See `Frame.bring_back`."""
        stride = self.sam.patch_stride // 4
        padded_size = (stride * logits.shape[1], stride * logits.shape[2])
        input_size, size = self.embedding.input_size, self.embedding.original_size
        if self.sam.squashes_images:  # SAM 2 interpolates once: from logits to pixels
            padded_size = input_size = (logits.shape[1], logits.shape[2])

        def draw(candidates: Sequence[int]) -> BoolArray:
            chosen = logits[list(candidates)]
            return upsample_masks(
                chosen, padded_size, input_size, size, self.sam.mask_threshold
            )

        return draw, lambda: logits.cpu().numpy()

    def refit(self, mask: BoolArray, clicks_yx: FloatArray) -> None:
        """Return None, because there is one zoom only."""
        return


@dataclass(frozen=True, eq=False)
class TileFrame:
    """A tile, which the network sees in the middle of its input.

    Attributes
    ----------
    sam : Sam
        A network with a tile size.
    embedding : ImageEmbedding
        Of the plane; it keeps the embeddings of tiles.
    tile : Tile
        Where.
    """

    sam: Sam
    embedding: ImageEmbedding
    tile: Tile
    always_pads = True
    pads_boxes = False

    @property
    def pyramid(self) -> Pyramid:
        """Zooms of the plane."""
        return pyramid_of(self.sam, self.embedding)

    @property
    def features(self) -> FloatArray:
        """Image embedding of the tile, made when it is first needed."""
        return self.embedding.tiles.get_or_make(self.tile, self._encode)

    def _encode(self) -> FloatArray:
        assert self.embedding.image is not None
        return encode_pixels(self.sam, self.pyramid.crop(self.embedding.image, self.tile))

    @property
    def window(self) -> Window:
        """The middle of the network's input."""
        rows, columns = self.features.shape[1:]
        grid_rows, grid_columns = self.sam.prompt_encoder.image_embedding_size
        return ((grid_rows - rows) // 2, (grid_columns - columns) // 2, rows, columns)

    @property
    def _margin(self) -> np.float32:
        """Input pixels from the border of the network's input to the tile."""
        return np.float32((self.sam.image_size - self.pyramid.tile_size) // 2)

    def pixels_per_logit(self, side: int) -> float:
        """See `Frame.pixels_per_logit`."""
        step = self.pyramid.tile_size / side
        return float(step**2 / self.pyramid.zoom_yx(self.tile.level).prod())

    def place_points(self, points_yx: FloatArray) -> FloatArray:
        """See `Frame.place_points`."""
        return self.pyramid.to_tile_xy(points_yx, self.tile) + self._margin

    def place_box(self, box_yxyx: FloatArray) -> FloatArray:
        """See `Frame.place_box`."""
        return self.pyramid.box_to_tile_xy(box_yxyx, self.tile) + self._margin

    def place_logits(self, logits: FloatArray) -> FloatArray:
        """See `Frame.place_logits`."""
        return self.pyramid.cut(logits, self.tile, 4 * self.features.shape[1])

    def bring_back(self, logits: Tensor) -> tuple[Draw, DrawLogits]:
        """See `Frame.bring_back`. Outside the tile is background."""
        size, low_res_size = self.embedding.original_size, self.embedding.low_res_size
        threshold, side = self.sam.mask_threshold, logits.shape[-1]
        draw_logits = partial(
            self.pyramid.paste, logits.cpu().numpy(), self.tile, low_res_size, _OUTSIDE
        )
        rows, columns = (
            split_positions(overlap.cells.start, overlap.positions, side)
            for overlap in self.pyramid.overlaps(self.tile, size, side)
        )

        def draw(candidates: Sequence[int]) -> BoolArray:
            return upsample_blocks(logits[list(candidates)], rows, columns, size, threshold)

        return draw, draw_logits

    def refit(self, mask: BoolArray, clicks_yx: FloatArray) -> TileFrame | None:
        """See `Frame.refit`."""
        if not mask.any():
            return None
        tile = refit_tile(self.pyramid, self.tile, mask, clicks_yx)
        return None if tile.level == self.tile.level else replace(self, tile=tile)


@dataclass(frozen=True, eq=False)
class FramePrompts:
    """One object's prompts, placed in a frame.

    Attributes
    ----------
    frame : Frame
        Where the object is looked for.
    features : ndarray of float32, shape (C, rows, columns)
        Image embedding of the frame.
    points_xy : ndarray of float32, shape (T, 2)
        Clicks and box corners in input pixels.
    codes : ndarray of int, shape (T,)
        Their kinds, see `napari_promptable.models.prompt_encoder`.
    mask_logits : ndarray of float32, shape (4 * rows, 4 * columns), or None
        An earlier answer.
    expected_size : ExpectedSize or None
        The object's likely size; None where other prompts tell it.
    """

    frame: Frame
    features: FloatArray
    points_xy: FloatArray
    codes: npt.NDArray[np.int64]
    mask_logits: FloatArray | None
    expected_size: ExpectedSize | None = None


def place_prompts(frame: Frame, prompts: PromptSet) -> FramePrompts:
    """Place an object's prompts in a frame.

    Parameters
    ----------
    frame : Frame
        Where to answer them.
    prompts : PromptSet
        In pixels of the plane.

    Returns
    -------
    FramePrompts
        Clicks, then the box's corners or, without a box, one padding point, as in SAM; in
        SAM 2 the padding point follows a box, too.
    """
    corners_xy, codes = np.empty((0, 2), np.float32), []
    if prompts.box_yxyx is not None:
        corners_xy, codes = frame.place_box(prompts.box_yxyx), [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    elif frame.always_pads or len(prompts.points_yx):
        corners_xy, codes = np.zeros((1, 2), np.float32), [PADDING]
    if prompts.box_yxyx is not None and frame.pads_boxes:
        corners_xy, codes = np.pad(corners_xy, ((0, 1), (0, 0))), [*codes, PADDING]
    logits = prompts.mask_logits
    return FramePrompts(
        frame,
        frame.features,
        np.concatenate([frame.place_points(prompts.points_yx), corners_xy]),
        np.concatenate([prompts.point_labels, np.array(codes, np.int64)]),
        None if logits is None else frame.place_logits(logits),
        prompts.expected_size if prompts.box_yxyx is None and logits is None else None,
    )


def choose_frames(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet
) -> Sequence[WholePlane] | Sequence[TileFrame]:
    """Choose where an object's prompts may be answered, the likeliest frame first.

    Parameters
    ----------
    sam : Sam
        The network.
    embedding : ImageEmbedding
        Of the plane.
    prompts : PromptSet
        One object's prompts.

    Returns
    -------
    sequence of Frame
        More than one where nothing but a bare click tells the object's size.
    """
    if sam.tile_size is None:
        return [WholePlane(sam, embedding)]
    logits = prompts.mask_logits
    tiles = choose_tiles(
        pyramid_of(sam, embedding),
        prompts,
        None if logits is None else logits > 0,
        partial(_expect_size, sam, embedding, prompts),
    )
    return [TileFrame(sam, embedding, tile) for tile in tiles]


def encode_frames(sam: Sam, embedding: ImageEmbedding, prompts: PromptSet) -> None:
    """Encode the frames in which prompts would be answered, ahead of the answer."""
    for frame in choose_frames(sam, embedding, prompts):
        _ = frame.features


def pyramid_of(sam: Sam, embedding: ImageEmbedding) -> Pyramid:
    """Zooms and tiles of a plane, for a network with a tile size."""
    assert sam.tile_size is not None
    return Pyramid(embedding.original_size, embedding.input_size, sam.tile_size)


def _expect_size(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet, tile: Tile | None
) -> float:
    """Combine the size that the network sees with the one that the prompts expect."""
    estimate = _estimate_size(sam, embedding, prompts, tile)
    if prompts.expected_size is None:
        return estimate
    zoom = pyramid_of(sam, embedding).zoom_yx(0 if tile is None else tile.level).mean()
    octaves = float(np.log2(zoom))
    return prompts.expected_size.combine(estimate - octaves) + octaves


@torch.inference_mode()
def _estimate_size(
    sam: Sam, embedding: ImageEmbedding, prompts: PromptSet, tile: Tile | None
) -> float:
    """Mean logarithm of the size that the network sees under the foreground clicks."""
    assert sam.size_head is not None
    features, origin = embedding.features, Tile(0, 0, 0)
    if tile is not None:
        features, origin = TileFrame(sam, embedding, tile).features, tile
    positions = pyramid_of(sam, embedding).to_tile_xy(positive_clicks(prompts), origin)
    limit = np.array(features.shape[:0:-1]) - 1
    cells = np.clip((positions + 0.5) // sam.patch_stride, 0, limit).astype(int)
    on_device = torch.from_numpy(features).to(sam.device)
    sizes = [sam.size_head.estimate_at(on_device, row, column) for column, row in cells]
    return float(np.mean(sizes))
