"""Fixtures that all tests share.

``disk_image``
    A float image, 64 × 80 pixels, with a bright disk of radius 12 around (row, col) (30, 36).
``make_fake_segmenter``, ``fake_segmenter``
    A `Segmenter` without a network: exact, instant, and it records its questions.
``random_tiny_model``
    The bundled architecture with random weights, for tests that need no good masks.
``tiny_model``
    The bundled model.
``quick_learning``
    Few and small crops per step of learning, for tests that need no good weights.
"""

import gc
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import FOREGROUND, PromptSet

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the modules and tests out of garbage collection, now and from then on.

    They stay until the end, and looking through them again and again took a quarter of the
    time of collecting the tests.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(0)  # if dask is imported while it is disabled, dask disables it for ever
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*thresholds)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first and window tests last.

    Three processes share the tests (scripts/run_tests.sh). Window tests are short and share no
    fixtures, so the process that is done first can take over any number of them.
    """
    items.sort(
        key=lambda item: (
            item.get_closest_marker("gui") is not None,
            "parity" not in item.path.parts,
        )
    )


DISK_CENTRE_YX, DISK_RADIUS = (30, 36), 12


class FakeSegmenter:
    """Paints a patch around each prompt and keeps its bright pixels.

    Candidates are patches of three sizes; earlier logits count for half of the answer.
    Logits have the resolution of the image, padded to a multiple of four.

    Attributes
    ----------
    num_encoded : int
        Calls of `encode`.
    questions : list of PromptSet
        Prompts passed to `predict_many`.
    batch_sizes : list of int
        Number of prompt sets in each call of `predict_many`.
    carries_masks : bool
        Whether it claims that masks of neighbouring slices suit it better than boxes.
    """

    radii = (4.0, 6.0, 9.0)
    predicted_iou = (0.6, 0.9, 0.7)

    def __init__(self) -> None:
        self.num_encoded = 0
        self.questions: list[PromptSet] = []
        self.batch_sizes: list[int] = []
        self.carries_masks = False

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> ImageEmbedding:
        """Fold the pixels themselves into sixteen channels."""
        self.num_encoded += 1
        height, width = image.shape[:2]
        plane = image.astype(np.float32).reshape(height, width, -1).mean(axis=2)
        plane = np.pad(plane, ((0, -height % 4), (0, -width % 4)), mode="edge")
        rows, columns = plane.shape[0] // 4, plane.shape[1] // 4
        cells = plane.reshape(rows, 4, columns, 4).transpose(1, 3, 0, 2)
        size = (height, width)
        features = cells.reshape(16, rows, columns)
        return ImageEmbedding(features, size, size, "fake", plane.shape, size)

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        """Answer each with three candidates; the second is the default of a single click."""
        self.batch_sizes.append(len(prompts))
        return [self._predict(embedding, question) for question in prompts]

    def _predict(self, embedding: ImageEmbedding, prompts: PromptSet) -> Prediction:
        self.questions.append(prompts)
        rows, columns = embedding.features.shape[1:]
        plane = embedding.features.reshape(4, 4, rows, columns).transpose(2, 0, 3, 1)
        plane = plane.reshape(4 * rows, 4 * columns)
        logits = np.stack([self._evidence(plane.shape, prompts, r) for r in self.radii])
        if prompts.mask_logits is not None:
            logits += prompts.mask_logits / 2
        logits[:, plane < plane.mean()] -= 100
        height, width = embedding.original_size
        return Prediction(
            logits[:, :height, :width] > 0,
            np.array(self.predicted_iou, np.float32),
            logits,
            1 if prompts.is_ambiguous else 0,
        )

    @staticmethod
    def _evidence(
        shape: tuple[int, int], prompts: PromptSet, radius: float
    ) -> npt.NDArray[np.float32]:
        """Positive near positive clicks and in the box, negative elsewhere."""
        grid = np.stack(np.indices(shape), axis=-1)
        evidence = np.full(shape, -radius)
        if prompts.box_yxyx is not None:
            top_left = np.floor(prompts.box_yxyx[:2])
            bottom_right = np.ceil(prompts.box_yxyx[2:])
            evidence[((grid >= top_left) & (grid <= bottom_right)).all(axis=-1)] = radius
        for point, label in zip(prompts.points_yx, prompts.point_labels, strict=True):
            closeness = radius - np.linalg.norm(grid - point, axis=-1)
            if label == FOREGROUND:
                evidence = np.maximum(evidence, closeness)
            else:
                evidence = np.where(closeness > 0, -3 * closeness, evidence)
        return evidence.astype(np.float32)


@pytest.fixture
def disk_image() -> npt.NDArray[np.float64]:
    """Float image with one bright disk."""
    rows, columns = np.indices((64, 80))
    distance = np.hypot(rows - DISK_CENTRE_YX[0], columns - DISK_CENTRE_YX[1])
    return np.where(distance <= DISK_RADIUS, 0.8, 0.1)


@pytest.fixture(scope="session")
def make_fake_segmenter() -> Callable[[], FakeSegmenter]:
    """Factory of segmenters without a network, for tests that need a fresh one per example."""
    return FakeSegmenter


@pytest.fixture
def fake_segmenter() -> FakeSegmenter:
    """Segmenter without a network."""
    return FakeSegmenter()


@pytest.fixture(scope="session")
def random_tiny_model():
    """Architecture of the bundled model with random weights, the same in each run."""
    import torch

    from napari_promptable.models.architectures import build_sam
    from napari_promptable.predict.predictor import PromptableModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = build_sam("conv_tiny").eval().requires_grad_(False)
        for parameter in sam.parameters():  # the usual initial weights hardly react to prompts
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return PromptableModel("tiny", "conv_tiny", "random", sam)


@pytest.fixture(scope="session")
def tiny_model():
    """The bundled model, on the CPU."""
    from napari_promptable.predict.load_model import load_model

    return load_model("tiny", device="cpu")


@pytest.fixture
def quick_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning on few and small crops, with a single step between old and new weights."""
    monkeypatch.setattr("napari_promptable.learning.learn.STEPS", (1.0,))
    monkeypatch.setattr("napari_promptable.learning.learn.MOST_MEASURED", 1)
    monkeypatch.setattr("napari_promptable.learning.learner.CHECKED_BATCHES", 1)
    for name, value in {"CROP_SIDE": 64, "CROPS_AT_ONCE": 2, "VIEWS_AT_LEAST": 4}.items():
        monkeypatch.setattr(f"napari_promptable.learning.sources.{name}", value)
