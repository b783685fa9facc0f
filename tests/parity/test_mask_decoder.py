"""Our prompt encoder and mask decoder give the reference's masks and predicted IoUs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_promptable.models.prompt_encoder import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)

TOLERANCE = 1e-3
CENTRE = (0.5, 0.5)
BOXES = ((0.2, 0.3, 0.6, 0.7), (0.0, 0.0, 1.0, 1.0), (0.55, 0.1, 0.9, 0.4))

# Positions are (x, y) in units of the input's side, boxes are (x, y, x, y).
PROMPTS: dict[str, dict[str, Any]] = {
    "one point": {"points": [[CENTRE]], "labels": [[FOREGROUND]]},
    "point on the corner": {"points": [[(0.0, 0.0)]], "labels": [[FOREGROUND]]},
    "positive and negative points": {
        "points": [[(0.3, 0.4), (0.7, 0.35), (0.6, 0.9)]],
        "labels": [[FOREGROUND, BACKGROUND, FOREGROUND]],
    },
    "box": {"boxes": BOXES[:1]},
    "box and points": {
        "points": [[(0.3, 0.4), (0.5, 0.6)]],
        "labels": [[FOREGROUND, BACKGROUND]],
        "boxes": BOXES[:1],
    },
    "points and earlier logits": {
        "points": [[CENTRE, (0.1, 0.8)]],
        "labels": [[FOREGROUND, BACKGROUND]],
        "with_logits": True,
    },
    "box and earlier logits": {"boxes": BOXES[:1], "with_logits": True},
    "several boxes": {"boxes": BOXES},
    "several objects of one point": {
        "points": [[CENTRE], [(0.1, 0.2)], [(0.9, 0.9)]],
        "labels": [[FOREGROUND], [FOREGROUND], [BACKGROUND]],
    },
}


@pytest.mark.parametrize("name", ["small_vit", "vit_t"])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_decode(
    name: str, prompt: dict[str, Any], make_pair: Callable, prepare: Callable
) -> None:
    pair = prepare(make_pair(name))
    prompt_encoder = pair.ours.prompt_encoder
    generator = torch.Generator().manual_seed(3)
    grid = prompt_encoder.image_embedding_size
    embedding = torch.randn(1, 256, *grid, generator=generator)
    points, boxes = (
        torch.tensor(prompt[kind]) * pair.ours.image_size if kind in prompt else None
        for kind in ("points", "boxes")
    )
    labels = torch.tensor(prompt["labels"]) if "labels" in prompt else None
    logits = None
    if prompt.get("with_logits", False):
        logits = 4 * torch.randn(1, 1, 4 * grid[0], 4 * grid[1], generator=generator)

    with torch.inference_mode():
        expected, expected_iou = decode_with_reference(
            pair.reference, embedding, points, labels, boxes, logits
        )
        found, found_iou = pair.ours.decode(
            embedding, *join_prompts(points, labels, boxes), logits
        )

    assert expected.std() > 0.1
    assert 0.02 < (expected > 0).float().mean() < 0.98
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(found_iou, expected_iou, rtol=0, atol=TOLERANCE)


def decode_with_reference(
    model: Any,
    embedding: Tensor,
    points: Tensor | None,
    labels: Tensor | None,
    boxes: Tensor | None,
    logits: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """All four masks and predicted IoUs."""
    sparse, dense = model.prompt_encoder(
        points=None if points is None else (points, labels), boxes=boxes, masks=logits
    )
    image_pe = model.prompt_encoder.get_dense_pe()
    answer: tuple[Tensor, Tensor] = model.mask_decoder.predict_masks(
        embedding, image_pe, sparse, dense
    )
    return answer


def join_prompts(
    points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Points, then the corners of the box, or a padding point when there is none."""
    if boxes is None:
        assert points is not None
        corners = torch.zeros(len(points), 1, 2)
        codes = torch.tensor([PADDING]).expand(len(points), -1)
    else:
        corners = boxes.reshape(-1, 2, 2)
        codes = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]).expand(len(boxes), -1)
    if points is None or labels is None:
        return corners, codes
    return torch.cat([points, corners], dim=1), torch.cat([labels, codes], dim=1)
