"""SAM 2's memory encoder: an image embedding and a mask → a spatial memory.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1; blocks from ConvNeXt, arXiv 2201.03545.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import LayerNorm2d

_DOWNSAMPLINGS = 4  # each by 2: from pixels to the stride of the image embedding
_FIRST_GAIN = 1e-6  # of a block that is not trained yet


class MaskDownsampler(nn.Module):
    """Strided convolutions from a mask in input pixels to the grid of the image embedding.

    Parameters
    ----------
    embed_dim : int
        Channels of the result.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in range(_DOWNSAMPLINGS):
            channels = 4**step
            layers += [
                nn.Conv2d(channels, 4 * channels, 3, stride=2, padding=1),
                LayerNorm2d(4 * channels),
                nn.GELU(),
            ]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(4**_DOWNSAMPLINGS, embed_dim, 1))

    def forward(self, masks: Tensor) -> Tensor:
        """Map (N, 1, 16 * rows, 16 * columns) to (N, embed_dim, rows, columns)."""
        return self.encoder(masks)  # type: ignore[no-any-return]


class FuserBlock(nn.Module):
    """ConvNeXt block: depthwise convolution, layer norm, pointwise perceptron, gain.

    Parameters
    ----------
    channels : int
        Number of channels C, kept by the block.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), _FIRST_GAIN))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, rows, columns) to the same shape."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        fused: Tensor = x + y.permute(0, 3, 1, 2)
        return fused


class Fuser(nn.Module):
    """A few blocks that fuse the sum of image and mask.

    Parameters
    ----------
    channels, depth : int
        Width and number of blocks.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(channels) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, rows, columns) to the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Fuse an image embedding and a mask into a spatial memory of few channels.

    Parameters
    ----------
    embed_dim : int
        Channels of the image embedding.
    memory_dim : int
        Channels of the memory.
    """

    def __init__(self, embed_dim: int, memory_dim: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(embed_dim)
        self.pix_feat_proj = nn.Conv2d(embed_dim, embed_dim, 1)
        self.fuser = Fuser(embed_dim, depth=2)
        self.out_proj = nn.Conv2d(embed_dim, memory_dim, 1)

    def forward(self, image_embedding: Tensor, masks: Tensor) -> Tensor:
        """Remember masks.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, C, rows, columns)
            The coarsest level, without any memory.
        masks : Tensor, shape (N, 1, 16 * rows, 16 * columns)
            Scaled mask probabilities, see `Sam2.remember`.

        Returns
        -------
        Tensor, shape (N, memory_dim, rows, columns)
            Spatial memories.
        """
        x = self.pix_feat_proj(image_embedding) + self.mask_downsampler(masks)
        return self.out_proj(self.fuser(x))  # type: ignore[no-any-return]
