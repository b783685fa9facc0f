"""The convolutional image encoder of the bundled model ``tiny``."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import ConvBlock, LayerNorm2d, fold_patches


class ConvEncoder(nn.Module):
    """Four stages of residual convolutions, fused into one map of stride 8.

    The stages run at strides 4, 8, 16 and 32. A feature pyramid (arXiv 1612.03144) brings
    them to stride 8: the first stage is folded into channels (nothing is lost), the last two
    are repeated. Being convolutional, the encoder takes any input size that is a multiple of
    32 and needs no padding to a square.

    Parameters
    ----------
    widths : sequence of 4 int
        Channels of the stages.
    depths : sequence of 4 int
        Residual blocks of the stages.
    output_dim : int
        Channels C of the image embedding.
    detail_dim : int, default 0
        Channels D of the details at stride 4 that follow it.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 192, 320),
        depths: Sequence[int] = (2, 3, 6, 2),
        output_dim: int = 128,
        detail_dim: int = 0,
    ) -> None:
        super().__init__()
        half = widths[0] // 2
        self.stem = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1),
            nn.BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, widths[0], 3, stride=2, padding=1),
            nn.BatchNorm2d(widths[0]),
        )
        self.downsamplings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, m, 2, stride=2), nn.BatchNorm2d(m))
            for n, m in itertools.pairwise(widths)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*[ConvBlock(width) for _ in range(depth)])
            for width, depth in zip(widths, depths, strict=True)
        )
        lateral_widths = (4 * widths[0], *widths[1:])
        self.laterals = nn.ModuleList(nn.Conv2d(n, output_dim, 1) for n in lateral_widths)
        self.detail = nn.Conv2d(widths[0], detail_dim, 1) if detail_dim else None
        self.neck = nn.Sequential(
            nn.Conv2d(output_dim, output_dim, 3, padding=1), LayerNorm2d(output_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            Normalised images; H and W are multiples of 32.

        Returns
        -------
        Tensor, shape (N, C + 4 * D, H / 8, W / 8)
            Image embeddings; the last 4 * D channels are the details, 2 × 2 pixels a cell.
        """
        x = x.contiguous(
            memory_format=torch.channels_last
        )  # what depthwise kernels are fast on
        x = stride_4 = self.stages[0](self.stem(x))
        features = [F.pixel_unshuffle(x, 2)]
        for downsample, stage in zip(self.downsamplings, self.stages[1:], strict=True):
            x = stage(downsample(x))
            features.append(x)
        stride_8, stride_8b, stride_16, stride_32 = (
            lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)
        )
        fused = stride_8 + stride_8b
        fused = fused + F.interpolate(stride_16, scale_factor=2.0, mode="nearest")
        fused = fused + F.interpolate(stride_32, scale_factor=4.0, mode="nearest")
        embedding: Tensor = self.neck(fused)
        if self.detail is None:
            return embedding
        return torch.cat([embedding, fold_patches(self.detail(stride_4))], dim=1)
