"""Answers without a screen: ask the model, wait, and tell the session."""

from __future__ import annotations

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.plane_source import PlaneSource
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.segmenter import Segmenter


def answer_open_questions(
    session: SegmentationSession,
    segmenter: Segmenter,
    model_id: str,
    source: PlaneSource,
    cache: EmbeddingCache,
) -> None:
    """Answer all prompts of the current object here and now, as a script does."""
    for question in session.answers.open_questions():
        pixels = source.read(question.index, question.prompts.field)
        embedding = cache.embed(segmenter, model_id, pixels)
        session.answers.accept(question.resolve(segmenter, embedding))
