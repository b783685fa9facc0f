"""What learning from a few objects is worth, on kinds of images that the weights never saw.

    python -m benchmarks.learning DATA KIND [KIND ...] [--objects N] [--minutes M]

Objects are taken from the first images of a kind; one click, one correction and the exact box
are measured on the objects of others. The time is the process's own, on one thread. Images of
the tested kinds are never replayed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from skimage.segmentation import relabel_sequential

from napari_promptable.evaluation.evaluate import MIN_AREA
from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.learning.examples import Example
from napari_promptable.learning.figures import NAMES, Figures, measure
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.learn import learn
from napari_promptable.learning.replay import read_replay
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.transforms import to_rgb8
from training.validate import FIRST_DATASETS, sample_planes

IMAGES = 2  # that the objects are taken from
TEST_IMAGES, TEST_OBJECTS = 5, 6  # others, and objects of each
OLD_IMAGES, OLD_OBJECTS = 3, 2  # of each dataset that the weights were trained on


def read_kind(root: Path, kind: str) -> list[LabelledImage]:
    """Planes of a dataset with objects; of a stack only the middle one."""
    files = [file for file in find_labelled_files(root, root) if file.dataset == kind]
    images = []
    for number, file in enumerate(files):
        planes = list(file.planes())
        name, image, labels = planes[len(planes) // 2]
        if labels.any():
            labels = relabel_sequential(labels)[0].astype(np.int32)
            images.append(LabelledImage(kind, name, to_rgb8(image), labels, str(number)))
    return images


def keep_objects(image: LabelledImage, count: int, seed: int) -> LabelledImage:
    """Keep the labels of some objects only."""
    areas = np.bincount(image.labels.ravel())
    areas[0] = 0
    ids = np.random.default_rng(seed).permutation(np.flatnonzero(areas >= MIN_AREA))[:count]
    labels = np.where(np.isin(image.labels, ids), image.labels, 0)
    return LabelledImage(image.dataset, image.name, image.image, labels, image.source)


def choose_examples(images: list[LabelledImage], count: int, seed: int) -> list[Example]:
    """Label some objects of the first images, of more images where there are too few."""
    examples: list[Example] = []
    left = count
    for image in images:
        kept = keep_objects(image, min(left, -(-count // IMAGES)), seed)
        examples.append((kept.image, kept.labels))
        left -= len(np.unique(kept.labels)) - 1
        if left <= 0:
            break
    return examples


def read_old(root: Path) -> list[LabelledImage]:
    """Validation objects of the datasets that the first weights were trained on."""
    planes = sample_planes(root, OLD_IMAGES, OLD_OBJECTS)
    return [
        LabelledImage(p.dataset, "", to_rgb8(p.image), p.labels.astype(np.int32), str(n))
        for n, p in enumerate(planes)
        if p.dataset in FIRST_DATASETS
    ]


def measure_kind(
    root: Path,
    kind: str,
    model: PromptableModel,
    settings: LearningSettings,
    count: int,
    old: list[LabelledImage],
    old_before: Figures,
) -> dict[str, object]:
    """Learn from some objects of a kind, and measure on others before and after."""
    images = read_kind(root, kind)
    examples = choose_examples(images, count, settings.seed)
    others = images[len(examples) :]
    order = np.random.default_rng(0).permutation(len(others))[:TEST_IMAGES]
    test = [keep_objects(others[n], TEST_OBJECTS, 0) for n in order]
    replay = [image for image in read_replay() if image.dataset in FIRST_DATASETS]
    start = time.process_time()
    steps: list[int] = []
    learned = learn(
        model,
        examples,
        settings,
        lambda state: steps.append(state.step),
        replay=replay,
        clock=time.process_time,
    )
    seconds = time.process_time() - start
    print(learned, flush=True)
    result: dict[str, object] = {
        "kind": kind,
        "objects": len(learned.objects),
        "seconds": round(seconds),
        "steps": max(steps),
        "step": learned.step,
        "held out": learned.figures(),
    }
    pairs = {
        "test": (measure(model, test), measure(learned.model, test)),
        "old": (old_before, measure(learned.model, old)),
    }
    for name, figures in pairs.items():
        result[name] = [each.to_dict() for each in figures]
        print(kind, name, describe(*figures), flush=True)
    return result


def describe(before: Figures, after: Figures) -> str:
    """Figures before → after."""
    return ", ".join(
        f"{name} {getattr(before, name):.3f} → {getattr(after, name):.3f}" for name in NAMES
    )


def main() -> None:
    """Parse the command line, measure each kind and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with manifest.csv")
    parser.add_argument("kinds", nargs="+", help="datasets of the manifest")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--part", default="auto", help="auto, all or decoder")
    parser.add_argument("--model", default="tiny", help="name or weights file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", type=Path, help="file to append a line per kind to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model, device="cpu")
    changes = dict(pair.split("=") for pair in arguments.set)
    settings = LearningSettings(
        minutes=arguments.minutes,
        part=arguments.part,
        seed=arguments.seed,
        **{name: float(value) for name, value in changes.items()},
    )
    old = read_old(arguments.data)
    old_before = measure(model, old)
    for kind in arguments.kinds:
        result = measure_kind(
            arguments.data, kind, model, settings, arguments.objects, old, old_before
        )
        result |= {"part": arguments.part, "minutes": arguments.minutes} | changes
        print(json.dumps(result), flush=True)
        if arguments.json is not None:
            with open(arguments.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
