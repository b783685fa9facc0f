import pytest
import torch

from napari_promptable.models.vit import ViTEncoder, join_windows, split_windows


@pytest.mark.parametrize("shape", [(2, 6, 9, 3), (1, 7, 5, 2), (3, 2, 2, 1)])
def test_join_windows_undoes_split_windows(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert torch.equal(join_windows(split_windows(x, 3), *shape[1:3]), x)


def test_windows_run_along_rows_and_are_padded_with_zeros() -> None:
    windows = split_windows(torch.arange(1.0, 13.0).reshape(1, 3, 4, 1), 2)
    assert windows[..., 0].tolist() == [
        [[1, 2], [5, 6]],
        [[3, 4], [7, 8]],
        [[9, 10], [0, 0]],
        [[11, 12], [0, 0]],
    ]


@pytest.mark.parametrize(("global_attn_indexes", "num_reached"), [((), 4), ((0,), 16)])
def test_only_global_attention_leaves_the_window(
    global_attn_indexes: tuple[int, ...], num_reached: int
) -> None:
    encoder = ViTEncoder(8, 1, 2, global_attn_indexes, image_size=64, window_size=2).eval()
    encoder.neck = torch.nn.Identity()
    image = torch.zeros(1, 3, 64, 64)
    touched = image.clone()
    touched[..., :16, :16] = 1  # the first patch of four rows of four
    with torch.inference_mode():
        changed = (encoder(touched) - encoder(image)).abs().sum(dim=1) > 0
    assert changed.sum() == num_reached
    assert changed[0, :2, :2].all()
