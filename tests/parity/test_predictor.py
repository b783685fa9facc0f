"""From an image and prompts to masks: the same as the reference's ``SamPredictor``."""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import (
    PromptableModel,
    encode_image,
    predict_many,
    predict_masks,
)
from napari_promptable.prompts import PromptSet
from napari_promptable.transforms import image_to_model_xy, resized_shape

EMBEDDING_TOLERANCE = 1e-4
LOGITS_TOLERANCE = 1e-3

SHAPES = {
    "square": (256, 256),
    "wide": (150, 400),
    "tall": (400, 150),
    "tiny": (30, 40),
    "large": (2000, 3000),
}

CENTRE = "point in the centre"

# Positions are (row, col) in units of the image's sides, boxes are (top, left, bottom, right).
PROMPTS: dict[str, dict[str, Any]] = {
    CENTRE: {"points": [(0.5, 0.5)], "labels": [1]},
    "one point": {"points": [(0.4, 0.6)], "labels": [1]},
    "positive and negative points": {
        "points": [(0.4, 0.6), (0.1, 0.2), (0.7, 0.5)],
        "labels": [1, 0, 1],
    },
    "box": {"box": (0.2, 0.3, 0.7, 0.8)},
    "box and points": {
        "points": [(0.4, 0.6), (0.6, 0.4)],
        "labels": [1, 0],
        "box": (0.2, 0.3, 0.7, 0.8),
    },
    "points and earlier logits": {
        "points": [(0.4, 0.6), (0.6, 0.4)],
        "labels": [1, 0],
        "with_logits": True,
    },
    "box and earlier logits": {"box": (0.2, 0.3, 0.7, 0.8), "with_logits": True},
    "earlier logits alone": {"with_logits": True},
}


class Reference:
    """The reference's predictor with an image, which it encodes and asks only once."""

    def __init__(self, name: str, network: Any, image: np.ndarray) -> None:
        package = "mobile_sam" if name == "vit_t" else "segment_anything"
        self.predictor = importlib.import_module(package).SamPredictor(network)
        self.predictor.set_image(image)
        self.image = image
        self.features = self.predictor.get_image_embedding()[0].detach().numpy()
        self.answer = functools.cache(self._answer)

    def prompt(self, kind: str) -> dict[str, Any]:
        """Parts of one of `PROMPTS` on this image, in (row, col)."""
        parts = PROMPTS[kind]
        size = np.array(self.predictor.original_size) - 1
        prompt = {"points": None, "labels": None, "box": None, "logits": None}
        if "points" in parts:
            prompt |= {"points": np.array(parts["points"]) * size, "labels": parts["labels"]}
        if "box" in parts:
            prompt["box"] = np.array(parts["box"]) * np.tile(size, 2)
        if parts.get("with_logits", False):
            prompt["logits"] = self.answer(CENTRE, multimask_output=True)[2][1:2]
        return prompt

    def _answer(self, kind: str, multimask_output: bool) -> tuple[np.ndarray, ...]:
        """Logits in image pixels, predicted IoU, low-res logits."""
        prompt = self.prompt(kind)
        points, labels, box = prompt["points"], prompt["labels"], prompt["box"]
        return self.predictor.predict(
            point_coords=None if points is None else points[:, ::-1].copy(),
            point_labels=None if points is None else np.array(labels),
            box=None if box is None else box[[1, 0, 3, 2]],
            mask_input=prompt["logits"],
            multimask_output=multimask_output,
            return_logits=True,
        )


class Compared(NamedTuple):
    """The reference and our model with the same image."""

    reference: Reference
    model: PromptableModel
    embedding: ImageEmbedding


@pytest.fixture(scope="module")
def make_reference(make_pair: Callable, make_image: Callable) -> Callable[..., Reference]:
    """Function from an architecture and the shape of an image."""

    @functools.cache
    def make(name: str, shape: tuple[int, int]) -> Reference:
        return Reference(name, make_pair(name).reference, make_image(*shape))

    return make


@pytest.fixture(scope="module")
def compare(
    make_pair: Callable, prepare: Callable, make_reference: Callable
) -> Callable[..., Compared]:
    """Function from an architecture and the shape of an image; compares the embeddings."""

    @functools.cache
    def encode(name: str, shape: tuple[int, int]) -> Compared:
        model = PromptableModel(name, name, "test", prepare(make_pair(name)).ours)
        reference = make_reference(name, shape)
        embedding = encode_image(model, reference.image, contrast_limits=(0, 255))
        assert reference.features.std() > 0.5
        np.testing.assert_allclose(
            embedding.features, reference.features, rtol=0, atol=EMBEDDING_TOLERANCE
        )
        assert embedding.original_size == reference.predictor.original_size
        assert embedding.input_size == reference.predictor.input_size
        return Compared(reference, model, embedding)

    return encode


def check_prompt(compared: Compared, kind: str) -> None:
    """Compare both answers to one prompt."""
    reference, model, embedding = compared
    prompt = reference.prompt(kind)
    ours = PromptSet(prompt["points"], prompt["labels"], prompt["box"], prompt["logits"])
    for multimask_output in (True, False):
        full_logits, predicted_iou, low_res = reference.answer(kind, multimask_output)
        assert np.std(low_res) > 0.1
        found = predict_masks(model, embedding, ours, multimask_output)
        check_answer(found, full_logits, predicted_iou, low_res)


def check_answer(
    found: Prediction, full_logits: np.ndarray, predicted_iou: np.ndarray, low_res: np.ndarray
) -> None:
    """Compare a prediction with the return values of the reference.

    Logits may differ within the tolerance, so only pixels that are this close to the threshold
    may lie on the other side of it.
    """
    assert found.masks.shape == full_logits.shape
    np.testing.assert_allclose(found.low_res_logits, low_res, rtol=0, atol=LOGITS_TOLERANCE)
    np.testing.assert_allclose(
        found.predicted_iou, predicted_iou, rtol=0, atol=LOGITS_TOLERANCE
    )
    differs = found.masks != (full_logits > Sam.mask_threshold)
    assert np.abs(full_logits - Sam.mask_threshold)[differs].max(initial=0) <= LOGITS_TOLERANCE


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", PROMPTS)
def test_small_vit(shape: tuple[int, int], kind: str, compare: Callable) -> None:
    check_prompt(compare("small_vit", shape), kind)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_several_boxes(shape: tuple[int, int], compare: Callable) -> None:
    reference, model, embedding = compare("small_vit", shape)
    predictor = reference.predictor
    size = np.array(embedding.original_size) - 1
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (18, 2, 2)), axis=1) * size  # more than a batch
    boxes_xyxy = torch.as_tensor(corners[..., ::-1].reshape(-1, 4).copy())
    transformed = predictor.transform.apply_boxes_torch(boxes_xyxy, predictor.original_size)
    full_logits, predicted_iou, low_res = predictor.predict_torch(
        point_coords=None,
        point_labels=None,
        boxes=transformed.float(),
        multimask_output=False,
        return_logits=True,
    )
    prompts = [PromptSet(box_yxyx=box) for box in corners.reshape(-1, 4)]
    found = predict_many(model, embedding, prompts, multimask_output=False)
    assert len(found) == len(full_logits)
    for number, prediction in enumerate(found):
        answer = (full_logits[number], predicted_iou[number], low_res[number])
        check_answer(prediction, *(part.numpy() for part in answer))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [("vit_t", SHAPES["wide"]), ("vit_t", SHAPES["tiny"]), ("vit_b", (1000, 700))],
    ids=["vit_t-wide", "vit_t-tiny", "vit_b"],
)
def test_full_size(name: str, shape: tuple[int, int], compare: Callable) -> None:
    for kind in PROMPTS:
        check_prompt(compare(name, shape), kind)


@pytest.mark.parametrize("shape", [*SHAPES.values(), (1023, 1024), (333, 777), (5, 3)], ids=str)
def test_sizes_and_positions(shape: tuple[int, int], reference_sam: Any) -> None:
    transforms = importlib.import_module("segment_anything.utils.transforms")
    points_yx = np.random.default_rng(0).uniform(0, shape, (50, 2))
    for longest_side in (256, 512, 1024):
        reference = transforms.ResizeLongestSide(longest_side)
        expected_size = reference.get_preprocess_shape(*shape, longest_side)
        assert resized_shape(shape, longest_side) == expected_size
        expected = reference.apply_coords(points_yx[:, ::-1], shape)
        found = image_to_model_xy(points_yx, shape, expected_size)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
