import numpy as np
import pytest

import napari_promptable as npp
from napari_promptable.instances import stack, streaming
from napari_promptable.instances.automatic import AutomaticResult, default_settings
from napari_promptable.instances.place import check_place

SHAPE = (40, 50)
BOX, OTHER = (2, 2, 14, 14), (20, 20, 32, 32)


@pytest.fixture
def find_boxes(monkeypatch, make_found):
    """Find the listed boxes on each slice of a black volume with bright boxes."""

    def prepare(*boxes_by_slice):
        volume = np.zeros((len(boxes_by_slice), *SHAPE), np.uint8)
        results = iter(boxes_by_slice)

        def find(model, image, settings, *, region, labels, progress):
            objects = tuple(make_found(*box) for box in next(results))
            if progress is not None:
                progress(1, 1)
            settings = npp.AutomaticSettings() if settings is None else settings
            return AutomaticResult(objects, settings, check_place(SHAPE, region, labels))

        monkeypatch.setattr(stack, "find_objects", find)
        monkeypatch.setattr(streaming, "find_objects", find)
        for plane in volume:
            plane[2:14, 2:14] = 200
        return volume

    return prepare


def test_objects_run_through_the_stack(find_boxes, fake_segmenter) -> None:
    volume = find_boxes([BOX], [BOX, OTHER], [OTHER])
    calls = []
    result = npp.find_objects_in_stack(
        fake_segmenter, volume, progress=lambda *call: calls.append(call)
    )
    assert set(result.confidence) == {1, 2}
    assert (result.labels[:2, 2:14, 2:14] == 1).all()
    assert (result.labels[1:, 20:32, 20:32] == 2).all()
    assert np.isnan(result.confidence[1][2])
    assert calls[-1] == (3000, 3000)


def test_propagation_closes_a_gap_of_one_slice(find_boxes, fake_segmenter) -> None:
    volume = find_boxes([BOX], [], [BOX])
    result = npp.find_objects_in_stack(fake_segmenter, volume)
    assert (result.labels[1, 4:12, 4:12] == 1).all()
    assert not np.isnan(result.confidence[1]).any()


def test_existing_labels_stay_and_ids_follow_them(find_boxes, fake_segmenter) -> None:
    volume = find_boxes([BOX], [BOX])
    existing = np.zeros(volume.shape, np.uint8)
    existing[1, 30:, 30:] = 4
    labels = npp.generate_labels(fake_segmenter, volume, labels=existing)
    np.testing.assert_array_equal(labels[existing > 0], 4)
    assert set(np.unique(labels)) == {0, 4, 5}
    assert (labels[:, 2:14, 2:14] == 5).all()


def test_thresholds_act_on_all_slices(find_boxes, fake_segmenter) -> None:
    result = npp.find_objects_in_stack(fake_segmenter, find_boxes([BOX], [BOX]))
    assert not result.with_settings(npp.AutomaticSettings(min_confidence=0.95)).confidence


@pytest.mark.parametrize("with_labels", [False, True])
def test_a_stack_written_slice_by_slice_is_the_same(
    find_boxes, fake_segmenter, with_labels
) -> None:
    slices = [BOX], [BOX, OTHER], [OTHER], [BOX], [], [BOX, OTHER], []
    existing = np.zeros((len(slices), *SHAPE), np.uint8)
    existing[5, 30:, 30:] = 9
    labels = existing if with_labels else None
    expected = npp.generate_labels(fake_segmenter, find_boxes(*slices), labels=labels)
    written = np.zeros(existing.shape, np.uint32)
    task = streaming.Labelling(
        fake_segmenter, find_boxes(*slices), default_settings(fake_segmenter), labels=labels
    )
    count = streaming.write_objects(task, written)
    np.testing.assert_array_equal(written, expected)
    assert count == len(np.unique(expected[expected > (9 if with_labels else 0)]))
    assert (written[4, 4:12, 4:12] == written[3, 5, 5]).all(), "the gap is closed"


def test_labels_of_another_shape_are_refused(find_boxes, fake_segmenter) -> None:
    with pytest.raises(npp.LabelError, match=r"the shape \(2, 40, 50\) of the stack"):
        npp.find_objects_in_stack(
            fake_segmenter, find_boxes([BOX], [BOX]), labels=np.zeros(SHAPE, int)
        )
