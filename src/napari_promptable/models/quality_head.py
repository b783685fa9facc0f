"""Predict the IoU of masks from what lies under them.

SAM predicts all IoUs from one token, which never sees the masks that were drawn. This head
sees them: the features inside each mask and along its border, its sharpness and its area, and
how far the four masks agree.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PIXELS_PER_CELL = 4  # of the masks, along each side


class QualityHead(nn.Module):
    """Correct the predicted IoU of each mask by pooled features.

    The correction is zero before training, so that weights trained without this head keep
    their answers.

    Parameters
    ----------
    embed_dim : int
        Width C of tokens and cells.
    num_masks : int
        Number M of masks.
    hidden_dim : int, default 64
        Width of the layer between.
    """

    _NUM_SHAPE_FEATURES = 3

    def __init__(self, embed_dim: int, num_masks: int, hidden_dim: int = 64) -> None:
        super().__init__()
        inputs = 3 * embed_dim + self._NUM_SHAPE_FEATURES + num_masks
        self.hidden = nn.Linear(inputs, hidden_dim)
        self.activation = nn.GELU()
        self.output = nn.Linear(hidden_dim, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, logits: Tensor, image: Tensor, mask_tokens: Tensor) -> Tensor:
        """Compute the corrections.

        Parameters
        ----------
        logits : Tensor, shape (N, M, 4 * rows, 4 * columns)
            Unthresholded masks.
        image : Tensor, shape (N, C, rows, columns)
            Features of the cells.
        mask_tokens : Tensor, shape (N, M, C)
            Tokens that the masks were drawn with.

        Returns
        -------
        Tensor, shape (N, M)
            To be added to the predicted IoU.
        """
        probability = logits.detach().float().sigmoid()
        inside = F.avg_pool2d(probability, _PIXELS_PER_CELL).flatten(2)  # (N, M, K)
        edge = 4 * probability * (1 - probability)
        edge = F.avg_pool2d(edge, _PIXELS_PER_CELL).flatten(2)
        area, edge_length = inside.sum(dim=2) + 1e-3, edge.sum(dim=2) + 1e-3
        cells = image.float().flatten(2).transpose(1, 2)
        pooled = [
            (share / total[..., None]) @ cells
            for share, total in ((inside, area), (edge, edge_length))
        ]
        shape = torch.stack(
            [area.log(), edge_length.log() - area.log(), inside.amax(dim=2)], dim=2
        )
        features = [*pooled, mask_tokens.float(), shape, _overlaps(inside, area)]
        hidden = self.activation(self.hidden(torch.cat(features, dim=2)))
        correction: Tensor = self.output(hidden)
        return correction[..., 0]


def _overlaps(inside: Tensor, area: Tensor) -> Tensor:
    """Soft IoU of each mask with each other, shape (N, M, M)."""
    shared = inside @ inside.transpose(1, 2)
    squares = inside.square().sum(dim=2)
    union: Tensor = squares[:, :, None] + squares[:, None, :] - shared
    return shared / (union + 1e-3 * area[..., None])
