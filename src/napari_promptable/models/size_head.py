"""How large the object under each cell of an image embedding is, before anything is clicked.

A click does not tell the object's size, and the size decides at which zoom to look (see
`napari_promptable.predict.tiling`). SAM has no such part; its input is always the whole image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEIGHBOURHOODS = (5, 17)
"""Sides, in cells, of the surroundings that are averaged."""

_USUAL_LOG2_DIAMETER = 5.5  # where the estimate starts before training


class SizeHead(nn.Module):
    """Estimate object sizes from each cell and the means of its surroundings.

    Parameters
    ----------
    embed_dim : int
        Channels of the image embedding.
    hidden_dim : int, default 64
        Width of the layer between.
    """

    def __init__(self, embed_dim: int, hidden_dim: int = 64) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        inputs = (1 + len(NEIGHBOURHOODS)) * embed_dim
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden_dim, 1), nn.GELU(), nn.Conv2d(hidden_dim, 1, 1)
        )

    def estimate_at(self, image_embedding: Tensor, row: int, column: int) -> float:
        """Estimate the size in one cell of an embedding (C or more, rows, columns)."""
        features = image_embedding[: self.embed_dim]
        parts = [features[:, row, column]]
        for side in NEIGHBOURHOODS:
            reach = side // 2
            rows = slice(max(row - reach, 0), row + reach + 1)
            columns = slice(max(column - reach, 0), column + reach + 1)
            parts.append(features[:, rows, columns].mean(dim=(1, 2)))
        estimate = self.layers(torch.cat(parts)[None, :, None, None])
        return _USUAL_LOG2_DIAMETER + float(estimate)

    def forward(self, image_embedding: Tensor) -> Tensor:
        """Estimate sizes.

        Parameters
        ----------
        image_embedding : Tensor, shape (N, C or more, rows, columns)
            From the image encoder; only the first C channels count.

        Returns
        -------
        Tensor, shape (N, 1, rows, columns)
            Binary logarithm of the diameter, in input pixels, of the disk that has the area of
            the object in this cell.
        """
        image_embedding = image_embedding[:, : self.embed_dim]
        means = [_mean_around(image_embedding, side) for side in NEIGHBOURHOODS]
        estimate: Tensor = self.layers(torch.cat([image_embedding, *means], dim=1))
        return _USUAL_LOG2_DIAMETER + estimate


def _mean_around(x: Tensor, side: int) -> Tensor:
    """Mean over the square around each cell, as far as the square lies inside the grid."""
    for kernel in ((side, 1), (1, side)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x
