"""Prepared networks answer like those they are made from (and like SAM: see tests/parity)."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_promptable.models.architectures import build_sam
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.cpu.vit import group_windows
from napari_promptable.models.sam import Sam, build_vit_sam


@pytest.fixture(scope="module")
def small_vit_sam() -> Sam:
    return with_random_weights(build_vit_sam(64, 2, 2, global_attn_indexes=[1], image_size=256))


@pytest.fixture(scope="module")
def tiny_sam() -> Sam:
    return with_random_weights(build_sam("conv_tiny_2"))


@torch.no_grad()
def with_random_weights(sam: Sam) -> Sam:
    """Weights and statistics that all matter."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in sam.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                tensor.copy_(noise * tensor[0].numel() ** -0.5)
            else:
                tensor.copy_(0.1 * noise + (name.endswith(("weight", "running_var"))))
    return sam.eval().requires_grad_(False)


def answer(sam: Sam, batch: torch.Tensor, *, with_logits: bool) -> tuple[torch.Tensor, ...]:
    """Embedding and answers to two clicks on it."""
    embedding = sam.encode(batch)
    grid = embedding.shape[-2:]
    logits = 3 * torch.sin(torch.arange(2.0 * 16 * grid.numel())) if with_logits else None
    if logits is not None:
        logits = logits.reshape(2, 1, 4 * grid[0], 4 * grid[1])
    points = torch.tensor([[[20.0, 30.0], [90.0, 9.0]], [[70.0, 80.0], [4.0, 99.0]]])
    masks, predicted_iou = sam.decode(
        embedding, points, torch.tensor([[1, -1], [1, 0]]), logits
    )
    return embedding, masks, predicted_iou


@pytest.mark.parametrize("packed", [None, False], ids=["packed", "public"])
@pytest.mark.parametrize("with_logits", [False, True])
@pytest.mark.parametrize("kind", ["small_vit_sam", "tiny_sam"])
@torch.inference_mode()
def test_a_prepared_network_gives_the_same(
    kind: str, with_logits: bool, packed: bool | None, request: pytest.FixtureRequest
) -> None:
    sam: Sam = request.getfixturevalue(kind)
    prepared = prepare_for_inference(copy.deepcopy(sam), packed)
    size = 256 if kind == "small_vit_sam" else 192
    batch = 255 * torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = answer(sam, batch, with_logits=with_logits)
    assert all(tensor.std() > 0.01 for tensor in expected)
    found = answer(prepared, batch, with_logits=with_logits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_many_tokens_are_answered_too(small_vit_sam: Sam) -> None:
    prepared = prepare_for_inference(copy.deepcopy(small_vit_sam))
    generator = torch.Generator().manual_seed(2)
    embedding = torch.randn(1, 256, 16, 16, generator=generator)
    points = 256 * torch.rand(3, 40, 2, generator=generator)
    labels = torch.ones(3, 40, dtype=torch.int64)
    with torch.inference_mode():
        expected = small_vit_sam.decode(embedding, points, labels)
        found = prepared.decode(embedding, points, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_threads_do_not_share_work_memory(small_vit_sam: Sam) -> None:
    prepared = prepare_for_inference(copy.deepcopy(small_vit_sam))
    images = [
        255 * torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(seed))
        for seed in range(8)
    ]

    @torch.inference_mode()
    def encode(image: torch.Tensor) -> torch.Tensor:
        return prepared.encode(image)

    expected = [encode(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(encode, images))
            assert all(map(torch.equal, found, expected))


def test_windows_are_grouped_by_shape() -> None:
    groups = group_windows(grid_size=5, window_size=2, most_tokens=9)
    assert [tuple(group.shape) for group in groups] == [
        (2, 2, 2),
        (2, 2, 2),
        (2, 2, 1),
        (2, 1, 2),
        (1, 1, 1),
    ]
    assert groups[0].tolist() == [[[0, 1], [5, 6]], [[2, 3], [7, 8]]]
    cells = torch.cat([group.flatten() for group in groups])
    assert cells.sort().values.tolist() == list(range(25))


def test_a_window_larger_than_the_limit_is_a_group() -> None:
    assert len(group_windows(grid_size=4, window_size=2, most_tokens=1)) == 4


def test_work_memory_serves_any_mode(small_vit_sam: Sam) -> None:
    prepared = prepare_for_inference(copy.deepcopy(small_vit_sam))
    image = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        expected = prepared.encode(image)
    with torch.no_grad():
        assert torch.equal(prepared.encode(image), expected)
