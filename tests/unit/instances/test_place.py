import numpy as np
import pytest

from napari_promptable.errors import LabelError, PromptError
from napari_promptable.instances.place import check_place

SHAPE = (40, 50)


def test_everything_is_free_by_default() -> None:
    place = check_place(SHAPE, None, None)
    assert not place.taken.any()
    assert place.first_id == 1


def test_a_box_has_first_and_last_pixels() -> None:
    place = check_place(SHAPE, [3, 4, 5, 60], None)
    rows, columns = np.nonzero(place.region)
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (3, 4, 5, 49)


def test_existing_labels_are_taken_and_kept() -> None:
    existing = np.zeros(SHAPE, np.uint16)
    existing[:5, :5] = 9
    place = check_place(SHAPE, None, existing)
    assert place.taken.sum() == 25
    new = np.zeros(SHAPE, np.int32)
    new[10, 10] = 2
    labels = place.add(new)
    assert labels[10, 10] == 11
    np.testing.assert_array_equal(labels[:5, :5], 9)
    assert not place.is_free(np.array([2.0, 2.0]))
    assert place.is_free(np.array([20.0, 20.0]))


def test_the_cut_shows_surroundings_and_ends_at_the_image() -> None:
    image = np.zeros((300, 50, 3), np.uint8)
    part, corner = check_place((300, 50), [200, 10, 210, 20], None).cut(image)
    assert corner == (136, 0)
    assert part.shape == (139, 50, 3)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.zeros(SHAPE, bool), "holds no pixel"),
        ([50, 60, 55, 65], "holds no pixel"),
        (np.ones((3, 3), bool), "(40, 50)"),
        (np.ones(SHAPE), "float64"),
    ],
)
def test_a_bad_region_is_refused(region, words) -> None:
    with pytest.raises(PromptError) as error:
        check_place(SHAPE, region, None)
    assert words in str(error.value)


@pytest.mark.parametrize("labels", [np.zeros((3, 3), int), np.zeros(SHAPE)])
def test_bad_labels_are_refused(labels) -> None:
    with pytest.raises(LabelError, match="whole numbers of shape"):
        check_place(SHAPE, None, labels)
