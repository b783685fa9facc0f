"""SAM 2.1 in the widget: its memory carries objects through a stack."""

import numpy as np
import pytest
import torch

from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.predictor import PromptableModel, encode_image
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import propagate
from tests.parity.reference_sam2 import SMALL_LAYOUTS, SMALL_SIZE

pytestmark = pytest.mark.gui

CENTRE, ANCHOR, LENGTH = (30, 40), 2, 5
NEVER_STOPPING = {
    "lost_iou": 0.0,
    "min_predicted_iou": 0.0,
    "min_area": 0.0,
    "max_area": 1000.0,
    "min_likeness": 0.0,
}


@pytest.fixture(scope="module")
def small_sam2() -> PromptableModel:
    """A narrow network with random weights, which sees objects everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = Sam2(SMALL_LAYOUTS["hiera_tiny"], SMALL_SIZE).eval().requires_grad_(False)
    torch.nn.init.constant_(sam.mask_decoder.pred_obj_score_head.layers[-1].bias, 5.0)
    prepare_for_inference(sam)
    return PromptableModel("hiera_tiny", "hiera_tiny", "random", sam)


@pytest.fixture
def user(open_desk, make_disks, small_sam2, monkeypatch):
    """A desk with a stack, and one click on its middle slice."""
    monkeypatch.setattr(
        "napari_promptable.predict.load_model.load_model", lambda *_, **__: small_sam2
    )
    monkeypatch.setattr("napari_promptable.predict.predictor.encode_image", encode_image)
    disks = make_disks((LENGTH, 60, 80), [(z, *CENTRE) for z in range(LENGTH)], radius=12.0)
    user = open_desk(disks.image)
    user.viewer.dims.set_current_step(0, ANCHOR)
    user.wait_idle()
    for name, value in NEVER_STOPPING.items():
        user.control(name).setValue(value)
    user.push("one_part")
    user.click(user.on_plane(*CENTRE))
    assert user.preview_mask.any()
    return user


def test_memory_carries_an_object_as_in_python(user, small_sam2) -> None:
    user.propagate()
    by_memory, by_prompts = (
        propagate(
            small_sam2,
            user.image.data,
            {ANCHOR: PromptSet([CENTRE])},
            PropagationSettings(step=step, **NEVER_STOPPING),
        ).labels
        for step in ("memory", "prompts")
    )
    assert (by_memory > 0).any(axis=(1, 2)).all()
    assert np.array_equal(user.labels, by_memory)
    assert not np.array_equal(user.labels, by_prompts)
    user.push("undo")
    assert not user.labels.any()
    user.push("redo")
    assert np.array_equal(user.labels, by_memory)


def test_what_memory_found_before_it_was_cancelled_can_be_kept(user) -> None:
    user.push("propagate", wait=False)
    run = user.widget.controller.volume_actions._run
    user.wait_for(lambda: run.num_slices > 0)
    user.push("cancel", wait=False)
    user.wait_for(lambda: user.control("keep_propagated").isVisible())
    user.push("keep_propagated")
    kept = (user.labels > 0).any(axis=(1, 2))
    assert 0 < kept.sum() == run.num_slices
    user.push("undo")
    assert not user.labels.any()
