"""Decoders of networks that see the whole plane learn on embeddings that are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from napari_promptable.errors import LearningError
from napari_promptable.learning.examples import read_examples
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.learn import learn
from napari_promptable.learning.learner import Learner, LearningState
from napari_promptable.learning.network import open_parent
from napari_promptable.learning.planes import PlaneSource, SharedEmbeddings
from napari_promptable.learning.process import open_cache
from napari_promptable.learning.settings import LearningSettings, TrainedPart
from napari_promptable.models import architectures
from napari_promptable.models.sam import build_vit_sam
from napari_promptable.models.sam2.hiera import HieraLayout
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.embedding_store import EmbeddingStore, kept_embeddings_path
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.transforms import to_rgb8

SIDE = 128
BUILDERS = {
    "small_vit": partial(build_vit_sam, 32, 2, 2, (1,), SIDE),
    "small_hiera": partial(Sam2, HieraLayout(16, 1, (1, 1, 1, 1), (2,)), SIDE),
}


class CountingModel(PromptableModel):
    """Counts how often it encodes."""

    def encode(self, *arguments, **options):
        counts.append(1)
        return super().encode(*arguments, **options)


counts: list[int] = []


@pytest.fixture(params=list(BUILDERS))
def model(request, monkeypatch) -> PromptableModel:
    """A network with random weights that sees whole planes."""
    monkeypatch.setattr(architectures, "_BUILDERS", {**architectures._BUILDERS, **BUILDERS})
    counts.clear()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = architectures.build_sam(request.param).eval().requires_grad_(False)
    weights = {name: weight.clone() for name, weight in sam.state_dict().items()}
    return CountingModel(request.param, request.param, "random", sam, lambda: dict(weights))


@pytest.fixture
def examples() -> list[tuple[np.ndarray, np.ndarray]]:
    """Two images of six disks each."""
    made = []
    for seed in (0, 1):
        rows, columns = np.indices((96, 144))
        labels = np.zeros(rows.shape, np.int32)
        for number, (row, column) in enumerate(np.ndindex(2, 3)):
            labels[np.hypot(rows - 24 - 48 * row, columns - 24 - 48 * column) < 16] = number + 1
        noise = np.random.default_rng(seed).normal(0, 0.1, labels.shape)
        made.append((0.2 + 0.5 * (labels > 0) + noise, labels))
    return made


@pytest.mark.usefixtures("quick_learning")
def test_no_plane_is_encoded_twice(model, examples) -> None:
    states: list[LearningState] = []
    cache = EmbeddingCache()
    settings = LearningSettings(minutes=600, max_steps=2)
    learned = learn(model, examples, settings, states.append, cache=cache)
    assert len(counts) == len(cache) == 2
    assert learned.parent is model
    assert [state.curve for state in states if state.phase == "learning"][-1]
    learn(model, examples, settings, cache=cache)
    assert len(counts) == 2, "a cache serves the next learning, too"


def held_out_losses(model: PromptableModel, examples, steps: int) -> list[float]:
    """Losses on two objects before and after some steps on the others."""
    read = read_examples(examples, False)
    held_out = read.objects[4:6]
    embed = SharedEmbeddings(model, EmbeddingCache())
    network = open_parent(model, TrainedPart.AUTO).make_network()
    sources = [
        PlaneSource(model, planes, embed)
        for planes in (read.without(held_out), read.only(held_out))
    ]
    learner = Learner(network, LearningSettings(learning_rate=2e-3), *sources)
    before = learner.held_out_loss()
    for number in range(steps):
        learner.step(number, 1.0)
    return [before, learner.held_out_loss()]


def test_the_decoder_learns_what_held_out_objects_look_like(model, examples) -> None:
    before, after = held_out_losses(model, examples, 30)
    assert after < 0.8 * before


def test_only_prompt_encoder_and_decoder_learn(model) -> None:
    parent = open_parent(model, TrainedPart.DECODER)
    network = parent.make_network()
    assert isinstance(network.image_encoder, torch.nn.Identity)
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learning
    assert all(n.startswith(("prompt_encoder.", "mask_decoder.")) for n in learning)
    assert not any("conv_s" in n for n in learning)
    assert not any(name.startswith("image_encoder.") for name in parent.weights)


def test_a_learned_model_has_the_very_encoder_of_its_parent(model, examples) -> None:
    parent = open_parent(model, TrainedPart.AUTO)
    changed = {
        name: weight + 0.01
        for name, weight in parent.weights.items()
        if name.startswith("mask_decoder.iou_prediction_head")
    }
    learned = parent.make_model(parent.between(changed, 1.0), "learned")
    assert learned.sam.image_encoder is model.sam.image_encoder
    assert learned.model_id != model.model_id
    assert learned.read_weights is not None
    assert learned.read_weights().keys() == model.sam.state_dict().keys()
    embedding = SharedEmbeddings(model, EmbeddingCache())(
        learned, np.zeros((20, 30, 3), np.uint8)
    )
    assert embedding.model_id == learned.model_id


def test_objects_that_the_network_cannot_see_are_refused(model) -> None:
    labels = np.zeros((1280, 1280), np.int32)
    labels[100:110, 100:110], labels[200:210, 100:110] = 1, 2
    plane = LabelledImage("a", "a", np.zeros((1280, 1280, 3), np.uint8), labels)
    embed = SharedEmbeddings(model, EmbeddingCache())
    with pytest.raises(LearningError, match="smaller images"):
        PlaneSource(model, [plane], embed)
    larger = np.kron(labels[:160, :160], np.ones((8, 8), np.int32))
    PlaneSource(model, [replace(plane, labels=larger)], embed)


def test_a_large_encoder_does_not_learn(model) -> None:
    with pytest.raises(LearningError, match="too large to learn"):
        open_parent(model, TrainedPart.ALL)


def test_the_process_takes_embeddings_that_the_widget_keeps(
    model, examples, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", str(tmp_path))
    assert open_cache().store is None
    plane = np.asarray(examples[0][0])
    widget = EmbeddingCache(store=EmbeddingStore(kept_embeddings_path()))
    widget.embed(model, model.model_id, plane)
    assert len(counts) == 1
    SharedEmbeddings(model, open_cache())(model, to_rgb8(plane))
    assert len(counts) == 1
