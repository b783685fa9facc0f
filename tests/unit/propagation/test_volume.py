"""Prompts on some slices → labels of a volume, on a segmenter without a network."""

import dask.array
import numpy as np
import pytest
import zarr

import napari_promptable as npp
from napari_promptable.errors import ImageFormatError, PromptError
from napari_promptable.masks import mask_to_box_yxyx
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.propagation.settings import PropagationSettings, StopReason
from napari_promptable.propagation.volume import propagate

SHAPE = (8, 30, 48)
EASY = PropagationSettings(box_margin=0.2, lost_iou=0.1)


def make_disk(centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.indices(SHAPE[1:])
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


@pytest.fixture
def truth() -> np.ndarray:
    """Two disks on slices 1 to 6; the second moves."""
    labels = np.zeros(SHAPE, int)
    for z in range(1, 7):
        labels[z][make_disk((10, 12), 5)] = 1
        labels[z][make_disk((20, 30 + z), 4)] = 2
    return labels


@pytest.fixture
def volume(truth: np.ndarray) -> np.ndarray:
    """Bright disks."""
    return np.where(truth > 0, 0.9, 0.1)


def box_of(truth: np.ndarray, z: int, object_id: int) -> PromptSet:
    return PromptSet(box_yxyx=mask_to_box_yxyx(truth[z] == object_id))


class Recorder:
    """An array that records every read."""

    def __init__(self, array) -> None:
        self._array, self.shape = array, array.shape
        self.read: list[int] = []

    def __getitem__(self, position: int):
        self.read.append(position)
        return self._array[position]


def test_one_object_gets_the_label_1(fake_segmenter, volume, truth) -> None:
    result = npp.propagate(fake_segmenter, volume, {3: box_of(truth, 3, 2)}, EASY)
    assert isinstance(result, npp.PropagationResult)
    assert result.labels.dtype == np.uint16
    assert np.array_equal(result.labels, truth == 2)
    [confidence] = result.confidence.values()
    assert confidence.dtype == np.float32
    assert np.flatnonzero(np.isnan(confidence)).tolist() == [0, 7]
    assert ((confidence[1:7] > 0) & (confidence[1:7] <= 1)).all()
    assert result.stops == {1: {0: StopReason.EMPTY, 7: StopReason.EMPTY}}


def test_many_objects_keep_their_ids(fake_segmenter, volume, truth) -> None:
    prompts = {70000: {3: box_of(truth, 3, 1)}, 5: {2: box_of(truth, 2, 2)}}
    result = propagate(fake_segmenter, volume, prompts, EASY)
    assert result.labels.dtype == np.uint32
    assert np.array_equal(result.labels, np.array([0, 70000, 5])[truth])
    assert set(result.confidence) == set(result.stops) == {70000, 5}


@pytest.mark.parametrize("kind", ["zarr", "dask", "nested lists", "rgb"])
def test_any_array_will_do(fake_segmenter, volume, truth, tmp_path, kind: str) -> None:
    array = {
        "zarr": lambda: zarr.array(volume, chunks=(1, 30, 48), store=tmp_path / "a.zarr"),
        "dask": lambda: dask.array.from_array(volume, chunks=(1, 30, 48)),
        "nested lists": volume.tolist,
        "rgb": lambda: np.repeat(volume[..., None], 3, axis=-1),
    }[kind]()
    result = propagate(fake_segmenter, array, {3: box_of(truth, 3, 2)}, EASY)
    assert np.array_equal(result.labels, truth == 2)


def test_slices_are_read_once_and_only_where_needed(fake_segmenter, volume, truth) -> None:
    recorder = Recorder(volume)
    prompts = {1: {2: box_of(truth, 2, 1), 5: box_of(truth, 5, 1)}, 2: {5: box_of(truth, 5, 2)}}
    settings = PropagationSettings(direction="forward", box_margin=0.2)
    propagate(fake_segmenter, recorder, prompts, settings)
    assert recorder.read == [2, 5, 3, 4, 6, 7]


def test_prompts_are_answered_as_in_the_widget(fake_segmenter, volume) -> None:
    clicks = PromptSet([[10, 12], [12, 14], [2, 2]], [1, 1, 0])
    one_slice = PropagationSettings(first=3, last=3)
    propagate(fake_segmenter, volume, {3: clicks}, one_slice)
    assert [len(question.points_yx) for question in fake_segmenter.questions] == [1, 2, 3]
    assert fake_segmenter.questions[2].mask_logits is not None


def test_logits_are_answered_at_once(fake_segmenter, volume, truth) -> None:
    logits = np.where(truth[3] == 1, 20, -20).astype(np.float32)
    logits = np.pad(logits, ((0, 2), (0, 0)), constant_values=-20)
    asked = PromptSet([[10, 12], [10, 13]], mask_logits=logits)
    result = propagate(fake_segmenter, volume, {3: asked}, PropagationSettings(first=3, last=3))
    assert fake_segmenter.questions == [asked]
    assert np.array_equal(result.labels[3], truth[3] == 1)


def test_the_chosen_candidate_starts_the_chain(fake_segmenter, volume) -> None:
    one_slice = PropagationSettings(first=3, last=3)
    areas = []
    for candidate in (0, None):
        prompts = {3: PlanePrompts([[10, 12]], candidate=candidate)}
        areas.append(propagate(fake_segmenter, volume, prompts, one_slice).labels.sum())
    assert areas[0] < areas[1]


def test_the_more_confident_object_is_on_top_and_anchors_above_all(fake_segmenter) -> None:
    volume = np.ones(SHAPE)
    left, right = PromptSet(box_yxyx=[5, 5, 20, 25]), PromptSet(box_yxyx=[5, 16, 20, 40])
    settings = PropagationSettings(direction="forward", box_margin=0)
    for prompts in ({1: {0: left}, 2: {2: right}}, {2: {0: left}, 1: {2: right}}):
        result = propagate(fake_segmenter, volume, prompts, settings)
        [right_id] = (i for i, at in prompts.items() if 2 in at)
        assert (result.labels[2, 5:21, 16:41] == right_id).all()
        tie = result.labels[4, 10, 20]  # both are equally confident: the lower id
        assert tie == 1


def test_progress_ends_with_the_total(fake_segmenter, volume, truth) -> None:
    reports: list[tuple[int, int]] = []
    propagate(
        fake_segmenter,
        volume,
        {3: box_of(truth, 3, 1)},
        EASY,
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports[-1] == (7, 7)


BOX = PromptSet(box_yxyx=[5, 5, 15, 15])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "at least one prompt"),
        ([BOX], "{slice: PromptSet}"),
        ({1: BOX, 2: {3: BOX}}, "{slice: PromptSet}"),
        ({1: {}}, "object 1 has no prompts"),
        ({8: BOX}, "slice 8; the volume has slices 0 to 7"),
        ({-1: BOX}, "slice -1"),
        ({"3": BOX}, "slice must be a whole number, not '3'"),
        ({0: {3: BOX}}, "object id 0"),
        ({2**32: {3: BOX}}, "ids are 1 to 4294967295"),
        ({1: {3: "box"}}, "object 1 on slice 3"),
        ({3: PromptSet([[5, 5]], [0])}, "do not say where"),
        ({3: PromptSet()}, "are empty"),
    ],
)
def test_wrong_prompts_are_refused(fake_segmenter, volume, prompts, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        propagate(fake_segmenter, volume, prompts)
    assert fake_segmenter.num_encoded == 0


@pytest.mark.parametrize("shape", [(30, 48), (2, 8, 30, 48), (0, 30, 48), (8, 30, 48, 2)])
def test_only_volumes_are_taken(fake_segmenter, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match=r"\(Z, Y, X\)"):
        propagate(fake_segmenter, np.zeros(shape), {0: BOX})


def test_background_points_alone_say_that_the_object_is_absent(
    fake_segmenter, volume, truth
) -> None:
    absent = PromptSet([[10, 12]], [0])
    prompts = {3: box_of(truth, 3, 1), 5: absent}
    result = propagate(fake_segmenter, volume, prompts, EASY)
    assert np.array_equal(result.labels[:5], truth[:5] == 1)
    assert not result.labels[5:].any(), "no chain passes the slice"
    assert np.isnan(result.confidence[1][5:]).all()


def test_an_absent_slice_between_two_prompted_ones_stays_empty(
    fake_segmenter, volume, truth
) -> None:
    prompts = {2: box_of(truth, 2, 1), 4: PromptSet([[10, 12]], [0]), 6: box_of(truth, 6, 1)}
    result = propagate(fake_segmenter, volume, prompts, EASY)
    expected = truth == 1
    expected[4] = False
    assert np.array_equal(result.labels > 0, expected)
