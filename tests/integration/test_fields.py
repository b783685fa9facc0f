"""A field of view gives the labels that its pixels alone would give, by every way there is."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

import napari_promptable as npp
from napari_promptable.batch.segment import propagate_document, segment_document
from napari_promptable.fields import Field
from napari_promptable.files.prompts_json import format_prompts, parse_prompts
from napari_promptable.models.sam import build_vit_sam
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.samples.data import sample_path

FIELD = Field(48, 32, 128, 160)


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    return tifffile.imread(sample_path("nuclei_stack"))[10:13]


def brightest(pixels: np.ndarray) -> np.ndarray:
    """A click on a bright place of the middle slice, in its pixels."""
    blurred = pixels[1].astype(float)
    for axis in (0, 1):
        blurred = sum(np.roll(blurred, shift, axis) for shift in range(-4, 5))
    inner = blurred[20:-20, 20:-20]
    return np.array(np.unravel_index(inner.argmax(), inner.shape), float) + 20


def document_of(shape: tuple[int, ...], prompts: PlanePrompts) -> npp.PromptDocument:
    return npp.PromptDocument("stack", shape, (1, 2), "tiny", {1: {(1,): prompts}})


@pytest.mark.parametrize("is_propagated", [False, True])
def test_a_field_is_a_plane_of_its_own(tiny_model, stack, is_propagated) -> None:
    crop = stack[(slice(None), *FIELD.extent)]
    place = brightest(crop)
    box = np.array([*place - 8, *place + 8])
    corner = np.array([FIELD.top, FIELD.left], float)
    alone = PlanePrompts([place], boxes_yxyx=[box])
    moved = [*(box[:2] + corner), *(box[2:] + corner)]
    in_field = PlanePrompts([place + corner], boxes_yxyx=[moved], field=FIELD)

    def label(image: np.ndarray, prompts: PlanePrompts) -> np.ndarray:
        document = parse_prompts(format_prompts(document_of(image.shape, prompts)))
        if is_propagated:
            return propagate_document(tiny_model, image, document, PropagationSettings())
        return segment_document(tiny_model, image, document)

    labels = label(stack, in_field)
    expected = np.zeros_like(labels)
    expected[(slice(None), *FIELD.extent)] = label(crop, alone)
    assert expected[1].any()
    assert expected[0].any() == is_propagated
    np.testing.assert_array_equal(labels, expected)


def test_a_field_at_reduced_resolution_is_read_from_its_level(tiny_model, stack) -> None:
    large = stack.repeat(2, axis=1).repeat(2, axis=2)
    place = brightest(stack)
    field = replace(FIELD, top=0, left=0, height=large.shape[1], width=large.shape[2], step=2)
    prompts = PlanePrompts([2 * place + 0.5], field=field)
    document = document_of(large.shape, prompts)
    labels = segment_document(tiny_model, large, document, levels={2: stack})
    small = segment_document(tiny_model, stack, document_of(stack.shape, PlanePrompts([place])))
    assert small.any()
    np.testing.assert_array_equal(labels[:, 1::2, 1::2] > 0, small > 0)
    computed = segment_document(tiny_model, large, document)
    np.testing.assert_array_equal(computed, labels)


@pytest.fixture(scope="module")
def shallow_vit_b() -> PromptableModel:
    """ViT-B with its input of 1,024 pixels in patches of 16, but two narrow random blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = build_vit_sam(96, 2, 2, (1,)).eval().requires_grad_(False)
        for parameter in sam.mask_decoder.parameters():
            if parameter.ndim > 1:  # the usual initial weights hardly react to prompts
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return PromptableModel("tiny", "vit_b", "shallow", sam)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("model_name", ["random_tiny_model", "shallow_vit_b"])
def test_geometry_is_exact_in_a_field(request, model_name, step) -> None:
    """Encoding a field is encoding its pixels, and prompts land on them, for tiny and ViT-B."""
    model = request.getfixturevalue(model_name)
    image = np.random.default_rng(0).integers(0, 255, (96, 120), np.uint8)
    field = Field(16, 24, 64, 80, step)
    blocks = image[field.extent].reshape(64 // step, step, 80 // step, step)
    pixels = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    points = np.array([[30.5, 50.5], [60.5, 80.5]])
    document = npp.PromptDocument(
        "noise", image.shape, (0, 1), "tiny", {1: {(): PlanePrompts(points, field=field)}}
    )
    labels = segment_document(model, image, document)
    local = (points - [field.top, field.left] + 0.5) / step - 0.5
    alone = npp.PromptDocument(
        "noise", pixels.shape, (0, 1), "tiny", {1: {(): PlanePrompts(local)}}
    )
    expected = segment_document(model, pixels, alone)
    assert expected.any()
    rows, columns = (slice(part.start + step // 2, part.stop, step) for part in field.extent)
    np.testing.assert_array_equal(labels[rows, columns] > 0, expected > 0)
    labels[field.extent] = 0
    assert not labels.any()
