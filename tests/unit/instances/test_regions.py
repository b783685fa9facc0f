import numpy as np

from napari_promptable.instances.regions import divide_into_regions
from napari_promptable.learning.targets import dense_targets


def test_perfect_maps_give_the_objects_back() -> None:
    rows, columns = np.indices((160, 160))
    labels = np.zeros((160, 160), np.int32)
    for number, (row, column) in enumerate([(40, 40), (40, 88), (110, 70)], start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 < 24**2] = number
    targets = dense_targets(labels, np.ones(labels.shape, bool))
    diameters = np.full((20, 20), 48, np.float32)
    regions = divide_into_regions(targets[:4], diameters)
    assert len(regions.centres_yx) == 3
    for number in (1, 2, 3):
        truth = labels[::2, ::2] == number
        found = np.bincount(regions.labels[truth]).argmax()
        assert found > 0
        found = regions.labels == found
        assert np.count_nonzero(found & truth) / np.count_nonzero(found | truth) > 0.9


def test_background_has_no_regions() -> None:
    regions = divide_into_regions(
        np.zeros((4, 32, 40), np.float32), np.ones((8, 10), np.float32)
    )
    assert len(regions.centres_yx) == 0
    assert not regions.labels.any()
