from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr

import napari_promptable as npp
from napari_promptable import cli
from napari_promptable.batch.segment import (
    propagate_document,
    room_for_labels,
    segment_document,
)
from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import PromptDocument, write_prompts
from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.samples.data import sample_labels, sample_path

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


def test_labels_of_a_large_stack_are_on_disk(stack_document, tiny_model, monkeypatch) -> None:
    stack = tifffile.imread(sample_path("nuclei_stack"))
    expected = segment_document(tiny_model, stack, stack_document)
    monkeypatch.setattr("napari_promptable.batch.segment._MAX_BYTES_IN_MEMORY", 0)
    with room_for_labels(stack.shape) as labels:
        segment_document(tiny_model, stack, stack_document, labels=labels)
        assert isinstance(labels, zarr.Array)
        assert np.array_equal(labels[...], expected)


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


def box_at(truth: np.ndarray, position: int, object_id: int) -> PlanePrompts:
    return PlanePrompts(boxes_yxyx=[mask_to_box_yxyx(truth[position] == object_id)])


@pytest.fixture(scope="module")
def few_slices():
    """Twelve slices of the stack, its labels, and prompts for two of the nuclei."""
    image = tifffile.imread(sample_path("nuclei_stack"))[Z - 6 : Z + 6]
    truth = sample_labels("nuclei_stack")[Z - 6 : Z + 6]
    ids, areas = np.unique(truth[6][truth[6] > 0], return_counts=True)
    chosen = [int(i) for i in ids[np.argsort(areas)[-2:]]]
    objects = {i: {(6,): box_at(truth, 6, i)} for i in chosen}
    last = max(z for z in range(12) if (truth[z] == chosen[-1]).any())
    objects[chosen[-1]][last,] = box_at(truth, last, chosen[-1])
    return image, truth, PromptDocument("stack", image.shape, (1, 2), "tiny", objects)


def test_absent_slices_agree_with_python(few_slices, tiny_model) -> None:
    image, truth, document = few_slices
    object_id = list(document.objects)[-1]
    box = document.objects[object_id][6,]
    click = interior_point_yx(truth[6] == object_id)

    def propagate(planes: dict) -> np.ndarray:
        marked = replace(document, objects={object_id: planes})
        return propagate_document(tiny_model, image, marked, PropagationSettings())

    absent = PlanePrompts([click], [0])
    labels = propagate({(6,): box, (7,): absent})
    assert propagate({(6,): box})[7].any()
    assert labels[6].any() and not labels[7:].any()
    prompts = {6: PromptSet(box_yxyx=box.boxes_yxyx[0]), 7: PromptSet([click], [0])}
    result = npp.propagate(tiny_model, image, {object_id: prompts})
    assert np.array_equal(result.labels, labels)


@pytest.fixture(scope="module")
def propagated(few_slices, tiny_model):
    """What Python makes of these prompts."""
    image, _, document = few_slices
    prompts = {
        object_id: {z: PromptSet(box_yxyx=p.boxes_yxyx[0]) for (z,), p in at.items()}
        for object_id, at in document.objects.items()
    }
    return npp.propagate(tiny_model, image, prompts)


def run_propagation(tmp_path, image, document, *options: str) -> np.ndarray:
    paths = [tmp_path / name for name in ("image.tif", "prompts.json", "labels.tif")]
    tifffile.imwrite(paths[0], image)
    write_prompts(document, paths[1])
    command = ["segment", str(paths[0]), str(paths[1]), "-o", str(paths[2])]
    assert cli.main([*command, "--propagate", "--device", "cpu", *options]) == cli.DONE
    return tifffile.imread(paths[2])


def test_python_and_the_command_line_propagate_alike(few_slices, propagated, tmp_path) -> None:
    image, truth, document = few_slices
    labels = run_propagation(tmp_path, image, document)
    assert labels.dtype == propagated.labels.dtype
    assert np.array_equal(labels, propagated.labels)
    ious = [mask_iou(labels == i, truth == i) for i in document.objects]
    assert np.mean(ious) > 0.5
    assert np.array_equal(run_propagation(tmp_path, image, document), labels)


def test_slices_may_lie_along_any_axis(few_slices, propagated, tmp_path) -> None:
    image, _, document = few_slices
    rolled = np.moveaxis(image, 0, 2)
    turned = replace(document, image_shape=rolled.shape, plane_axes=(0, 1))
    labels = run_propagation(tmp_path, rolled, turned)
    assert np.array_equal(np.moveaxis(labels, 2, 0), propagated.labels)


def test_one_axis_of_several_is_named(few_slices, propagated, tmp_path, capsys) -> None:
    image, _, document = few_slices
    movie = np.stack([np.zeros_like(image), image])  # TZYX
    objects = {
        object_id: {(1, *index): prompts for index, prompts in at.items()}
        for object_id, at in document.objects.items()
    }
    in_movie = replace(document, image_shape=movie.shape, plane_axes=(2, 3), objects=objects)
    labels = run_propagation(tmp_path, movie, in_movie, "--axis", "1")
    assert not labels[0].any()
    assert np.array_equal(labels[1], propagated.labels)
    command = [str(tmp_path / name) for name in ("image.tif", "prompts.json", "other.tif")]
    command[2:2] = ["-o"]
    for options in ([], ["--axis", "2"]):
        assert cli.main(["segment", *command, "--propagate", *options]) == cli.MISTAKE
        assert "axes 0, 1" in capsys.readouterr().err


def test_settings_come_from_the_prompts_and_the_options(few_slices, tmp_path, capsys) -> None:
    image, _, document = few_slices
    asked = replace(document, extra={"propagation": {"direction": "forward", "last": 8}})
    labels = run_propagation(tmp_path, image, asked)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [6, 7, 8]
    options = ["--slices", "4", "6", "--direction", "backward"]
    labels = run_propagation(tmp_path, image, asked, *options)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [4, 5, 6]
    unknown = replace(document, extra={"propagation": {"speed": 3}})
    write_prompts(unknown, tmp_path / "prompts.json")
    command = [str(tmp_path / name) for name in ("image.tif", "prompts.json", "other.tif")]
    command[2:2] = ["-o"]
    assert cli.main(["segment", *command, "--propagate"]) == cli.MISTAKE
    assert "'speed'" in capsys.readouterr().err
    assert cli.main(["segment", *command, "--direction", "forward"]) == cli.MISTAKE
    assert "--propagate" in capsys.readouterr().err


def test_a_single_image_has_nothing_to_propagate_through(tiny_model) -> None:
    document = PromptDocument("n", (40, 50), (0, 1), "tiny", {1: {(): PlanePrompts([[9, 9]])}})
    with pytest.raises(PromptError, match="no axis besides"):
        propagate_document(tiny_model, np.zeros((40, 50)), document, PropagationSettings())


def test_propagation_takes_embeddings_from_a_cache(tiny_model, tmp_path, monkeypatch) -> None:
    stack = tifffile.imread(sample_path("nuclei_stack"))[Z - 2 : Z + 3]
    truth = sample_labels("nuclei_stack")[Z]
    box = mask_to_box_yxyx(truth == np.bincount(truth.ravel())[1:].argmax() + 1)
    objects = {1: {(2,): PlanePrompts(boxes_yxyx=[box])}}
    document = PromptDocument("stack", stack.shape, (1, 2), "tiny", objects)
    expected = propagate_document(tiny_model, stack, document, PropagationSettings())

    room = zarr.create_array({}, shape=stack.shape, dtype=np.uint32)
    written = propagate_document(
        tiny_model, stack, document, PropagationSettings(), labels=room
    )
    assert written is room
    assert np.array_equal(room[:], expected)

    def propagate_again() -> np.ndarray:
        cache = npp.EmbeddingCache(store=npp.EmbeddingStore(tmp_path / "cache.zarr"))
        return propagate_document(
            tiny_model, stack, document, PropagationSettings(), cache=cache
        )

    assert np.array_equal(propagate_again(), expected)
    assert len(npp.EmbeddingStore(tmp_path / "cache.zarr")) > 1

    def never(*_args, **_kwargs):
        raise AssertionError("it is in the cache")

    monkeypatch.setattr("napari_promptable.predict.predictor.encode_image", never)
    monkeypatch.setattr("napari_promptable.predict.frames.encode_pixels", never)
    assert np.array_equal(propagate_again(), expected)
