"""SAM's prompt encoder: clicks, box corners and mask logits → embeddings.

Source: "Segment Anything" (SAM), arXiv 2304.02643, section 3 and appendix A.
"""

import math

import torch
from torch import Tensor, nn

from napari_promptable.models.layers import LayerNorm2d

PADDING, BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""Codes of the sparse prompts. The first three are point labels; a box is its two corners."""

Window = tuple[int, int, int, int]
"""Top, left, rows and columns of a part of the image embedding, in cells. SAM's encoders
always fill it; a convolutional one leaves out the padding, and is trained on parts."""

_CLICK_SIGMA = 2.5  # width of a click in a dense prompt map, in cells of the mask grid
_LOGIT_RANGE = 10.0  # mask logits beyond this say nothing more


class RandomPositionEncoding(nn.Module):
    """Random Fourier features of positions (arXiv 2006.10739).

    Parameters
    ----------
    num_features : int
        Number of random frequencies; the encoding has twice as many channels.
    scale : float, default 1
        Standard deviation of the frequencies.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_features: int, scale: float = 1.0) -> None:
        super().__init__()
        frequencies = nn.init.normal_(torch.empty(2, num_features), std=scale)
        self.register_buffer("positional_encoding_gaussian_matrix", frequencies)

    def forward(self, positions: Tensor) -> Tensor:
        """Encode positions.

        Parameters
        ----------
        positions : Tensor, shape (..., 2)
            (x, y) in units of the input's sides, 0 to 1.

        Returns
        -------
        Tensor, shape (..., 2 * num_features)
            Sines, then cosines.
        """
        phases = 2 * math.pi * ((2 * positions - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Turn sparse prompts into tokens and a mask prompt into a dense embedding.

    Parameters
    ----------
    embed_dim : int
        Channels C of all embeddings.
    image_embedding_size : (int, int)
        Rows and columns of the image embedding.
    input_image_size : (int, int)
        Height and width of the network's input in pixels; the unit of positions.
    mask_in_chans : int
        Channels inside the mask branch.
    with_prompt_maps : bool, default False
        Also draw clicks and boxes as maps and give these, with the mask logits, to the mask
        branch. SAM does not; it is what lets a small model learn prompts in an hour.
    """

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
        with_prompt_maps: bool = False,
    ) -> None:
        super().__init__()
        self.image_embedding_size = image_embedding_size
        self.input_image_size = input_image_size
        self.with_prompt_maps = with_prompt_maps
        self.pe_layer = RandomPositionEncoding(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        quarter = mask_in_chans // 4
        self.mask_downscaling: nn.Module = nn.Sequential(
            nn.Conv2d(4 if with_prompt_maps else 1, quarter, kernel_size=2, stride=2),
            LayerNorm2d(quarter),
            nn.GELU(),
            nn.Conv2d(quarter, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)
        self._kept_encodings: dict[Window, Tensor] | None = None

    def keep_positional_encodings(self) -> None:
        """Work the encoding of each window out once. Weights must not change afterwards."""
        self._kept_encodings = {}

    @property
    def full_window(self) -> Window:
        """The window that holds the whole image embedding."""
        return (0, 0, *self.image_embedding_size)

    def dense_positional_encoding(self, window: Window | None = None) -> Tensor:
        """Encode the centres of the image embedding's cells.

        Parameters
        ----------
        window : (top, left, rows, columns), optional
            Part of the image embedding, in cells; all of it by default.

        Returns
        -------
        Tensor, shape (1, C, rows, columns)
            Positional encoding.
        """
        window = window or self.full_window
        if self._kept_encodings is None:
            return self._encode_cells(window)
        if window not in self._kept_encodings:
            self._kept_encodings[window] = self._encode_cells(window)
        return self._kept_encodings[window]

    def _encode_cells(self, window: Window) -> Tensor:
        x, y = self._cell_centres(window, cells_per_row=1)
        height, width = self.input_image_size
        positions = torch.stack(torch.meshgrid(x / width, y / height, indexing="xy"), dim=-1)
        encoding: Tensor = self.pe_layer(positions)
        return encoding.permute(2, 0, 1).unsqueeze(0)

    def forward(
        self,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
        window: Window | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode the prompts of N objects.

        Parameters
        ----------
        points_xy : Tensor, shape (N, P, 2)
            (x, y) of clicks and box corners in pixels of the network's input.
        point_labels : Tensor of int, shape (N, P)
            −1 padding, 0 background, 1 foreground, 2 top-left and 3 bottom-right box corner.
        mask_logits : Tensor, shape (N, 1, 4 * rows, 4 * columns), or None
            Low-res logits of an earlier answer.
        window : (top, left, rows, columns), optional
            Part of the image embedding, in cells; all of it by default.

        Returns
        -------
        sparse : Tensor, shape (N, P, C)
            Sparse prompt embeddings, the tokens.
        dense : Tensor, shape (N, C, rows, columns), or (1, C, 1, 1) without any
            Dense prompt embeddings, to be added to the image embedding.
        """
        window = window or self.full_window
        sparse = self._embed_points(points_xy, point_labels)
        if self.with_prompt_maps:
            maps = self._prompt_maps(points_xy, point_labels, mask_logits, window)
            return sparse, self.mask_downscaling(maps)
        if mask_logits is not None:
            return sparse, self.mask_downscaling(mask_logits)
        return sparse, self.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def _embed_points(self, points_xy: Tensor, point_labels: Tensor) -> Tensor:
        """Position plus type. A padding token has a type only."""
        height, width = self.input_image_size
        x, y = (points_xy + 0.5).unbind(dim=-1)  # 0.5: to the pixel's centre
        positions = self.pe_layer(torch.stack([x / width, y / height], dim=-1))
        embeddings = (self.not_a_point_embed, *self.point_embeddings)
        types = torch.cat([embedding.get_parameter("weight") for embedding in embeddings])
        is_point = (point_labels != PADDING)[..., None]
        sparse: Tensor = positions * is_point + types[point_labels + 1]
        return sparse

    def _cell_centres(self, window: Window, cells_per_row: int) -> tuple[Tensor, Tensor]:
        """x of the columns and y of the rows of a grid in a window, in input pixels."""
        device = self.no_mask_embed.weight.device
        top, left, rows, columns = (cells_per_row * n for n in window)
        height, width = self.input_image_size
        grid_rows, grid_columns = (cells_per_row * n for n in self.image_embedding_size)
        x = (torch.arange(left, left + columns, device=device) + 0.5) * (width / grid_columns)
        y = (torch.arange(top, top + rows, device=device) + 0.5) * (height / grid_rows)
        return x, y

    def _prompt_maps(
        self,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
        window: Window,
    ) -> Tensor:
        """Draw positive clicks, negative clicks, the box and the logits, (N, 4, H, W)."""
        x, y = self._cell_centres(window, cells_per_row=4)
        sigma = _CLICK_SIGMA * self.input_image_size[0] / (4 * self.image_embedding_size[0])
        points = points_xy + 0.5
        positive = _draw_clicks(points, point_labels == FOREGROUND, x, y, sigma)
        negative = _draw_clicks(points, point_labels == BACKGROUND, x, y, sigma)
        box = _draw_boxes(points, point_labels, x, y)
        if mask_logits is None:
            logits = torch.zeros_like(box)
        else:
            logits = mask_logits[:, 0].clamp(-_LOGIT_RANGE, _LOGIT_RANGE) / (_LOGIT_RANGE / 2)
        return torch.stack([positive, negative, box, logits], dim=1)


def _draw_clicks(
    points: Tensor, is_selected: Tensor, x: Tensor, y: Tensor, sigma: float
) -> Tensor:
    """Gaussian spots at the selected points, the largest wins, shape (N, H, W)."""
    scale = -0.5 / sigma**2
    along_x = torch.exp(scale * (x - points[..., 0, None]).square())  # (N, P, W)
    along_y = torch.exp(scale * (y - points[..., 1, None]).square())  # (N, P, H)
    along_y = along_y * is_selected[..., None]
    return (along_y[..., :, None] * along_x[..., None, :]).amax(dim=1)


def _draw_boxes(points: Tensor, point_labels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One inside each object's box and zero elsewhere, shape (N, H, W)."""
    is_start, is_stop = point_labels == BOX_TOP_LEFT, point_labels == BOX_BOTTOM_RIGHT
    start = (points * is_start[..., None]).sum(dim=1)
    stop = (points * is_stop[..., None]).sum(dim=1)
    inside_x = (x >= start[:, :1]) & (x <= stop[:, :1])  # (N, W)
    inside_y = (y >= start[:, 1:]) & (y <= stop[:, 1:])  # (N, H)
    has_box = is_start.any(dim=1)[:, None, None]
    return (inside_y[:, :, None] & inside_x[:, None, :] & has_box).to(points.dtype)
