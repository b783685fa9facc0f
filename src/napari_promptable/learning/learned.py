"""The result of learning, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from napari_promptable.errors import CheckpointError, LearningError
from napari_promptable.files.writing import check_that_it_can_be_written, complete_file
from napari_promptable.learning.examples import ObjectKey
from napari_promptable.learning.figures import Figures, format_table
from napari_promptable.learning.found import Found
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.predict.predictor import PromptableModel

AUTOMATIC = "automatic"
"""Name of the figure for objects that are found without a prompt."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A model that learned, and its gain on objects it did not learn from.

    Attributes
    ----------
    model : PromptableModel
        The learned model; the one to start from if learning did not make it better.
    parent : PromptableModel
        The model to start from.
    before, after : Figures
        IoU of the held-out objects, each asked about with weights that did not learn from it;
        the learned model has the mean of these weights.
    step : float
        Share of the way from the old to the new weights, chosen on the held-out objects:
        0.25, 0.5 or 0.75; 0 if no step was better.
    objects : tuple of ObjectKey
        All objects that it learned from or that were held out.
    settings : LearningSettings
        How it learned.
    seconds : float
        How long it took, by the clock of `learn`.
    weights : mapping of str to Tensor
        The weights that differ from the parent's, empty if none do.
    found : tuple of two Found, or None
        How many held-out objects are found without a prompt, before and after; None if the
        model has no maps of all objects, or there are fewer than five objects.
    """

    model: PromptableModel
    parent: PromptableModel
    before: Figures
    after: Figures
    step: float
    objects: tuple[ObjectKey, ...]
    settings: LearningSettings
    seconds: float
    weights: Mapping[str, Tensor]
    found: tuple[Found, Found] | None = None

    @property
    def is_better(self) -> bool:
        """Whether there is a better model than before."""
        return self.step > 0

    def __str__(self) -> str:
        """Return a small table of the figures, and what they mean."""
        verdict = (
            f"{len(self.objects)} objects, {self.seconds:.0f} s, step {self.step:g}"
            if self.is_better
            else "not better than before: label more objects, or give more minutes"
        )
        scores = None
        if self.found is not None:
            before, after = self.found
            scores = (before.title, before.score, after.score)
        return f"{format_table(self.before, self.after, scores)}\n{verdict}"

    def figures(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures before and after by name, the automatic one among them."""
        before, after = self.before.to_dict(), self.after.to_dict()
        if self.found is not None:
            before[AUTOMATIC], after[AUTOMATIC] = (each.score for each in self.found)
        return before, after

    def save(self, path: str | Path) -> None:
        """Write the learned weights, complete or not at all.

        Parameters
        ----------
        path : str or Path
            File to write, with the ending .safetensors.

        Raises
        ------
        LearningError
            If the model is not better than before, or the file has another ending.
        CheckpointError
            If the file cannot be written.
        """
        path = Path(path)
        if not self.is_better:
            raise LearningError(
                f"{self.model.name} did not get better, so there is nothing to save; label "
                "more objects, or give more minutes"
            )
        check_weights_path(path)
        assert self.model.read_weights is not None
        tensors = {name: _stored(weight) for name, weight in self.model.read_weights().items()}
        with complete_file(path, CheckpointError) as temporary:
            try:
                safetensors.torch.save_file(tensors, temporary, self._metadata())
            except safetensors.SafetensorError as error:
                raise OSError(str(error)) from error

    def _metadata(self) -> dict[str, str]:
        """What the file says about itself."""
        before, after = self.figures()
        return {
            "architecture": self.model.architecture,
            "name": self.model.name,
            "model_id": self.model.model_id,
            "parent": self.parent.name,
            "parent_id": self.parent.model_id,
            "settings": json.dumps(self.settings.to_dict()),
            "objects": json.dumps([[key.example, key.label] for key in self.objects]),
            "before": json.dumps(before),
            "after": json.dumps(after),
            "step": json.dumps(self.step),
        }


def check_weights_path(path: Path) -> None:
    """Raise a `PromptableError` if weights cannot be written there. Leaves nothing."""
    if path.suffix != ".safetensors":
        raise LearningError(f"{path} has the ending {path.suffix!r}; use .safetensors")
    check_that_it_can_be_written(path)


def _stored(weight: Tensor) -> Tensor:
    """Half precision where nothing is lost by it."""
    if weight.is_floating_point():
        half = weight.half()
        if (half.float() == weight).all():
            return half.contiguous()
    return weight.contiguous()
