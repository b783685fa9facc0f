"""Every device of this machine gives the answers of the CPU, in both precisions."""

import numpy as np
import pytest
import torch

from napari_promptable.errors import DeviceError
from napari_promptable.files.images import read_image
from napari_promptable.masks import mask_iou, mask_to_box_yxyx
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import encode_image, predict_many
from napari_promptable.prompts import PromptSet
from napari_promptable.samples.data import sample_labels, sample_path

SAMPLE = "fluorescence_nuclei"
DEVICES = [
    "cpu",
    *["cuda"] * torch.cuda.is_available(),
    *["mps"] * torch.backends.mps.is_available(),
]


def predict(device: str, precision: str) -> tuple[str, list[Prediction]]:
    """Predict some objects of the sample from boxes and clicks; also return the model id."""
    model = load_model("tiny", device=device, precision=precision)
    truth = sample_labels(SAMPLE)
    boxes = [mask_to_box_yxyx(truth == label) for label in np.unique(truth)[1:7]]
    prompts = [PromptSet(box_yxyx=box) for box in boxes]
    prompts += [PromptSet([(box[:2] + box[2:]) / 2]) for box in boxes]
    embedding = encode_image(model, read_image(sample_path(SAMPLE)))
    assert embedding.features.dtype == np.float32
    return embedding.model_id, predict_many(model, embedding, prompts)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "least_iou"), [("float32", 0.999), ("bfloat16", 0.95)])
def test_masks_are_those_of_the_cpu(device: str, precision: str, least_iou: float) -> None:
    model_id, found = predict(device, precision)
    expected_id, expected = predict("cpu", "float32")
    assert (model_id == expected_id) == (precision == "float32")
    ious = [
        mask_iou(answer.mask(reference.best), reference.mask(reference.best))
        for answer, reference in zip(found, expected, strict=True)
    ]
    assert np.median(ious) >= least_iou
    assert all(answer.low_res_logits.dtype == np.float32 for answer in found)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"'float8' is unknown.*float32, bfloat16"):
        load_model("tiny", precision="float8")
