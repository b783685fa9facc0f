"""Answers without a screen: ask the model, wait, and tell the session."""

from __future__ import annotations

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.planes import ReadPlane
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.segmenter import Segmenter


def answer_open_questions(
    session: SegmentationSession,
    segmenter: Segmenter,
    model_id: str,
    read_plane: ReadPlane,
    cache: EmbeddingCache,
) -> None:
    """Answer all prompts of the current object here and now, as a script does."""
    for question in session.answers.open_questions():
        embedding = cache.embed(segmenter, model_id, read_plane(question.index))
        session.answers.accept(question.resolve(segmenter, embedding))
