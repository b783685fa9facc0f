"""Where new labels are kept, and that large ones behave like small ones."""

import gc

import numpy as np
import pytest
import zarr
from filelock import FileLock

from napari_promptable.errors import LabelError
from napari_promptable.gui.layers.labels_array import LIMIT_VARIABLE, make_labels_array
from napari_promptable.planes import PlaneAxes
from napari_promptable.weights.checkpoints import cache_root

pytestmark = pytest.mark.gui

PLANES = PlaneAxes((6, 80, 90), (1, 2))


def folders() -> list[str]:
    return sorted(path.name for path in (cache_root() / "labels").glob("*"))


@pytest.fixture
def on_disk(monkeypatch) -> None:
    """All new labels are kept on disk."""
    monkeypatch.setenv(LIMIT_VARIABLE, "0")


def test_small_labels_are_held_in_memory() -> None:
    assert isinstance(make_labels_array(PLANES), np.ndarray)
    assert not folders()


def test_labels_above_the_limit_are_on_disk_and_go_with_the_array(on_disk) -> None:
    array = make_labels_array(PLANES)
    assert isinstance(array, zarr.Array)
    assert (array.shape, array.dtype, array.chunks) == (PLANES.shape, np.uint16, (1, 80, 90))
    assert len(folders()) == 2, "the array and its lock"
    del array
    gc.collect()
    assert not folders()


def test_any_size_takes_space_only_where_there_are_labels() -> None:
    array = make_labels_array(PlaneAxes((10**6, 4096, 4096), (1, 2)))
    array[500_000, 1000:1100, 10:20] = 3
    assert array[500_000].sum() == 3000
    folder = array.store.root
    chunks = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert len(chunks) == 2


@pytest.mark.parametrize("limit", ["many", ""])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, limit) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, limit)
    with pytest.raises(LabelError, match=f"{LIMIT_VARIABLE}={limit} was given"):
        make_labels_array(PLANES)


def test_arrays_of_processes_that_crashed_are_removed(on_disk) -> None:
    root = cache_root() / "labels"
    (root / "dead.zarr").mkdir(parents=True)
    (root / "used.zarr").mkdir()
    with FileLock(root / "used.lock"):
        array = make_labels_array(PLANES)
        assert not (root / "dead.zarr").exists()
        assert (root / "used.zarr").exists()
        assert array.store.root.exists()
        another = make_labels_array(PLANES)
        assert array.store.root.exists(), "in use by this process"
        del another


def test_a_folder_that_cannot_be_written_is_named(on_disk) -> None:
    cache_root().mkdir(parents=True, exist_ok=True)
    (cache_root() / "labels").write_text("in the way")
    with pytest.raises(LabelError, match="which cannot be written"):
        make_labels_array(PLANES)


def test_the_loop_of_annotation_works_on_disk(on_disk, open_plugin, make_disks) -> None:
    disks = make_disks((3, 60, 80), [(1, 20, 24), (1, 40, 58)])
    user = open_plugin(disks.image)
    assert isinstance(user.objects.data, zarr.Array)
    user.viewer.dims.set_current_step(0, 1)
    user.wait_idle()
    for number in range(2):
        user.click(user.world(*disks.centres[number]))
        user.press("C")
    expected = disks.mask(0) + 2 * disks.mask(1)
    np.testing.assert_array_equal(user.objects.data[:], expected)
    user.push("undo")
    np.testing.assert_array_equal(user.objects.data[:], disks.mask(0))
    user.push("redo")
    np.testing.assert_array_equal(user.objects.data[:], expected)
    user.widget.controller.autosave.save_now()
    before = np.asarray(user.objects.data[:])
    user.viewer.layers.remove(user.objects)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.push("restore_session")
    assert isinstance(user.objects.data, zarr.Array)
    np.testing.assert_array_equal(user.objects.data[:], before)
    user.objects.mode = "paint"
    user.objects.selected_label = 9
    user.objects.paint((1, 5, 5), 9)
    user.wait_for(lambda: 9 in user.session.records.object_ids)
