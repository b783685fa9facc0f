"""Maps of all objects of an image at once, from the image embedding alone.

SAM has no such part. The layout follows U-Net-like instance decoders (micro-sam's AIS,
Cellpose): foreground, borders, and the way from each pixel to the centre of its object.
"""

from torch import Tensor, nn
from torch.nn import functional as F

NUM_MAPS = 4
_UPSCALING = 4  # maps are as much finer than the embedding


class InstanceHead(nn.Module):
    """Two separable convolutions on the image embedding, then four maps at stride 2.

    Parameters
    ----------
    embed_dim : int
        Channels C of the image embedding.
    hidden_dim : int, default 96
        Width of the layers between.
    """

    def __init__(self, embed_dim: int, hidden_dim: int = 96) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.layers = nn.Sequential(
            *_separable_convolution(embed_dim, hidden_dim),
            *_separable_convolution(hidden_dim, hidden_dim),
            nn.Conv2d(hidden_dim, NUM_MAPS * _UPSCALING**2, 1),
        )

    def forward(self, image_embedding: Tensor) -> Tensor:
        """Compute the maps of all objects.

        Parameters
        ----------
        image_embedding : Tensor, shape (N, C or more, rows, columns)
            From the image encoder; only the first C channels count.

        Returns
        -------
        Tensor, shape (N, 4, 4 * rows, 4 * columns)
            Logits of foreground and of borders, row and column offset to the object's centre in
            radii of the disk that has the object's area.
        """
        maps = self.layers(image_embedding[:, : self.embed_dim])
        shuffled: Tensor = F.pixel_shuffle(maps, _UPSCALING)
        return shuffled


def _separable_convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A depthwise 3 × 3 convolution, batch normalisation, a pointwise convolution and GELU."""
    return [
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.Conv2d(in_channels, out_channels, 1),
        nn.GELU(),
    ]
