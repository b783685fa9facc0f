"""SAM 2.1 from a weights file to masks, through everything between, at its published size."""

from pathlib import Path

import numpy as np
import pytest
import torch

import napari_promptable as npp
from napari_promptable.evaluation.evaluate import Protocol, evaluate_plane
from napari_promptable.models.architectures import build_sam
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import EmbeddingCache

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the smallest size, as the authors save theirs."""
    torch.manual_seed(0)
    model = build_sam("hiera_tiny")
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.layers[-1].bias, 5.0)
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> npp.PromptableModel:
    """The loaded model, prepared for this computer."""
    return npp.load_model(weights, device="cpu")


def test_a_file_is_recognised_and_its_embedding_survives_the_disk(
    model: npp.PromptableModel, tmp_path: Path
) -> None:
    assert model.architecture == "hiera_tiny"
    image = np.random.default_rng(0).integers(0, 65_535, (90, 160), dtype=np.uint16)
    first = EmbeddingCache(store=EmbeddingStore(tmp_path / "cache.zarr"))
    embedding = first.embed(model, model.model_id, image)
    again = EmbeddingCache(store=EmbeddingStore(tmp_path / "cache.zarr"))
    stored = again.embed(_NoModel(), model.model_id, image)
    assert embedding.features.shape == (1024, 64, 64)
    prompts = npp.PromptSet([[40, 52]], box_yxyx=[30, 40, 60, 70])
    masks, expected = (
        npp.predict_masks(model, each, prompts).masks for each in (stored, embedding)
    )
    assert masks.shape == (3, 90, 160)
    assert np.array_equal(masks, expected)


class _NoModel:
    """A segmenter that must not be asked."""

    def encode(self, *_: object, **__: object) -> npp.ImageEmbedding:
        raise AssertionError("the embedding is on disk")


def test_it_is_evaluated_like_any_model(model: npp.PromptableModel) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    labels = np.zeros((64, 64), np.int32)
    labels[10:30, 12:40] = 1
    [score] = evaluate_plane(model, image, labels, Protocol("box", corrections=1))
    assert score.area == 560
    assert 0 <= score.ious[0] <= score.oracle_iou <= 1
    assert len(score.ious) == 2
