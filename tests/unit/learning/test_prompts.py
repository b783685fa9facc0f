from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_promptable.learning.carried import ABSENT_SHARE, choose_carried_masks, deform_mask
from napari_promptable.learning.corrections import choose_corrections
from napari_promptable.learning.crops import Crop
from napari_promptable.learning.prompts import (
    simulate_first_prompt,
    simulate_stroke,
)
from napari_promptable.models.prompt_encoder import FOREGROUND, PADDING

SIDE = 64


@pytest.fixture
def bar() -> np.ndarray:
    """Mask of a bar of 20 by 40 pixels."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:40, 10:50] = True
    return mask


@pytest.fixture
def make_crop(bar: np.ndarray) -> Callable[..., Crop]:
    """Function that makes crops with the bar as object 7, and perhaps a neighbouring slice."""

    def make(neighbour: np.ndarray | None = None, is_complete: bool = True) -> Crop:
        image = np.zeros((SIDE, SIDE, 3), np.float32)
        valid = np.ones((SIDE, SIDE), bool)
        return Crop(image, 7 * bar.astype(np.int32), valid, is_complete, neighbour)

    return make


def upsampled(logits: np.ndarray) -> np.ndarray:
    return np.kron(logits > 0, np.ones((2, 2), bool))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


# clicks, boxes and strokes


def test_first_prompts_are_boxes_and_points(bar: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    prompts = [simulate_first_prompt(bar, 1, rng) for _ in range(200)]
    points = [xy[0] for xy, codes in prompts if codes.tolist() == [FOREGROUND, PADDING]]
    boxes = [xy for xy, codes in prompts if codes.tolist() == [2, 3]]
    assert len(points) + len(boxes) == 200
    assert min(len(points), len(boxes)) > 60
    assert all(bar[int(y), int(x)] for x, y in points)
    np.testing.assert_allclose(np.mean(boxes, axis=0), [[10, 20], [49, 39]], atol=2)


def test_first_prompts_of_a_batch_have_equally_many_points(bar: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    prompts = [simulate_first_prompt(bar, 4, rng) for _ in range(20)]
    assert {codes.tolist()[-1] for _, codes in prompts} == {PADDING}
    assert {tuple(codes) for _, codes in prompts} == {
        (FOREGROUND,) * 4 + (PADDING,),
        (2, 3) + (PADDING,) * 3,
    }


def test_strokes_stay_in_their_region() -> None:
    ring = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2))
    region = (ring > 15) & (ring < 20)
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = simulate_stroke(region, 6, rng).astype(int)
        assert points.shape == (6, 2)
        assert region[points[:, 1], points[:, 0]].all()


@pytest.mark.parametrize("stroke_points", [1, 5])
def test_corrections_lie_in_the_error(bar: np.ndarray, stroke_points: int) -> None:
    objects = torch.from_numpy(np.stack([bar] * 20))
    answers = torch.from_numpy(np.stack([np.roll(bar, 10, axis=0)] * 20))
    generator = torch.Generator().manual_seed(0)
    points, codes = choose_corrections(objects, answers, stroke_points, generator)
    assert points.shape == (20, stroke_points, 2)
    assert (codes[:, 0] != PADDING).all()
    for (column, row), code in zip(points.reshape(-1, 2).int(), codes.ravel(), strict=True):
        if code != PADDING:
            assert objects[0, row, column] == (code == FOREGROUND)
            assert objects[0, row, column] != answers[0, row, column]
    nothing_wrong = choose_corrections(objects, objects, stroke_points, generator)
    assert (nothing_wrong[1] == PADDING).all()


def test_half_of_the_corrections_are_as_deep_in_the_error_as_possible() -> None:
    error = torch.zeros(200, SIDE, SIDE, dtype=torch.bool)
    error[:, 10:31, 10:31] = True
    generator = torch.Generator().manual_seed(0)
    points, _ = choose_corrections(error, torch.zeros_like(error), 1, generator)
    is_central = (points[:, 0] == 20).all(dim=1)
    assert 0.4 < is_central.float().mean() < 0.6


# carried masks


def test_deformed_masks_resemble_the_object(bar: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    ious = [iou(deform_mask(bar, rng), bar) for _ in range(50)]
    assert 0.5 < np.mean(ious) < 0.9
    assert max(ious) < 1


def test_some_carried_masks_are_of_absent_objects(
    bar: np.ndarray, make_crop: Callable[..., Crop]
) -> None:
    rng = np.random.default_rng(0)
    carried = [choose_carried_masks(make_crop(), 2, rng) for _ in range(200)]
    assert all(len(masks) == 1 for masks in carried)
    absent = [mask for (mask,) in carried if not mask.target.any()]
    assert 0.3 * ABSENT_SHARE < len(absent) / 200 < 2 * ABSENT_SHARE
    assert all(iou(upsampled(mask.logits), bar) < 0.1 for mask in absent)
    present = [mask for (mask,) in carried if mask.target.any()]
    assert all((mask.target == bar).all() for mask in present)


def test_incomplete_labels_have_no_absent_objects(make_crop: Callable[..., Crop]) -> None:
    rng = np.random.default_rng(0)
    crop = make_crop(is_complete=False)
    assert all(choose_carried_masks(crop, 1, rng)[0].target.any() for _ in range(60))


def test_masks_of_a_neighbouring_slice_are_carried(
    bar: np.ndarray, make_crop: Callable[..., Crop]
) -> None:
    neighbour = np.zeros((SIDE, SIDE), np.int32)
    neighbour[22:42, 14:54] = 7
    neighbour[50:60, 50:60] = 8  # ends before this slice
    rng = np.random.default_rng(0)
    found = [choose_carried_masks(make_crop(neighbour), 2, rng) for _ in range(20)]
    real = [masks for masks in found if len(masks) == 2]
    assert len(real) > 5
    for masks in real:
        present, absent = sorted(masks, key=lambda mask: -mask.target.sum())
        assert (present.target == bar).all()
        assert not absent.target.any()
        assert iou(upsampled(present.logits), neighbour == 7) > 0.9
        assert iou(upsampled(absent.logits), neighbour == 8) > 0.9
