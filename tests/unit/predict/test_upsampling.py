import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from napari_promptable.predict.tiling import interpolate
from napari_promptable.predict.upsampling import split_axis, split_positions, upsample_masks

LOW_RES, PADDED = 64, 256


def upsample_as_sam(
    logits: torch.Tensor, input_size: tuple[int, int], original_size: tuple[int, int]
) -> torch.Tensor:
    """The two steps of the paper's code on whole maps."""
    pixels = F.interpolate(logits[None], (PADDED, PADDED), mode="bilinear")
    pixels = pixels[..., : input_size[0], : input_size[1]]
    return F.interpolate(pixels, original_size, mode="bilinear")[0]


def make_logits(rng: np.random.Generator) -> torch.Tensor:
    """Blobs of any size, some everywhere, some nowhere."""
    noise = ndimage.gaussian_filter(rng.normal(size=(LOW_RES, LOW_RES)), rng.uniform(0, 12))
    noise = noise / noise.std() + rng.normal(0, 2)
    return torch.from_numpy(10 * noise).float()[None]


@pytest.mark.parametrize("seed", range(20))
def test_masks_are_those_of_whole_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        original = rng.integers(1, 700, 2)
        scale = PADDED / original.max()
        height, width = (max(1, round(float(scale * side))) for side in original)
        logits, size = make_logits(rng), (int(original[0]), int(original[1]))
        expected = upsample_as_sam(logits, (height, width), size)
        masks = upsample_masks(logits, (PADDED, PADDED), (height, width), size, 0.0)
        is_clear = expected.abs() > 1e-4  # elsewhere rounding decides
        assert is_clear.float().mean() > 0.99
        assert torch.equal(torch.from_numpy(masks)[is_clear], (expected > 0)[is_clear])


def test_several_masks_and_none() -> None:
    logits = torch.full((3, LOW_RES, LOW_RES), -1.0)
    logits[1, 10:20, 30:40] = 1.0
    sizes = ((PADDED, PADDED), (PADDED, 200), (512, 400))
    masks = upsample_masks(logits, *sizes, 0.0)
    assert masks.shape == (3, 512, 400)
    assert masks.dtype == bool
    assert masks.any(axis=(1, 2)).tolist() == [False, True, False]
    rows, columns = (np.flatnonzero(masks[1].any(axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (80, 159)
    assert (columns[0], columns[-1]) == (240, 319)


@pytest.mark.parametrize("lengths", [(64, 256, 256, 900), (64, 256, 130, 40), (64, 256, 1, 1)])
def test_blocks_cover_the_axis_and_weights_add_up_to_one(
    lengths: tuple[int, int, int, int],
) -> None:
    blocks = split_axis(*lengths)
    pixels = [i for pixels, _, _ in blocks for i in range(pixels.start, pixels.stop)]
    assert pixels == list(range(lengths[-1]))
    for pixels_out, cells, weights in blocks:
        shape = (pixels_out.stop - pixels_out.start, cells.stop - cells.start)
        assert weights.shape == shape
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))


@pytest.mark.parametrize("count", [1, 2, 64])
def test_positions_are_interpolated_between_cells(count: int) -> None:
    generator = np.random.default_rng(count)
    positions = np.sort(generator.uniform(-1, count + 1, 600))
    values = generator.normal(size=(1, count)).astype(np.float32)
    expected = interpolate(values, positions, axis=1)[0]
    blocks = split_positions(7, positions, count)
    assert [block[0].start for block in blocks] == [7, 263, 519]
    assert blocks[-1][0].stop == 607
    for pixels, cells, weights in blocks:
        found = weights.numpy() @ values[0, cells]
        np.testing.assert_allclose(
            found, expected[pixels.start - 7 : pixels.stop - 7], atol=1e-5
        )
