"""SAM 2's memory attention: an image embedding looks at memories of other frames.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1; axial rotary encoding from arXiv 2403.13298.
Token axes are named K (cells of the image embedding) and M (tokens of all memories).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.sam2.position import (
    axial_rotations,
    encode_grid,
    rotate,
)

_POSITION_SHARE = 0.1  # of the positional encoding, added to the first layer's input


class RotaryAttention(nn.Module):
    """Attention with one head, whose queries and keys are rotated by their place.

    Parameters
    ----------
    embed_dim : int
        Width C of queries and output.
    key_dim : int
        Width of keys and values before their projection.
    """

    def __init__(self, embed_dim: int, key_dim: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(key_dim, embed_dim)
        self.v_proj = nn.Linear(key_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, rotations: Tensor, num_unplaced: int = 0
    ) -> Tensor:
        """Let cells attend.

        Parameters
        ----------
        q : Tensor, shape (N, K, C)
            Cells of the image embedding.
        k, v : Tensor, shape (N, M, key_dim)
            Cells of this grid or of several of its size, then tokens that are on no grid.
        rotations : Tensor of complex64, shape (K, C / 2)
            See `axial_rotations`.
        num_unplaced : int
            How many of the last keys are on no grid, and are not rotated.

        Returns
        -------
        Tensor, shape (N, K, C)
            What the cells have found.
        """
        queries, keys = self.place(q, k, rotations, num_unplaced)
        heads = [x[:, None] for x in (queries, keys, self.v_proj(v))]
        attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.out_proj(attended[:, 0])  # type: ignore[no-any-return]

    def place(
        self, q: Tensor, k: Tensor, rotations: Tensor, num_unplaced: int
    ) -> tuple[Tensor, Tensor]:
        """Project queries and keys, and rotate all that are on a grid. See `forward`."""
        queries, keys = self.q_proj(q), self.k_proj(k)
        num_placed = keys.shape[1] - num_unplaced
        placed = rotate(keys[:, :num_placed], rotations)
        return rotate(queries, rotations), torch.cat([placed, keys[:, num_placed:]], dim=1)


class MemoryAttentionLayer(nn.Module):
    """Cells attend to each other, then to the memories, then a perceptron.

    Parameters
    ----------
    embed_dim, memory_dim, mlp_dim : int
        Width C of the cells, width of the memories, hidden width of the perceptron.
    """

    def __init__(self, embed_dim: int, memory_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.self_attn: nn.Module = RotaryAttention(embed_dim, embed_dim)
        self.cross_attn_image: nn.Module = RotaryAttention(embed_dim, memory_dim)
        self.linear1 = nn.Linear(embed_dim, mlp_dim)
        self.linear2 = nn.Linear(mlp_dim, embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)

    def forward(
        self, cells: Tensor, keys: Tensor, values: Tensor, rotations: Tensor, num_unplaced: int
    ) -> Tensor:
        """Update cells (N, K, C) by memories (N, M, memory_dim), see `RotaryAttention`."""
        y = self.norm1(cells)
        cells = cells + self.self_attn(y, y, y, rotations)
        y = self.norm2(cells)
        cells = cells + self.cross_attn_image(y, keys, values, rotations, num_unplaced)
        y = self.linear2(F.relu(self.linear1(self.norm3(cells))))
        return cells + y  # type: ignore[no-any-return]


class MemoryAttention(nn.Module):
    """Condition an image embedding on the memory of an object.

    Parameters
    ----------
    embed_dim, memory_dim, mlp_dim, depth : int
        Widths of image embedding and memories, hidden width of the perceptrons, and number of
        layers.
    """

    def __init__(self, embed_dim: int, memory_dim: int, mlp_dim: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(embed_dim, memory_dim, mlp_dim) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(
        self, image_embedding: Tensor, memories: Tensor, positions: Tensor, num_pointers: int
    ) -> Tensor:
        """Let an image embedding look at memories.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, C, side, side)
            The coarsest level, without any memory.
        memories, positions : Tensor, shape (N, M, memory_dim)
            Tokens and their positional encoding: cells of grids of the same size, then tokens
            of object pointers.
        num_pointers : int
            How many of the tokens belong to pointers.

        Returns
        -------
        Tensor, shape (N, C, side, side)
            The image embedding, conditioned.
        """
        _, width, rows, columns = image_embedding.shape
        device = image_embedding.device
        rotations = axial_rotations(rows, width).to(device)
        places = encode_grid(rows, columns, width).to(device)
        cells = image_embedding.flatten(2).transpose(1, 2) + _POSITION_SHARE * places
        cells = cells.expand(len(memories), -1, -1)
        keys = memories + positions
        for layer in self.layers:
            cells = layer(cells, keys, memories, rotations, num_pointers)
        return self.norm(cells).transpose(1, 2).unflatten(2, (rows, columns))  # type: ignore[no-any-return]
