import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

from napari_promptable.errors import (
    CancelledError,
    CheckpointError,
    DeviceError,
    EmbeddingMismatchError,
    ImageFormatError,
    PromptError,
    UnknownModelError,
)
from napari_promptable.predict.load_model import choose_device, load_model
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import (
    PromptableModel,
    encode_image,
    predict_many,
    predict_masks,
)
from napari_promptable.predict.segment_each import segment_boxes, segment_points
from napari_promptable.prompts import PromptSet

SHAPE = (64, 80)
TOLERANCE = 1e-4
ONE_CLICK = PromptSet([[30, 36]])


@pytest.fixture(scope="module")
def embedding(random_tiny_model: PromptableModel):
    """Embedding of a noisy image of 64 × 80 pixels."""
    return encode_image(random_tiny_model, make_image(*SHAPE))


@pytest.fixture(scope="module")
def logits(random_tiny_model: PromptableModel, embedding) -> np.ndarray:
    """Low-res logits of an answer to one click."""
    return predict_masks(random_tiny_model, embedding, ONE_CLICK).low_res_logits[1]


@pytest.fixture(scope="module")
def weights_file(
    random_tiny_model: PromptableModel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """File with the weights of the random model."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    state = random_tiny_model.sam.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def make_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width))


def assert_equal(found: Prediction, expected: Prediction) -> None:
    np.testing.assert_allclose(found.low_res_logits, expected.low_res_logits, atol=TOLERANCE)
    np.testing.assert_allclose(found.predicted_iou, expected.predicted_iou, atol=TOLERANCE)
    assert (found.masks != expected.masks).mean() < 1e-4


# encoding


@pytest.mark.parametrize(
    ("shape", "input_size", "features_shape", "low_res_size"),
    [
        ((64, 80), (410, 512), (256, 52, 64), (205, 256)),
        ((512, 512), (512, 512), (256, 64, 64), (512, 512)),
        ((100, 800), (64, 512), (256, 32, 64), (100, 800)),  # not padded to a square
        ((800, 100, 3), (512, 64), (256, 64, 32), (800, 100)),
        ((40, 1), (512, 13), (256, 64, 32), (256, 6)),
        ((1, 3000), (1, 512), (256, 32, 64), (1, 1024)),
        ((1, 1), (512, 512), (256, 64, 64), (256, 256)),
        ((900, 1200), (384, 512), (256, 48, 64), (768, 1024)),
    ],
    ids=str,
)
def test_an_embedding_covers_the_image_and_little_more(
    random_tiny_model: PromptableModel,
    shape: tuple[int, ...],
    input_size: tuple[int, int],
    features_shape: tuple[int, ...],
    low_res_size: tuple[int, int],
) -> None:
    image = np.random.default_rng(0).random(shape)
    embedding = encode_image(random_tiny_model, image)
    assert embedding.original_size == shape[:2]
    assert embedding.input_size == input_size
    assert embedding.features.shape == features_shape
    assert embedding.features.dtype == np.float32
    assert embedding.features.transpose(1, 2, 0).flags.c_contiguous
    assert np.isfinite(embedding.features).all()
    assert embedding.model_id == random_tiny_model.model_id
    assert embedding.low_res_size == low_res_size
    centre = [[(shape[0] - 1) / 2, (shape[1] - 1) / 2]]
    prediction = predict_masks(random_tiny_model, embedding, PromptSet(centre))
    assert prediction.masks.shape == (3, *shape[:2])
    assert prediction.low_res_logits.shape == (3, *embedding.low_res_size)


def test_grey_is_the_same_as_rgb(random_tiny_model: PromptableModel) -> None:
    grey = make_image(*SHAPE)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    found = encode_image(random_tiny_model, grey, (0, 1)).features
    assert np.array_equal(found, encode_image(random_tiny_model, rgb, (0, 1)).features)
    assert np.array_equal(found, random_tiny_model.encode(grey, (0, 1)).features)


def test_contrast_limits_are_those_given(random_tiny_model: PromptableModel) -> None:
    image = make_image(*SHAPE)
    narrow = encode_image(random_tiny_model, image, (0.4, 0.6)).features
    clipped = encode_image(random_tiny_model, image.clip(0.4, 0.6), (0.4, 0.6)).features
    assert np.array_equal(narrow, clipped)
    assert not np.array_equal(narrow, encode_image(random_tiny_model, image).features)


def test_an_image_that_cannot_be_used_is_refused(random_tiny_model: PromptableModel) -> None:
    with pytest.raises(ImageFormatError, match=r"\(4, 8, 8\)"):
        encode_image(random_tiny_model, np.zeros((4, 8, 8)))


def test_encoding_can_be_cancelled(random_tiny_model: PromptableModel) -> None:
    questions = []

    def is_cancelled() -> bool:
        questions.append(None)
        return len(questions) == 5

    with pytest.raises(CancelledError):
        encode_image(random_tiny_model, make_image(*SHAPE), is_cancelled=is_cancelled)
    assert len(questions) == 5
    encode_image(random_tiny_model, make_image(*SHAPE))
    assert len(questions) == 5  # nothing asks any more


# predicting


@pytest.mark.parametrize(("multimask_output", "count"), [(True, 3), (False, 1)])
def test_a_prediction_is_in_image_pixels(
    random_tiny_model: PromptableModel, embedding, multimask_output: bool, count: int
) -> None:
    prediction = predict_masks(random_tiny_model, embedding, ONE_CLICK, multimask_output)
    assert prediction.masks.shape == (count, *SHAPE)
    assert prediction.masks.dtype == bool
    assert prediction.predicted_iou.shape == (count,)
    assert prediction.predicted_iou.dtype == np.float32
    assert prediction.low_res_logits.shape == (count, *embedding.low_res_size)
    assert prediction.low_res_logits.dtype == np.float32
    assert prediction.default == prediction.best == prediction.predicted_iou.argmax()


def test_many_are_the_same_as_one_by_one(
    random_tiny_model: PromptableModel, embedding, logits: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    prompts = [
        PromptSet([rng.uniform((0, 0), (63, 79))]) for _ in range(18)
    ]  # more than a batch
    prompts += [
        PromptSet([[5, 5], [9, 9]], [1, 0], box_yxyx=[2, 2, 20, 20]),
        PromptSet(mask_logits=logits),
        PromptSet([[5, 5], [60, 70], [8, 9]], [1, 0, 1]),
        PromptSet(box_yxyx=[2, 2, 20, 20]),
        PromptSet([[5, 5]], mask_logits=logits),
        PromptSet([[5, 5], [9, 9]], [1, 0]),
        PromptSet(box_yxyx=[-5, 10, 40, 200]),
        PromptSet([[20, 5]], mask_logits=-logits),
    ]
    rng.shuffle(prompts)  # type: ignore[arg-type]
    for multimask_output in (True, False):
        found = predict_many(random_tiny_model, embedding, prompts, multimask_output)
        assert len(found) == len(prompts)
        for prompt, prediction in zip(prompts, found, strict=True):
            alone = predict_masks(random_tiny_model, embedding, prompt, multimask_output)
            assert_equal(prediction, alone)
    answers = np.stack([prediction.low_res_logits for prediction in found])
    for number, other in combinations(range(len(prompts)), 2):
        assert np.abs(answers[number] - answers[other]).max() > 10 * TOLERANCE


def test_objects_of_one_kind_are_decoded_together(
    random_tiny_model: PromptableModel, embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, decode = [], random_tiny_model.sam.decode

    def count(features: object, points: torch.Tensor, *arguments: object) -> object:
        sizes.append(len(points))
        return decode(features, points, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(random_tiny_model.sam, "decode", count)
    box = PromptSet(box_yxyx=[2, 2, 20, 20])
    predict_many(
        random_tiny_model, embedding, [box, PromptSet([[5, 5]], box_yxyx=[2, 2, 20, 20])] * 10
    )
    assert sum(sizes) == 2 * 20  # once, and for the second look
    assert max(sizes) > 1


@pytest.mark.parametrize("multimask_output", [True, False])
def test_only_the_surest_mask_is_looked_at_again(
    random_tiny_model: PromptableModel,
    embedding,
    multimask_output: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = PromptSet(box_yxyx=[10, 10, 40, 50])
    twice = predict_masks(random_tiny_model, embedding, prompts, multimask_output)
    monkeypatch.setattr(random_tiny_model.sam, "with_second_look", False)
    once = predict_masks(random_tiny_model, embedding, prompts, multimask_output)
    difference = np.abs(twice.low_res_logits - once.low_res_logits).max(axis=(1, 2))
    assert np.flatnonzero(difference > TOLERANCE).tolist() == [once.best]
    assert np.flatnonzero(twice.predicted_iou != once.predicted_iou).tolist() == [once.best]


def test_no_prompts_are_no_predictions(random_tiny_model: PromptableModel, embedding) -> None:
    assert predict_many(random_tiny_model, embedding, []) == []


def test_logits_matter(
    random_tiny_model: PromptableModel, embedding, logits: np.ndarray
) -> None:
    first = predict_masks(random_tiny_model, embedding, ONE_CLICK)
    second = predict_masks(random_tiny_model, embedding, replace(ONE_CLICK, mask_logits=logits))
    assert np.abs(first.low_res_logits - second.low_res_logits).max() > 10 * TOLERANCE


def test_candidates_of_one_click_are_the_three_levels(
    random_tiny_model: PromptableModel, embedding
) -> None:
    found = predict_masks(random_tiny_model, embedding, ONE_CLICK, None)
    assert_equal(found, predict_masks(random_tiny_model, embedding, ONE_CLICK))
    assert found.default == found.best


def test_one_click_can_be_answered_like_a_clear_prompt(
    random_tiny_model: PromptableModel, embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_tiny_model.sam, "compares_levels", False)
    found = predict_masks(random_tiny_model, embedding, ONE_CLICK, None)
    clear = predict_masks(random_tiny_model, embedding, ONE_CLICK, multimask_output=False)
    assert (found.default, len(found)) == (0, 3)
    np.testing.assert_allclose(found.low_res_logits[0], clear.low_res_logits[0], atol=TOLERANCE)


def test_candidates_of_many_are_the_same_as_one_by_one(
    random_tiny_model: PromptableModel, embedding, logits: np.ndarray
) -> None:
    prompts = [
        ONE_CLICK,
        PromptSet(box_yxyx=[10, 10, 40, 50]),
        PromptSet([[5, 9]], mask_logits=logits),
        PromptSet([[50, 9]]),
        PromptSet(box_yxyx=[3, 4, 12, 20]),
    ]
    found = predict_many(random_tiny_model, embedding, prompts, None)
    assert [prediction.default for prediction in found[1:3]] == [0, 0]
    for prompt, prediction in zip(prompts, found, strict=True):
        alone = predict_masks(random_tiny_model, embedding, prompt, None)
        assert_equal(prediction, alone)
        assert prediction.default == alone.default
    assert predict_many(random_tiny_model, embedding, [], None) == []
    with pytest.raises(PromptError):
        predict_many(random_tiny_model, embedding, [ONE_CLICK, PromptSet([[5, 9]], [0])], None)


def test_candidates_of_a_clear_prompt_begin_with_its_answer(
    random_tiny_model: PromptableModel, embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_tiny_model.sam, "with_second_look", False)
    prompts = PromptSet(box_yxyx=[10, 10, 40, 50])
    found = predict_masks(random_tiny_model, embedding, prompts, None)
    single = predict_masks(random_tiny_model, embedding, prompts, multimask_output=False)
    levels = predict_masks(random_tiny_model, embedding, prompts)
    order = levels.predicted_iou.argsort()[::-1][:2]
    expected = np.concatenate([single.low_res_logits, levels.low_res_logits[order]])
    np.testing.assert_allclose(found.low_res_logits, expected, atol=TOLERANCE)
    assert found.masks.shape == (3, *SHAPE)
    assert found.default == 0


def test_threads_do_not_disturb_each_other(random_tiny_model: PromptableModel) -> None:
    shapes = [(64, 80), (30, 90), (90, 30), (50, 50)]
    start = threading.Barrier(2)

    def work(number: int) -> Prediction:
        image = make_image(*shapes[number], seed=number)
        embedding = encode_image(random_tiny_model, image)
        return predict_masks(random_tiny_model, embedding, PromptSet([[10 + number, 9]]))

    def work_together(number: int) -> Prediction:
        start.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work_together, range(4)))
    for number, prediction in enumerate(together):
        assert_equal(prediction, work(number))


def test_another_models_embedding_is_refused(
    random_tiny_model: PromptableModel, embedding
) -> None:
    foreign = replace(embedding, model_id="vit_b-123")
    for multimask_output in (True, False, None):
        with pytest.raises(EmbeddingMismatchError) as raised:
            predict_masks(random_tiny_model, foreign, ONE_CLICK, multimask_output)
        message = str(raised.value)
        assert "vit_b-123" in message
        assert random_tiny_model.model_id in message
        assert "encode the image" in message


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({}, "no foreground point"),
        ({"points_yx": [[5, 5]], "point_labels": [0]}, "no foreground point"),
        ({"points_yx": [[5, 5], [64, 5]]}, r"\(64\.0, 5\.0\) lies outside .* 64 × 80"),
        ({"points_yx": [[5, 80]]}, "lies outside"),
        ({"points_yx": [[-1, 5]]}, "lies outside"),
        ({"box_yxyx": [70, 0, 75, 5]}, r"box .* lies outside .* 64 × 80"),
        ({"box_yxyx": [0, -9, 5, -2]}, r"box .* lies outside"),
        ({"mask_logits": np.zeros((256, 256))}, r"\(256, 256\).* needs \(205, 256\)"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(
    random_tiny_model: PromptableModel, embedding, parts: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PromptError, match=problem):
        predict_many(random_tiny_model, embedding, [ONE_CLICK, PromptSet(**parts)])


@pytest.mark.parametrize(
    "parts",
    [
        {"points_yx": [[-0.5, -0.5], [63.5, 79.5]]},
        {"box_yxyx": [-20, -20, 90, 90]},
        {"box_yxyx": [3, 4, 3, 4]},
    ],
)
def test_prompts_on_the_border_are_answered(
    random_tiny_model: PromptableModel, embedding, parts: dict[str, Any]
) -> None:
    prediction = predict_masks(random_tiny_model, embedding, PromptSet(**parts))
    assert np.isfinite(prediction.low_res_logits).all()


# many boxes


def test_each_box_becomes_a_label(
    random_tiny_model: PromptableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict_boxes(
        model: object, embedding: Any, prompts: Any, multimask_output: bool
    ) -> list[Prediction]:
        assert not multimask_output
        predictions = []
        for prompt, confidence in zip(prompts, (0.5, 0.9, 0.7), strict=True):
            top, left, bottom, right = prompt.box_yxyx.astype(int)
            mask = np.zeros((1, *embedding.original_size), bool)
            mask[0, top : bottom + 1, left : right + 1] = True
            predictions.append(Prediction(mask, np.array([confidence]), mask.astype(float)))
        return predictions

    monkeypatch.setattr("napari_promptable.predict.segment_each.predict_many", predict_boxes)
    boxes = [[0, 0, 9, 9], [5, 5, 14, 14], [12, 12, 20, 20]]
    labels = segment_boxes(random_tiny_model, make_image(*SHAPE), boxes)
    assert (labels.shape, labels.dtype) == (SHAPE, np.int32)
    expected = np.zeros(SHAPE, np.int32)
    expected[0:10, 0:10] = 1
    expected[12:21, 12:21] = 3
    expected[5:15, 5:15] = 2  # the surest is on top
    assert np.array_equal(labels, expected)


def test_boxes_are_segmented_as_by_predict_masks(random_tiny_model: PromptableModel) -> None:
    image, box = make_image(*SHAPE), [10, 10, 40, 50]
    labels = segment_boxes(random_tiny_model, image, [box])
    embedding = encode_image(random_tiny_model, image)
    expected = predict_masks(random_tiny_model, embedding, PromptSet(box_yxyx=box), False)
    assert np.array_equal(labels == 1, expected.masks[0])


def test_no_boxes_are_no_labels(random_tiny_model: PromptableModel) -> None:
    labels = segment_boxes(random_tiny_model, make_image(*SHAPE), [])
    assert labels.shape == SHAPE
    assert not labels.any()


def test_malformed_boxes_are_refused(random_tiny_model: PromptableModel) -> None:
    for wrong in ([[5, 5, 0, 0]], [1, 2, 3, 4], [[70, 0, 75, 5]]):
        with pytest.raises(PromptError, match="box"):
            segment_boxes(random_tiny_model, make_image(*SHAPE), wrong)


def test_points_are_segmented_as_by_predict_masks(
    random_tiny_model: PromptableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, points = make_image(*SHAPE), [[12, 20], [30, 36], [50, 60]]
    embedding = encode_image(random_tiny_model, image)
    answers = [
        predict_masks(random_tiny_model, embedding, PromptSet([point])) for point in points
    ]
    expected, highest = np.zeros(SHAPE, np.int32), np.full(SHAPE, -np.inf)
    for number, answer in enumerate(answers, start=1):
        iou = answer.predicted_iou[answer.best]
        is_on_top = answer.masks[answer.best] & (iou > highest)
        expected[is_on_top], highest[is_on_top] = number, iou
    for at_once in (16, 2, 1):
        monkeypatch.setattr("napari_promptable.predict.segment_each._NUM_AT_ONCE", at_once)
        labels = segment_points(random_tiny_model, image, points, one_part=False)
        assert labels.dtype == np.int32
        assert (labels != expected).mean() < 1e-3
    row, column = points[0]
    kept = segment_points(random_tiny_model, image, points[:1])
    assert ndimage.label(kept)[1] == 1
    assert kept[row, column] == answers[0].masks[answers[0].best][row, column]
    assert not segment_points(random_tiny_model, image, []).any()
    with pytest.raises(PromptError, match="points must be finite"):
        segment_points(random_tiny_model, image, [1, 2])


# loading


@pytest.mark.parametrize("architecture", [None, "conv_tiny"])
def test_a_users_weights_are_loaded(
    random_tiny_model: PromptableModel, weights_file: Path, architecture: str | None
) -> None:
    model = load_model(weights_file, architecture=architecture, device="cpu")
    assert (model.name, model.architecture) == ("mine.safetensors", "conv_tiny")
    assert model.model_id.startswith("conv_tiny-")
    assert not model.sam.training
    assert load_model(str(weights_file), device="cpu").model_id == model.model_id
    found = encode_image(model, make_image(*SHAPE))
    expected = encode_image(random_tiny_model, make_image(*SHAPE))
    np.testing.assert_allclose(found.features, expected.features, atol=TOLERANCE)
    assert found.model_id == model.model_id


def test_other_weights_have_another_id(weights_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(weights_file)
    state["prompt_encoder.no_mask_embed.weight"] += 1
    changed = tmp_path / "mine.safetensors"
    save_file(state, changed)
    models = [load_model(path, device="cpu") for path in (weights_file, changed)]
    assert models[0].model_id != models[1].model_id


def test_a_registry_name_with_another_architecture_is_refused() -> None:
    with pytest.raises(UnknownModelError, match=r"tiny is a conv_tiny_2, not a vit_b"):
        load_model("tiny", architecture="vit_b")


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownModelError) as raised:
        load_model("vit_bb")
    message = str(raised.value)
    assert "'vit_bb'" in message
    assert "Did you mean 'vit_b'" in message
    assert "tiny" in message


@pytest.mark.parametrize("path", ["absent.pth", "absent.safetensors", "folder/absent.pt"])
def test_a_missing_file_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(CheckpointError, match="absent"):
        load_model(tmp_path / path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
        load_model(path)


def test_weights_of_another_architecture_are_refused(weights_file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'conv_tiny'.*'vit_b'"):
        load_model(weights_file, architecture="vit_b")
    with pytest.raises(UnknownModelError, match="vit_x"):
        load_model(weights_file, architecture="vit_x")


def test_weights_of_no_known_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UnknownModelError, match=r"other\.safetensors.*architecture="):
        load_model(path)


# devices


@pytest.fixture
def plain_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without any accelerator."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.mark.usefixtures("plain_computer")
def test_the_cpu_is_always_there() -> None:
    assert choose_device() == choose_device("auto") == choose_device("cpu")
    assert choose_device().type == "cpu"


@pytest.mark.usefixtures("plain_computer")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "meta", "gpu", ""])
def test_a_device_that_is_not_there_is_refused(device: str, weights_file: Path) -> None:
    for choose in (choose_device, lambda name: load_model(weights_file, device=name)):
        with pytest.raises(DeviceError) as raised:
            choose(device)
        message = str(raised.value)
        assert repr(device) in message
        assert "choose auto or one of cpu" in message


def test_an_accelerator_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device().type == "mps"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device().type == "cuda"
    assert choose_device("cuda:1").index == 1
    with pytest.raises(DeviceError, match="cuda:2"):
        choose_device("cuda:2")
