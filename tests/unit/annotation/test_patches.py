from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_promptable.annotation.patches import (
    LabelPatch,
    OverlapPolicy,
    apply_all,
    count_changes,
    join_extents,
    plan_commit,
    plan_relabel,
    revert_all,
)
from napari_promptable.errors import LabelError
from napari_promptable.masks import PackedMask, mask_region
from napari_promptable.planes import Index, PlaneAxes

SHAPE = (3, 7, 9)
PLANES = PlaneAxes(SHAPE, (1, 2))
LABELS = hnp.arrays(np.uint16, SHAPE, elements=st.integers(0, 3))
MASKS = hnp.arrays(bool, SHAPE[1:])
INDICES = st.tuples(st.integers(0, 2))
IDS = st.integers(1, 3)
KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.copy,
    "zarr": lambda labels: zarr.array(labels, chunks=(1, 4, 4)),
}


class RecordingLabels:
    """A labels array that remembers which regions were read and written."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.dtype = labels.dtype
        self.regions_read: list[Any] = []
        self.regions_written: list[Any] = []

    def __getitem__(self, region: Any) -> np.ndarray:
        self.regions_read.append(region)
        return self.labels[region]

    def __setitem__(self, region: Any, values: np.ndarray) -> None:
        self.regions_written.append(region)
        self.labels[region] = values


def make_mask(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE[1:], bool)
    mask[rows, columns] = True
    return mask


def plan(
    labels: Any,
    planes: PlaneAxes,
    index: Index,
    mask: np.ndarray,
    *arguments: Any,
    **options: Any,
) -> LabelPatch | None:
    return plan_commit(labels, planes, index, PackedMask.pack(mask), *arguments, **options)


def commit(labels: Any, *arguments: Any, **options: Any) -> LabelPatch | None:
    patch = plan(labels, PLANES, *arguments, **options)
    if patch is not None:
        patch.apply(labels)
    return patch


@pytest.mark.parametrize("kind", KINDS)
@given(before=LABELS, index=INDICES, mask=MASKS, object_id=IDS)
def test_keep_takes_no_pixel_of_others(
    kind: str, before: np.ndarray, index: tuple[int], mask: np.ndarray, object_id: int
) -> None:
    labels = KINDS[kind](before)
    commit(labels, index, mask, object_id)
    after = np.array(labels)
    is_new = np.zeros(SHAPE, bool)
    is_new[index] = mask & (before[index] == 0)
    assert (after[is_new] == object_id).all()
    assert np.array_equal(after[~is_new], before[~is_new])


@given(before=LABELS, index=INDICES, mask=MASKS, object_id=IDS)
def test_add_takes_no_pixel_of_anyone(
    before: np.ndarray, index: tuple[int], mask: np.ndarray, object_id: int
) -> None:
    labels = before.copy()
    everywhere = (slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    commit(labels, index, mask, object_id, OverlapPolicy.ADD, former=everywhere)
    assert np.array_equal(labels[before != 0], before[before != 0])
    assert (labels[index][mask & (before[index] == 0)] == object_id).all()


@given(before=LABELS, index=INDICES, object_id=IDS, new_id=st.integers(0, 255))
def test_relabelling_changes_one_object_only(
    before: np.ndarray, index: tuple[int], object_id: int, new_id: int
) -> None:
    labels = before.copy()
    patch = plan_relabel(labels, PLANES.region(index), object_id, new_id)
    is_object = np.zeros(SHAPE, bool)
    is_object[index] = before[index] == object_id
    assert (patch is None) == (not is_object.any())
    if patch is not None:
        patch.apply(labels)
        assert labels.dtype == before.dtype
        assert np.array_equal(labels, np.where(is_object, new_id, before))
        patch.revert(labels)
    assert np.array_equal(labels, before)


@given(before=LABELS, index=INDICES, mask=MASKS, object_id=IDS)
def test_replace_takes_all_pixels_of_the_mask_and_no_others(
    before: np.ndarray, index: tuple[int], mask: np.ndarray, object_id: int
) -> None:
    labels = before.copy()
    commit(labels, index, mask, object_id, OverlapPolicy.REPLACE)
    expected = before.copy()
    expected[index][mask] = object_id
    assert np.array_equal(labels, expected)


@given(
    before=LABELS,
    index=INDICES,
    first=MASKS,
    second=MASKS,
    object_id=IDS,
    policy=st.sampled_from(OverlapPolicy),
)
def test_a_second_commit_clears_what_is_left_of_the_first_unless_it_adds(
    before: np.ndarray,
    index: tuple[int],
    first: np.ndarray,
    second: np.ndarray,
    object_id: int,
    policy: OverlapPolicy,
) -> None:
    before[before == object_id] = 0
    labels = before.copy()
    commit(labels, index, first, object_id, policy)
    between = labels.copy()
    commit(labels, index, second, object_id, policy, former=mask_region(first))
    is_own = np.zeros(SHAPE, bool)
    is_own[index] = second
    if policy is not OverlapPolicy.REPLACE:
        is_own &= (between == 0) | (between == object_id)
    if policy is OverlapPolicy.ADD:
        is_own |= between == object_id
    assert np.array_equal(labels == object_id, is_own)
    is_foreign = (between != object_id) & ~is_own
    assert np.array_equal(labels[is_foreign], between[is_foreign])


def test_own_pixels_out_of_the_former_extent_are_somebody_elses() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, 0] = labels[1, 3, 3] = labels[0, 3, 3] = 1
    commit(labels, (0,), make_mask(slice(4, 6), slice(4, 6)), 1, former=np.s_[3:5, 3:5])
    assert labels[0, 0, 0] == 1
    assert labels[1, 3, 3] == 1
    assert labels[0, 3, 3] == 0


@pytest.mark.parametrize("kind", KINDS)
@given(
    before=LABELS,
    commits=st.lists(
        st.tuples(INDICES, MASKS, IDS, st.sampled_from(OverlapPolicy)), max_size=4
    ),
)
def test_apply_revert_and_apply_give_exactly_the_former_pixels(
    kind: str, before: np.ndarray, commits: list[tuple]
) -> None:
    labels = KINDS[kind](before)
    patches = [patch for arguments in commits if (patch := commit(labels, *arguments))]
    after = np.array(labels)
    revert_all(labels, patches)
    assert np.array_equal(labels, before)
    apply_all(labels, patches)
    assert np.array_equal(labels, after)
    revert_all(labels, patches)
    assert np.array_equal(labels, before)


@given(
    before=LABELS,
    mask=MASKS,
    painted=MASKS,
    policy=st.sampled_from(OverlapPolicy),
)
def test_what_others_paint_survives_undo_and_redo(
    before: np.ndarray, mask: np.ndarray, painted: np.ndarray, policy: OverlapPolicy
) -> None:
    for is_painted_after_revert in (False, True):
        labels = before.copy()
        patch = commit(labels, (1,), mask, 2, policy)
        if patch is None:
            continue
        if is_painted_after_revert:
            patch.revert(labels)
        labels[1][painted] = 9
        patch.revert(labels)
        assert (labels[1][painted] == 9).all()
        assert np.array_equal(labels[1][~painted], before[1][~painted])
        patch.apply(labels)
        assert (labels[1][painted] == 9).all()
        patch.revert(labels)
        assert (labels[1][painted] == 9).all()
        assert np.array_equal(labels[1][~painted], before[1][~painted])


@pytest.mark.parametrize(
    ("dtype", "object_id"),
    [(np.uint8, 256), (np.int8, 128), (np.uint16, 65536), (np.int32, 0), (np.int32, -1)],
)
def test_an_id_that_does_not_fit_is_refused(dtype: type, object_id: int) -> None:
    labels = RecordingLabels(np.zeros(SHAPE, dtype))
    with pytest.raises(LabelError) as raised:
        plan(labels, PLANES, (0,), make_mask(slice(5), slice(5)), object_id)
    message = str(raised.value)
    assert f"object id {object_id}" in message
    assert f"1 to {np.iinfo(dtype).max}" in message
    assert "choose another id" in message
    assert labels.regions_read == []


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, np.int64])
def test_the_largest_id_fits(dtype: type) -> None:
    labels = np.zeros(SHAPE, dtype)
    largest = int(np.iinfo(dtype).max)
    commit(labels, (0,), make_mask(slice(2), slice(2)), largest)
    assert labels[0, 1, 1] == largest
    assert labels.dtype == dtype


def test_only_the_bounding_box_is_read_and_written() -> None:
    labels = RecordingLabels(np.zeros(SHAPE, np.int32))
    patch = plan(labels, PLANES, (1,), make_mask(slice(2, 4), slice(3, 6)), 1)
    assert patch is not None
    assert labels.regions_read == [(1, slice(2, 4), slice(3, 6))]
    assert labels.regions_written == []
    patch.apply(labels)
    patch.revert(labels)
    assert set(map(str, labels.regions_read)) == {str(patch.region)}
    assert labels.regions_written == [patch.region] * 2


def test_the_former_extent_is_read_too() -> None:
    labels = RecordingLabels(np.zeros(SHAPE, np.int32))
    mask = make_mask(slice(2, 4), slice(3, 6))
    plan(labels, PLANES, (1,), mask, 1, former=np.s_[0:3, 4:8])
    assert labels.regions_read == [(1, slice(0, 4), slice(3, 8))]


def test_nothing_to_change_is_no_patch() -> None:
    labels = RecordingLabels(np.full(SHAPE, 2, np.int32))
    nothing = np.zeros(SHAPE[1:], bool)
    assert plan(labels, PLANES, (0,), nothing, 1) is None
    assert labels.regions_read == []
    everything = ~nothing
    assert plan(labels, PLANES, (0,), everything, 1) is None  # all of it is taken
    assert plan(labels, PLANES, (0,), everything, 2) is None  # it is there already
    replaced = plan(labels, PLANES, (0,), everything, 1, OverlapPolicy.REPLACE)
    assert replaced is not None


def test_an_empty_mask_removes_the_object() -> None:
    labels = np.zeros(SHAPE, np.int32)
    mask = make_mask(slice(2, 4), slice(3, 6))
    commit(labels, (0,), mask, 1)
    commit(labels, (0,), mask & False, 1, former=mask_region(mask))
    assert not labels.any()


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_any_two_axes_make_a_plane(axes: tuple[int, int]) -> None:
    planes = PlaneAxes(SHAPE, axes)
    labels = zarr.zeros(SHAPE, chunks=(2, 2, 2), dtype=np.int16)
    mask = np.zeros(planes.plane_shape, bool)
    mask[1:3, 2:] = True
    patch = plan(labels, planes, (1,), mask, 5)
    assert patch is not None
    patch.apply(labels)
    assert np.array_equal(np.moveaxis(labels[:], axes, (1, 2))[1] == 5, mask)
    assert np.count_nonzero(labels[:]) == mask.sum()


def test_extents_are_joined() -> None:
    first, second = np.s_[1:3, 4:6], np.s_[2:7, 0:5]
    assert join_extents(first, second) == np.s_[1:7, 0:6]
    assert join_extents(first, None) == join_extents(None, first) == first
    assert join_extents(None, None) is None


@given(labels=LABELS, data=st.data())
def test_changed_pixels_are_counted_once(labels: np.ndarray, data: st.DataObject) -> None:
    before = labels.copy()
    patches = []
    for _ in range(data.draw(st.integers(0, 4))):
        index, mask, object_id = data.draw(st.tuples(INDICES, MASKS, IDS))
        patch = plan(labels, PLANES, index, mask, object_id, OverlapPolicy.REPLACE)
        if patch is not None:
            patch.apply(labels)
            patches.append(patch)
    is_changed = before != labels
    expected = np.count_nonzero(is_changed), np.count_nonzero(is_changed.any(axis=(1, 2)))
    assert count_changes(PLANES, patches) == expected
    reverted = revert_all(labels, patches)
    assert count_changes(PLANES, reverted) == expected
