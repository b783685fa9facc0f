"""Which part of a plane the model is shown: what is in view, or what prompts need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.answers import Question
from napari_promptable.field_prompts import extent_of
from napari_promptable.fields import INPUT_SIDE, Field, FieldRule, with_margin
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.regions import visible_extent
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.loading import ModelLoading
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

_LEAST_SIDE = 4096  # of planes that a model is shown in parts if it magnifies by itself

Box = npt.NDArray[np.floating]


class Fields:
    """Chooses fields of view for the job's image and the model in use.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    loading : ModelLoading
        Holds the model.

    Attributes
    ----------
    is_whole : bool
        Whether the model is always shown the whole plane.
    """

    def __init__(self, workspace: Workspace, loading: ModelLoading) -> None:
        self._workspace, self._loading = workspace, loading
        self.is_whole = False

    def in_view(self) -> Field | None:
        """Return the field of what is in view. None is the whole plane."""
        job = self._workspace.job
        return None if job is None else self._choose(job, _view_of(job))

    def around(self, box_yxyx: Box | None) -> Field | None:
        """Return the field of what is in view, or a wider one that holds a box, too."""
        job = self._workspace.job
        if job is None:
            return None
        view = _view_of(job)
        if box_yxyx is not None:
            view = _unite(view, with_margin(box_yxyx, job.planes.plane_shape))
        return self._choose(job, view)

    def for_prompts(
        self, index: Index, prompts: PlanePrompts, former: PlanePrompts | None
    ) -> Field | None:
        """Choose the field for the current object's prompts on a plane.

        Parameters
        ----------
        index : Index
            The plane.
        prompts : PlanePrompts
            The prompts.
        former : PlanePrompts or None
            The object's prompts there before; their field stays if it holds these, too.
        """
        job, box = self._workspace.job, extent_of(prompts)
        if job is None or box is None:
            return None if former is None else former.field
        needed = with_margin(box, job.planes.plane_shape)
        if former is None:
            is_visible = index == self._workspace.visible_index()
            return self.around(box) if is_visible else self._choose(job, needed)
        field = former.field
        if self.is_whole or field is None or field.holds(needed):
            return self._choose(job, needed) if self.is_whole else field
        return self._choose(job, _unite(_box_of(field), needed))

    def for_object(self, object_id: int, index: Index) -> Field | None:
        """Choose the field in which an object in the labels is corrected."""
        job = self._workspace.job
        record = None if job is None else job.session.records.get(object_id, index)
        if record is None or record.extent is None:
            return self.in_view()
        rows, columns = record.extent
        return self.around(
            np.array([rows.start, columns.start, rows.stop - 1, columns.stop - 1], float)
        )

    def for_questions(self, questions: Sequence[Question]) -> list[Question]:
        """Give questions about a plane one field that holds all their prompts."""
        job = self._workspace.job
        boxes: dict[Index, Box] = {}
        for each in questions:
            box = extent_of(each.prompts)
            if box is not None:
                boxes[each.index] = _unite(boxes.get(each.index, box), box)
        if job is None:
            return list(questions)
        shape = job.planes.plane_shape
        fields = {i: self._choose(job, with_margin(box, shape)) for i, box in boxes.items()}
        return [
            replace(
                each,
                prompts=replace(each.prompts, field=fields.get(each.index)),
                plane_shape=shape,
            )
            for each in questions
        ]

    def whole(self) -> Field | None:
        """Return the field of the whole plane, or None if all its pixels are to be read."""
        job = self._workspace.job
        return None if job is None else self._rule(job).whole()

    def _choose(self, job: AnnotationJob, box: Box) -> Field | None:
        rule = self._rule(job)
        return rule.whole() if self.is_whole else rule.choose(box)

    def _rule(self, job: AnnotationJob) -> FieldRule:
        model, shape = self._loading.model, job.planes.plane_shape
        steps = job.source(None).steps
        if model is None or model.looks_closer:
            return FieldRule(shape, INPUT_SIDE, steps, _LEAST_SIDE)
        return FieldRule(shape, INPUT_SIDE, steps)


def describe_field(
    field: Field | None, plane_shape: tuple[int, int], pixel_size: float, unit: str
) -> str:
    """Say what the model is shown, and the size of a pixel of its input or its magnification.

    Examples
    --------
    >>> describe_field(None, (2048, 2048), 0.5, "µm")
    'whole plane, 1 µm/px'
    >>> describe_field(Field(0, 0, 512, 512), (4096, 4096), 1, "pixel")
    'field of view, 2×'
    """
    height, width = plane_shape if field is None else (field.height, field.width)
    is_whole = field is None or (height, width) == plane_shape
    zoom = INPUT_SIDE / max(height, width)
    size = f"{zoom:.2g}×" if unit == "pixel" else f"{pixel_size / zoom:.3g} {unit}/px"
    return f"{'whole plane' if is_whole else 'field of view'}, {size}"


def _view_of(job: AnnotationJob) -> Box:
    """First and last row and column in view."""
    return visible_extent(job.viewer, job.image, job.planes)


def _unite(first: Box, second: Box) -> Box:
    """Box around two boxes."""
    low, high = np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])
    return np.concatenate([low, high])


def _box_of(field: Field) -> Box:
    rows, columns = field.extent
    return np.array([rows.start, columns.start, rows.stop - 1, columns.stop - 1], float)
