"""Tasks by case. The other tasks of a case are compared with its first.

"reference" is the code of the paper (package segment-anything) or of MobileSAM, with the same
random weights as "ours"; "public operations" is ours without oneDNN's private ones.
"""

from __future__ import annotations

import atexit
import copy
import importlib
import signal
import subprocess
import sys
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import napari_promptable as npp
from benchmarks import sam2_cases
from benchmarks.timing import Task
from napari_promptable.models.architectures import build_sam
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam import Sam
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.transforms import resized_shape
from tests.parity.reference import import_reference, randomize

GRID = 64  # cells of an image embedding of SAM


@cache
def load_pair(name: str) -> tuple[Any, Sam]:
    """The reference's model and ours, as trained."""
    package = import_reference("mobile_sam" if name == "vit_t" else "segment_anything")
    reference = package.sam_model_registry[name]()
    randomize(reference)
    ours = build_sam(name)
    ours.load_state_dict(reference.state_dict())
    return reference.eval(), ours.eval().requires_grad_(False)


def prepare(name: str, packed: bool | None = None) -> Sam:
    """Our model, prepared for inference."""
    return prepare_for_inference(copy.deepcopy(load_pair(name)[1]), packed)


def encode(name: str) -> dict[str, Task]:
    """Image encoder on 1024 × 1024 pixels."""
    reference, _ = load_pair(name)
    image = torch.randn(1, 3, 1024, 1024)
    encoders = {
        "reference": reference.image_encoder,
        "ours": prepare(name).image_encoder,
        "ours, public operations": prepare(name, packed=False).image_encoder,
    }
    return {task: partial(encoder, image) for task, encoder in encoders.items()}


def make_predictors(size: int) -> SimpleNamespace:
    """Both predictors of ViT-B with the same embedding of an image of `size` pixels."""
    reference, _ = load_pair("vit_b")
    segment_anything = importlib.import_module("segment_anything")
    features = torch.randn(1, 256, GRID, GRID, generator=torch.Generator().manual_seed(0))
    input_size = resized_shape((size, size), 1024)
    predictor = segment_anything.SamPredictor(reference)
    predictor.features, predictor.is_image_set = features, True
    predictor.original_size, predictor.input_size = (size, size), input_size
    channels_last = features.contiguous(memory_format=torch.channels_last)[0].numpy()
    embedding = npp.ImageEmbedding(
        channels_last, (size, size), input_size, "vit_b", (256, 256), (256, 256)
    )
    model = PromptableModel("vit_b", "vit_b", "vit_b", prepare("vit_b"))
    return SimpleNamespace(reference=predictor, model=model, embedding=embedding)


def click(size: int) -> dict[str, Task]:
    """One click, ViT-B, masks in image pixels: three, or the one that a user is shown."""
    both = make_predictors(size)
    position = size // 3
    prompts = npp.PromptSet([[position, position]])
    point = np.array([[position, position]])
    return {
        "reference": lambda: both.reference.predict(point, np.array([1])),
        "ours": lambda: best_mask(npp.predict_masks(both.model, both.embedding, prompts)),
        "ours, three masks": lambda: (
            npp.predict_masks(both.model, both.embedding, prompts).masks
        ),
    }


def best_mask(prediction: npp.Prediction) -> object:
    """Draw the mask of the highest predicted IoU."""
    return prediction.mask(prediction.best)


def boxes(count: int) -> dict[str, Task]:
    """Many boxes on one image of 1024 pixels, ViT-B, one mask each."""
    both = make_predictors(1024)
    corners = np.random.default_rng(0).uniform(0, 960, (count, 2))
    boxes_yxyx = np.concatenate([corners, corners + 63], axis=1).astype(np.float32)
    prompts = [npp.PromptSet(box_yxyx=box) for box in boxes_yxyx]
    boxes_xyxy = torch.from_numpy(boxes_yxyx[:, [1, 0, 3, 2]].copy())

    def ask_reference() -> object:
        return both.reference.predict_torch(None, None, boxes_xyxy, multimask_output=False)

    return {
        "reference": ask_reference,
        "ours": lambda: [
            prediction.mask(0)
            for prediction in npp.predict_many(both.model, both.embedding, prompts, False)
        ],
    }


def tiny(size: int) -> dict[str, Task]:
    """The bundled model on an image of `size` pixels, objects of a twentieth of it.

    The first click, or boxes, at a place also encode the tiles that they lie on; those that
    follow do not.
    """
    model = npp.load_model("tiny", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (size, size)).astype(np.uint8)
    embedding = npp.encode_image(model, image)
    prompt = npp.PromptSet([[size / 2, size / 2]])
    starts = np.random.default_rng(1).uniform(0, 0.95 * size, (32, 2))
    many = [
        npp.PromptSet(box_yxyx=box)
        for box in np.concatenate([starts, starts + size / 20], axis=1)
    ]
    return {
        "encode": lambda: npp.encode_image(model, image),
        "click": lambda: best_mask(npp.predict_masks(model, embedding, prompt, None)),
        "32 boxes": lambda: [
            prediction.mask(0) for prediction in npp.predict_many(model, embedding, many, False)
        ],
        "encode and first click": lambda: best_mask(
            npp.predict_masks(model, npp.encode_image(model, image), prompt, None)
        ),
    }


def busy_click() -> dict[str, Task]:
    """One click, ViT-B, 1024 pixels, while another process keeps a core busy, or sleeps."""
    tasks = click(1024)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    atexit.register(other.kill)

    def beside(task: Task, wakes: bool) -> object:
        if wakes:
            other.send_signal(signal.SIGCONT)
        try:
            return task()
        finally:
            other.send_signal(signal.SIGSTOP)

    other.send_signal(signal.SIGSTOP)
    return {
        "ours, busy": partial(beside, tasks["ours"], wakes=True),
        "ours, quiet": partial(beside, tasks["ours"], wakes=False),
        "reference, busy": partial(beside, tasks["reference"], wakes=True),
        "reference, quiet": partial(beside, tasks["reference"], wakes=False),
    }


CASES = {
    **sam2_cases.CASES,
    "encode vit_b": partial(encode, "vit_b"),
    "encode vit_t": partial(encode, "vit_t"),
    "encode vit_l": partial(encode, "vit_l"),
    "encode vit_h": partial(encode, "vit_h"),
    **{f"click {size}": partial(click, size) for size in (512, 1024, 2048, 4096)},
    **{f"{count} boxes": partial(boxes, count) for count in (1, 16, 64)},
    "busy click": busy_click,
    **{f"tiny {size}": partial(tiny, size) for size in (256, 512, 1024, 2048)},
}
