"""The labels layer that receives an image's objects, and writing to it; no window."""

import numpy as np
import pytest
import zarr

from napari_promptable.gui.layers.layer_labels import is_writable

pytestmark = pytest.mark.gui


def frozen(shape, dtype="u2") -> np.ndarray:
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array


def label_a_disk(desk, disks, number=0) -> None:
    desk.click(*disks.centres[number])
    desk.commit()


# whose labels


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_second_image_gets_labels_of_its_own(desk, make_disks, is_removed) -> None:
    disks = make_disks()
    desk.open()
    label_a_disk(desk, disks)
    first = desk.job.labels_layer
    if is_removed:
        desk.viewer.layers.remove(desk.image)
    desk.viewer.add_image(disks.image, name="second")
    desk.settle()
    desk.choose("image", "second")
    assert desk.job.labels_layer.name == "second objects"
    label_a_disk(desk, disks)
    np.testing.assert_array_equal(desk.job.labels_layer.data > 0, disks.mask(0))
    np.testing.assert_array_equal(first.data > 0, disks.mask(0))


def test_each_image_comes_back_to_its_labels(desk, make_disks) -> None:
    """To the layer used last, even if the user chose it and others were made later."""
    desk.viewer.add_labels(np.zeros(desk.image.data.shape, int), name="mine")
    desk.open()
    desk.choose("labels", "mine")
    desk.viewer.add_image(make_disks().image, name="second")
    desk.settle()
    desk.choose("image", "second")
    assert desk.job.labels_layer.name == "second objects"
    desk.choose("image", "image")
    assert desk.job.labels_layer.name == "mine"
    desk.close()
    desk.open()
    desk.choose("image", "image")
    assert desk.job.labels_layer.name == "mine"


def test_channels_may_share_labels_and_the_panel_says_so(desk, make_disks) -> None:
    disks = make_disks()
    desk.open()
    label_a_disk(desk, disks)
    desk.viewer.add_image(disks.image, name="membrane")
    desk.settle()
    desk.choose("image", "membrane")
    desk.choose("labels", "image objects")
    assert '"image"' in desk.status
    assert "also holds" in desk.status
    label_a_disk(desk, disks, 1)
    np.testing.assert_array_equal(desk.job.labels_layer.data, disks.truth)
    desk.click(5, 5)
    desk.choose("image", "image")
    assert desk.job.labels_layer.name == "image objects"
    assert len(desk.points.data) == 1, "prompts belong to the labels that both share"
    assert "comes back with" not in desk.status
    desk.choose("labels", "new layer")
    assert "also holds" not in desk.status


# writing


def test_arrays_that_tell_whether_they_can_be_written(tmp_path) -> None:
    h5py = pytest.importorskip("h5py") if _has("h5py") else None
    da = pytest.importorskip("dask.array")
    shape = (4, 5)
    np.save(tmp_path / "a.npy", np.zeros(shape, "u2"))
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, dtype="u2")
    writable = [
        np.zeros(shape, int),
        np.load(tmp_path / "a.npy", mmap_mode="r+"),
        zarr.open(str(tmp_path / "a.zarr"), mode="r+"),
    ]
    read_only = [
        frozen(shape),
        np.broadcast_to(np.uint16(0), shape),
        np.load(tmp_path / "a.npy", mmap_mode="r"),
        zarr.open(str(tmp_path / "a.zarr"), mode="r"),
        da.zeros(shape, int),
        (1, 2),
    ]
    if h5py is not None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            writable.append(file.create_dataset("labels", shape, "u2"))
            assert is_writable(writable.pop())
        with h5py.File(tmp_path / "a.h5", "r") as file:
            assert not is_writable(file["labels"])
    assert [is_writable(data) for data in writable] == [True] * len(writable)
    assert [is_writable(data) for data in read_only] == [False] * len(read_only)


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_labels_that_cannot_be_written_are_not_offered(desk) -> None:
    desk.viewer.add_labels(frozen(desk.image.data.shape), name="mine")
    desk.open()
    assert desk.offers("labels") == ["image objects", "new layer"]


def test_labels_made_read_only_are_refused_in_a_sentence(desk, make_disks) -> None:
    disks = make_disks()
    desk.open()
    desk.click(*disks.centres[0])
    desk.job.labels_layer.data.flags.writeable = False
    desk.commit()
    assert 'the labels layer "image objects" cannot be written' in desk.status
    assert not desk.job.labels_layer.data.any()
    assert desk.job.session.answers.mask(()).unpack().any()
    desk.choose("labels", "new layer")
    desk.click(*disks.centres[0])
    desk.commit()
    np.testing.assert_array_equal(desk.job.labels_layer.data > 0, disks.mask(0))


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i4", "u8"])
def test_labels_of_any_dtype_take_objects(desk, make_disks, dtype) -> None:
    disks = make_disks()
    desk.viewer.add_labels(np.zeros(disks.image.shape, dtype), name="mine")
    desk.open()
    desk.choose("labels", "mine")
    label_a_disk(desk, disks)
    np.testing.assert_array_equal(np.asarray(desk.job.labels_layer.data) == 1, disks.mask(0))


@pytest.mark.parametrize("highest", [2**31 - 1, 2**31 + 5, 2**40])
def test_ids_above_two_to_the_31(desk, make_disks, highest) -> None:
    disks = make_disks()
    labels = np.zeros(disks.image.shape, np.uint64)
    labels[:3, :3] = highest
    desk.viewer.add_labels(labels, name="mine")
    desk.open()
    desk.choose("labels", "mine")
    desk.wait_idle()
    label_a_disk(desk, disks)
    np.testing.assert_array_equal(desk.job.labels_layer.data == highest + 1, disks.mask(0))
    assert desk.control("object_id").value() == highest + 2
    desk.widget.controller.object_actions.refine(highest)
    assert desk.control("object_id").value() == highest
    desk.settle()


@pytest.mark.parametrize("dtype", ["u1", "i1"])
def test_labels_whose_ids_are_used_up_say_so(desk, make_disks, dtype) -> None:
    disks = make_disks()
    labels = np.zeros(disks.image.shape, dtype)
    all_ids = np.arange(1, np.iinfo(dtype).max + 1)
    labels[:, :8].flat[: len(all_ids)] = all_ids
    desk.viewer.add_labels(labels.copy(), name="mine")
    desk.open()
    desk.choose("labels", "mine")
    label_a_disk(desk, disks)
    assert "does not fit labels of dtype" in desk.status
    np.testing.assert_array_equal(desk.job.labels_layer.data, labels)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u4", "i8", "u8"])
def test_an_object_gets_a_lower_id_where_no_higher_one_fits(desk, make_disks, dtype) -> None:
    disks = make_disks()
    labels = np.zeros(disks.image.shape, dtype)
    labels[:3, :3], labels[:3, 3:6] = np.iinfo(dtype).max, 1
    desk.viewer.add_labels(labels.copy(), name="mine")
    desk.open()
    desk.choose("labels", "mine")
    desk.wait_idle()
    label_a_disk(desk, disks)
    np.testing.assert_array_equal(desk.job.labels_layer.data == 2, disks.mask(0))
    np.testing.assert_array_equal(desk.job.labels_layer.data[:3, :6], labels[:3, :6])
    desk.widget.controller.object_actions.refine(int(np.iinfo(dtype).max))
    if dtype == "u8":
        assert "ids above 9223372036854775807 cannot be worked on" in desk.status
    else:
        assert desk.control("object_id").value() == np.iinfo(dtype).max
    desk.settle()


# data that changes under the widget


@pytest.mark.parametrize("shape", [(50, 70), (3, 60, 80), (2, 3, 40, 50)])
def test_an_image_of_another_shape_is_followed(desk, make_disks, shape) -> None:
    disks = make_disks()
    desk.open()
    label_a_disk(desk, disks)
    first = desk.job.labels_layer
    centre = (*(0,) * (len(shape) - 2), 20, 24)
    others = make_disks(shape, [centre])
    desk.image.data = others.image
    desk.settle()
    desk.viewer.dims.set_current_step(range(len(shape) - 2), [0] * (len(shape) - 2))
    desk.wait_idle()
    label_a_disk(desk, others)
    assert desk.job.labels_layer.data.shape == shape
    np.testing.assert_array_equal(desk.job.labels_layer.data > 0, others.mask(0))

    desk.image.data = disks.image
    desk.settle()
    desk.wait_idle()
    assert desk.job.labels_layer is first
    label_a_disk(desk, disks, 1)
    np.testing.assert_array_equal(first.data, disks.truth)


def _as_dask(data):
    import dask.array as da

    return da.from_array(data)


@pytest.mark.parametrize(
    "change", [lambda data: np.zeros((10, 12), int), lambda data: data[None], _as_dask]
)
def test_labels_that_no_longer_fit_are_replaced_and_it_is_said(
    desk, make_disks, change
) -> None:
    disks = make_disks()
    desk.open()
    label_a_disk(desk, disks)
    former = desk.job.labels_layer
    former.data = change(former.data)
    desk.settle()
    assert desk.job.labels_layer is not former
    assert '"image objects" no longer fits' in desk.status
    assert desk.job.labels_layer.name in desk.status
    label_a_disk(desk, disks)
    np.testing.assert_array_equal(desk.job.labels_layer.data > 0, disks.mask(0))


def test_labels_with_new_data_of_the_same_shape_stay_in_use(desk, make_disks) -> None:
    disks = make_disks()
    desk.open()
    former = desk.job.labels_layer
    former.data = former.data.astype(np.int64)
    label_a_disk(desk, disks)
    assert desk.job.labels_layer is former
    np.testing.assert_array_equal(former.data > 0, disks.mask(0))


# layers stay together


def move(image) -> None:
    image.scale, image.translate, image.rotate = (0.2, 0.3), (100, 50), 20


def place(layer) -> np.ndarray:
    return np.array([layer.data_to_world(p) for p in ((0, 0), (10, 0), (0, 10))])


def set_units(image) -> None:
    image.units = ("um", "um")


def set_affine(image) -> None:
    image.affine = [[0, 2, 5], [-2, 0, 7], [0, 0, 1]]


@pytest.mark.parametrize("change", [move, set_units, set_affine])
def test_all_our_layers_follow_the_image(desk, make_disks, change) -> None:
    desk.viewer.add_labels(np.zeros(desk.image.data.shape, int), name="mine")
    desk.open()
    label_a_disk(desk, make_disks())
    first = desk.job.labels_layer
    desk.choose("labels", "new layer")
    mine = place(desk.viewer.layers["mine"])
    change(desk.image)
    layers = desk.job.layers
    for layer in (first, desk.job.labels_layer, layers.points, layers.boxes, layers.preview):
        np.testing.assert_allclose(place(layer), place(desk.image), err_msg=layer.name)
        assert layer.units == desk.image.units
    np.testing.assert_array_equal(place(desk.viewer.layers["mine"]), mine)


def test_labels_follow_an_image_that_is_not_chosen(desk, make_disks) -> None:
    desk.open()
    label_a_disk(desk, make_disks())
    first = desk.job.labels_layer
    desk.viewer.add_image(make_disks().image, name="second")
    desk.settle()
    desk.choose("image", "second")
    move(desk.image)
    np.testing.assert_allclose(place(first), place(desk.image))
    desk.close()
    desk.image.translate = (7, 8)
    desk.open()  # nothing of ours listens while the widget is closed
    np.testing.assert_allclose(place(first), place(desk.image))
