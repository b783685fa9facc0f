import numpy as np
import pytest
import tifffile
import zarr

from napari_promptable import cli
from napari_promptable.headless import segment_document
from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.prompt_document import PromptDocument, write_prompts
from napari_promptable.prompts import PlanePrompts
from napari_promptable.sample_data import sample_labels, sample_path

NUCLEI = "fluorescence_nuclei"
Z = 50


@pytest.fixture(scope="module")
def stack_document() -> PromptDocument:
    """Boxes around the four largest nuclei of one slice of the bundled stack."""
    truth = sample_labels("nuclei_stack")
    ids = np.argsort(np.bincount(truth[Z].ravel())[1:])[::-1][:4] + 1
    objects = {
        int(i): {(Z,): PlanePrompts(boxes_yxyx=[mask_to_box_yxyx(truth[Z] == i)])} for i in ids
    }
    return PromptDocument("stack", truth.shape, (1, 2), "tiny", objects)


def test_a_slice_of_a_stack_is_segmented(stack_document, tmp_path, capsys) -> None:
    prompts, output = tmp_path / "prompts.json", tmp_path / "labels.tif"
    write_prompts(stack_document, prompts)
    image = sample_path("nuclei_stack")
    assert cli.main(["segment", str(image), str(prompts), "-o", str(output)]) == cli.DONE
    labels, truth = tifffile.imread(output), sample_labels("nuclei_stack")
    assert labels.shape == truth.shape
    assert not np.delete(labels, Z, axis=0).any()
    ious = [mask_iou(labels[Z] == i, truth[Z] == i) for i in stack_document.objects]
    assert np.mean(ious) > 0.6
    assert "4 objects" in capsys.readouterr().out


def test_other_axes_and_rgb_give_the_same_object(stack_document, tiny_model, tmp_path) -> None:
    stack = tifffile.imread(sample_path("nuclei_stack"))
    rolled = np.moveaxis(stack, 0, 2)  # slices along the last axis
    objects = stack_document.objects
    document = PromptDocument("rolled", rolled.shape, (0, 1), "tiny", objects)
    labels = segment_document(tiny_model, stack, stack_document)
    assert labels[Z].any()
    assert np.array_equal(segment_document(tiny_model, rolled, document)[..., Z], labels[Z])
    rgb = np.repeat(stack[..., None], 3, axis=-1)
    assert np.array_equal(segment_document(tiny_model, rgb, stack_document), labels)


def test_planes_without_prompts_are_not_needed(stack_document, tiny_model, tmp_path) -> None:
    stack = tifffile.imread(sample_path("nuclei_stack"))
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=stack.shape, chunks=(1, 100, 100), dtype="u1"
    )
    store[Z] = stack[Z]

    class Recorder:
        shape = stack.shape
        regions: list = []  # noqa: RUF012

        def __getitem__(self, region):
            self.regions.append(region)
            return store[region]

    recorder = Recorder()
    segment_document(tiny_model, recorder, stack_document)
    assert {region[0] for region in recorder.regions} == {Z}


def test_objects_keep_what_earlier_ones_have(tiny_model) -> None:
    truth = sample_labels("fluorescence_nuclei")
    point = PlanePrompts([interior_point_yx(truth == 12)])
    document = PromptDocument(
        "n", truth.shape, (0, 1), "tiny", {5: {(): point}, 3: {(): point}}
    )
    labels = segment_document(
        tiny_model, tifffile.imread(sample_path("fluorescence_nuclei")), document
    )
    assert set(np.unique(labels)) == {0, 5}
