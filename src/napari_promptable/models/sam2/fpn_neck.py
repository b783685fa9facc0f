"""SAM 2's feature pyramid: the stages of the trunk brought to one width.

Sources: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1; feature pyramid networks, arXiv 1612.03144.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FpnNeck(nn.Module):
    """Bring the three finest stages to one width, and add the coarsest to the third.

    The two finest levels get nothing from above: they keep their detail for the mask decoder.

    Parameters
    ----------
    input_dims : sequence of 4 int
        Channels of the stages, the finest first.
    output_dim : int
        Channels of each level.
    """

    def __init__(self, input_dims: Sequence[int], output_dim: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(  # the coarsest first, as in the published weights
            nn.Sequential(OrderedDict(conv=nn.Conv2d(width, output_dim, 1)))
            for width in reversed(input_dims)
        )

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Map the stages of the trunk to levels.

        Parameters
        ----------
        stages : sequence of 4 Tensor, shapes (N, C, H / 4, W / 4) to (N, 8 * C, H / 32, W / 32)
            From `Hiera`.

        Returns
        -------
        list of 3 Tensor, each of shape (N, output_dim, …)
            Levels at strides 4, 8 and 16.
        """
        fine, middle, coarse, coarsest = (
            conv(stage) for conv, stage in zip(reversed(self.convs), stages, strict=True)
        )
        return [
            fine,
            middle,
            coarse + F.interpolate(coarsest, scale_factor=2.0, mode="nearest"),
        ]
