"""How well objects are carried through labelled volumes, from one or three prompted slices.

    python -m benchmarks.volumes [FOLDER …] [--synthetic] [--variants] [--only NAME …]
                                 [--objects N] [--json OUT.json]

A folder holds volumes NAME_img.tif with labels NAME_lbl.tif. Prompts are exact boxes: on the
slice where the object is largest, or on three slices, at the quarters of its extent. The mark
to reach is every slice with the exact box of its own. The figures are means over objects.
Variants of the steps are compared from one slice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.synthetic_volumes import make_volumes
from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.files.images import read_image
from napari_promptable.masks import PackedMask, mask_to_box_yxyx
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.anchors import answer_slices
from napari_promptable.propagation.chains import PropagatedMask, propagate_masks
from napari_promptable.propagation.parts import keep_parts
from napari_promptable.propagation.prompt_step import PromptStep
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.step import Sighting
from napari_promptable.propagation.volume import VolumeMasks

MIN_AREA = 20  # of an object on its largest slice, in pixels
MIDDLE, QUARTERS = "one slice", "three slices"
DEFAULT = PropagationSettings()
BOX = replace(DEFAULT, step_prompt="box")

VARIANTS: dict[str, PropagationSettings] = {
    "as it is": DEFAULT,
    "box": BOX,
    "exact box": replace(BOX, box_margin=0.0),
    "box 5 % wider": replace(BOX, box_margin=0.05),
    "box 6 % narrower": replace(BOX, box_margin=-0.06),
    "box and point": replace(DEFAULT, step_prompt="box and point"),
    "box and logits": replace(DEFAULT, step_prompt="box and logits"),
    "logits alone": replace(DEFAULT, step_prompt="logits"),
    "point alone": replace(DEFAULT, step_prompt="point"),
    "largest part": replace(DEFAULT, split="largest"),
    "overlapping part": replace(DEFAULT, split="overlapping"),
    "without looks": DEFAULT,
    "first candidate": DEFAULT,
    "no stop rules": replace(
        DEFAULT,
        lost_iou=0,
        min_predicted_iou=0,
        min_area=0,
        max_area=float("inf"),
        min_likeness=0,
    ),
    "no least likeness": replace(DEFAULT, min_likeness=0),
    "stop where touching": replace(DEFAULT, max_overlap=0.5),
}


@dataclass
class Case:
    """A volume with labels.

    Attributes
    ----------
    name : str
        Of the volume.
    image, labels : ndarray, shape (Z, Y, X)
        Pixels and objects.
    objects : tuple of int
        Ids of those that are large enough.
    embeddings : dict of int to ImageEmbedding
        By slice; kept for all variants.
    """

    name: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    objects: tuple[int, ...]
    model: PromptableModel
    embeddings: dict[int, ImageEmbedding] = field(default_factory=dict)

    def embed(self, position: int) -> ImageEmbedding:
        if position not in self.embeddings:
            self.embeddings[position] = self.model.encode(self.image[position])
        return self.embeddings[position]

    def truth(self, object_id: int, position: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self.labels[position] == object_id)

    def prompted(self, object_id: int, which: str) -> list[int]:
        """Slices on which an object is prompted."""
        areas = areas_of(self.labels, object_id)
        if which == MIDDLE:
            return [int(areas.argmax())]
        slices = np.flatnonzero(areas)
        return sorted({int(slices[round(q * (len(slices) - 1))]) for q in (0.25, 0.5, 0.75)})

    @cached_property
    def every_slice(self) -> dict[int, float]:
        """IoU by object when every slice has its exact box."""
        masks = VolumeMasks()
        for position in range(len(self.labels)):
            here = [i for i in self.objects if self.truth(i, position).any()]
            boxes = [
                PromptSet(box_yxyx=mask_to_box_yxyx(self.truth(i, position))) for i in here
            ]
            answers = self.model.predict_many(self.embed(position), boxes, None) if here else []
            for object_id, answer in zip(here, answers, strict=True):
                packed = PackedMask.pack(answer.mask(answer.default))
                predicted_iou = float(answer.predicted_iou[answer.default])
                masks.add(PropagatedMask(object_id, position, packed, predicted_iou, 1.0, 1.0))
        return self.ious(masks)

    def propagate(
        self, which: str, settings: PropagationSettings, kind: type[PromptStep] = PromptStep
    ) -> VolumeMasks:
        prompts = {
            i: {
                z: PromptSet(box_yxyx=mask_to_box_yxyx(self.truth(i, z)))
                for z in self.prompted(i, which)
            }
            for i in self.objects
        }
        length = len(self.labels)
        step = kind(self.model, settings)
        anchors = answer_slices(self.model, step, self.embed, length, prompts, settings)
        masks = VolumeMasks()
        for value in propagate_masks(step, self.embed, length, anchors, settings):
            masks.add(value)
        return masks

    def ious(self, masks: VolumeMasks, with_known_ends: bool = False) -> dict[int, float]:
        """3D IoU by object of the labels that are drawn, on all slices or on the object's."""
        drawn = np.zeros(self.labels.shape, np.int64)
        for position, plane in enumerate(drawn):
            masks.draw_labels(position, plane)
        ious = {}
        for object_id in self.objects:
            found, truth = drawn == object_id, self.labels == object_id
            if with_known_ends:
                found &= truth.any(axis=(1, 2), keepdims=True)
            ious[object_id] = np.count_nonzero(found & truth) / np.count_nonzero(found | truth)
        return ious

    def beyond_ends(self, masks: VolumeMasks) -> float:
        """Mean number of slices beyond an end of an object that get a mask."""
        counts = []
        for object_id in self.objects:
            slices = np.flatnonzero(areas_of(self.labels, object_id))
            found = [v.position for v in masks if v.object_id == object_id and v.is_present]
            if slices[0] > 0:
                counts.append(sum(position < slices[0] for position in found))
            if slices[-1] < len(self.labels) - 1:
                counts.append(sum(position > slices[-1] for position in found))
        return float(np.mean(counts)) if counts else 0.0


def areas_of(labels: npt.NDArray[Any], object_id: int) -> npt.NDArray[np.int64]:
    """Area of an object on each slice."""
    return np.count_nonzero(labels == object_id, axis=(1, 2))


def find_cases(arguments: argparse.Namespace, model: PromptableModel) -> Iterator[Case]:
    """Read the volumes, and make the synthetic ones."""
    volumes = [
        (file.image_path.stem, read_image(file.image_path), read_image(file.label_path))
        for folder in arguments.folders
        for file in find_labelled_files(folder, folder)
    ]
    if arguments.synthetic:
        volumes += make_volumes()
    for name, image, labels in volumes:
        if arguments.only and not any(name.startswith(start) for start in arguments.only):
            continue
        ids = [int(i) for i in np.unique(labels) if i]
        objects = [i for i in ids if areas_of(labels, i).max() >= MIN_AREA]
        if arguments.objects:
            objects = (
                np.random.default_rng(0).permutation(objects)[: arguments.objects].tolist()
            )
        yield Case(name, image, labels, tuple(sorted(objects)), model)


class StepWithoutLooks(PromptStep):
    """Expects the unchanged mask of the previous slice."""

    def _expect(self, previous: Sighting, embedding: ImageEmbedding) -> npt.NDArray[np.bool_]:
        return keep_parts(previous.mask, previous.mask, self._settings.split)


class StepToFirstCandidate(PromptStep):
    """Takes the candidate that the model offers."""

    def _choose(self, prediction: Prediction, expected: npt.NDArray[np.bool_]) -> Sighting:
        first = prediction.default
        return super()._choose(
            Prediction(
                prediction.mask(first)[None],
                prediction.predicted_iou[[first]],
                prediction.low_res_logits[[first]],
            ),
            expected,
        )


KINDS = {"without looks": StepWithoutLooks, "first candidate": StepToFirstCandidate}


def run_variant(case: Case, which: str, name: str) -> VolumeMasks:
    """Propagate with the settings of a variant, or with a part of a step left out."""
    return case.propagate(which, VARIANTS[name], KINDS.get(name, PromptStep))


def slice_iou(case: Case, value: PropagatedMask) -> float:
    """IoU of one mask with the object on its slice."""
    mask, truth = value.mask, case.truth(value.object_id, value.position)
    return float(np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth))


def rank_correlations(case: Case, masks: VolumeMasks) -> dict[str, float]:
    """Spearman's correlation of formulas of confidence with the IoU of each slice."""
    values = [value for value in masks if value.is_present and not value.is_anchor]
    iou = np.array([value.predicted_iou for value in values])
    stability = np.array([value.stability for value in values])
    agreement = np.array([value.agreement for value in values])
    true_iou = [slice_iou(case, value) for value in values]
    formulas = {
        "predicted IoU": iou,
        "stability": stability,
        "agreement": agreement,
        "predicted IoU × stability": iou * stability,
        "predicted IoU × agreement": iou * agreement,
        "stability × agreement": stability * agreement,
        "all three": iou * stability * agreement,
        "confidence": np.array([value.confidence for value in values]),
    }
    return {name: float(spearmanr(f, true_iou).statistic) for name, f in formulas.items()}


def summarise(ious: dict[int, float]) -> dict[str, float]:
    """Mean IoU and Dice over objects."""
    iou = np.array(list(ious.values()))
    return {"iou": float(iou.mean()), "dice": float((2 * iou / (1 + iou)).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--variants", action="store_true", help="compare prompts and rules too")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="volumes beginning like this")
    parser.add_argument("--objects", type=int, metavar="N", help="so many of each volume only")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    results: dict[str, Any] = {}
    for case in find_cases(arguments, model):
        result = results[case.name] = {"objects": len(case.objects)}
        result["every slice"] = summarise(case.every_slice)
        report(case.name, f"every slice ({len(case.objects)} objects)", result["every slice"])
        for which in (MIDDLE, QUARTERS):
            for name in VARIANTS if arguments.variants and which == MIDDLE else ["as it is"]:
                masks = run_variant(case, which, name)
                found = summarise(case.ious(masks)) | {"beyond": case.beyond_ends(masks)}
                result[f"{which}: {name}"] = found
                report(case.name, f"{which}: {name}", found)
                if name == "as it is":
                    found = summarise(case.ious(masks, with_known_ends=True))
                    result[f"{which}, with known ends"] = found
                    report(case.name, f"{which}, with known ends", found)
                    result[f"confidence, {which}"] = rank_correlations(case, masks)
                    print(json.dumps(result[f"confidence, {which}"], indent=1), flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1))


def report(case: str, name: str, figures: dict[str, float]) -> None:
    """Print a line."""
    line = f"{case:20}{name:34} IoU {figures['iou']:.3f}  Dice {figures['dice']:.3f}"
    if "beyond" in figures:
        line += f"  slices beyond an end {figures['beyond']:.2f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
