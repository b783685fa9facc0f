"""A plane that is read in parts gives the labels of one that is read as a whole."""

from dataclasses import replace

import numpy as np
import pytest
import zarr

import napari_promptable as npp
from napari_promptable.instances import by_views, large_plane, streaming
from napari_promptable.instances.found import choose_objects, choose_on
from napari_promptable.instances.large_plane import (
    LargePlace,
    LazyRgb,
    SparseCanvas,
    check_large_place,
)
from napari_promptable.instances.settings import Seeds
from napari_promptable.instances.streaming import Labelling, write_objects
from napari_promptable.transforms import to_rgb8

SIZE = (150, 170)
LOOSE = npp.AutomaticSettings(min_confidence=0.0, min_area=1, max_overlap=0.9)


@pytest.fixture
def in_parts(monkeypatch) -> None:
    """Views and squares that are small, and a limit that every plane exceeds."""
    monkeypatch.setattr("napari_promptable.instances.views._CORE", 160)
    monkeypatch.setattr("napari_promptable.instances.views._HALO", 64)
    monkeypatch.setattr(by_views, "choose_zooms", lambda *_: [2.0, 1.0])
    monkeypatch.setattr(large_plane, "_SQUARE", 32)
    monkeypatch.setattr(streaming, "is_large", lambda _: True)


@pytest.fixture
def plane() -> np.ndarray:
    """Bright disks in noise."""
    rows, columns = np.indices(SIZE) % 30 - 15
    noise = np.random.default_rng(1).integers(0, 500, SIZE)
    return (np.where(np.hypot(rows, columns) < 9, 2500, 300) + noise).astype(np.uint16)


@pytest.mark.parametrize("region", [None, [10, 20, 120, 99]], ids=["everywhere", "in a box"])
@pytest.mark.parametrize("with_labels", [False, True])
def test_it_gives_the_same_labels(tiny_model, plane, in_parts, region, with_labels) -> None:
    existing = None
    if with_labels:
        existing = np.zeros(SIZE, np.uint16)
        existing[30:60, 40:90] = 7
    whole = npp.find_objects(tiny_model, plane, LOOSE, region=region, labels=existing)
    lazy = zarr.array(plane, chunks=(40, 40))
    target = np.zeros(SIZE, np.uint32)
    calls: list[tuple[int, int]] = []
    task = Labelling(
        tiny_model,
        lazy,
        LOOSE,
        region,
        existing,
        progress=lambda *call: calls.append(call),
    )
    count = write_objects(task, target)
    assert count == len(whole.chosen) > 3
    np.testing.assert_array_equal(target, whole.labels)
    assert calls[-1][0] == calls[-1][1]


def test_another_model_answers_the_seeds_of_tiny(
    tiny_model, fake_segmenter, plane, in_parts
) -> None:
    settings = replace(LOOSE, seeds=Seeds.TINY)
    fake_segmenter.name = "vit"
    target = np.zeros(SIZE, np.uint32)
    count = write_objects(Labelling(fake_segmenter, plane, settings), target)
    assert fake_segmenter.num_encoded > 1  # a view at a time
    assert count == target.max() > 10
    rows, columns = (each % 30 - 15 for each in np.nonzero(target))
    assert (np.hypot(rows, columns) < 12).mean() > 0.9


@pytest.mark.parametrize("colours", [(), (3,), (4,)])
def test_a_lazy_plane_has_the_same_pixels(colours) -> None:
    pixels = np.random.default_rng(0).normal(size=(50, 60, *colours)).astype(np.float32)
    lazy, rgb = LazyRgb(zarr.array(pixels, chunks=16)), to_rgb8(pixels)
    np.testing.assert_array_equal(np.asarray(lazy), rgb)
    part = lazy[10:40, 20:90][5:100, 3:4]
    assert part.shape == (25, 1, 3)
    np.testing.assert_array_equal(np.asarray(part), rgb[15:40, 23:24])


def test_objects_are_chosen_as_from_a_whole_plane(make_found, monkeypatch) -> None:
    monkeypatch.setattr(large_plane, "_SQUARE", 8)
    random, shape = np.random.default_rng(0), (40, 50)
    found = []
    for confidence in random.uniform(0.6, 1, 60):
        top, left = random.integers(0, [30, 40])
        height, width = random.integers(2, 10, 2)
        found.append(make_found(top, left, top + height, left + width, confidence))
    existing = np.zeros(shape, np.uint8)
    existing[12:20, 5:30] = 3
    place = LargePlace(shape, (slice(2, 38), slice(0, 45)), existing)
    everywhere = slice(0, 40), slice(0, 50)
    labels, chosen = choose_objects(found, LOOSE, place.taken(everywhere))
    canvas, target = SparseCanvas(place), np.zeros(shape, np.uint16)
    assert choose_on(canvas, found, LOOSE) == chosen
    canvas.write_to(target)
    np.testing.assert_array_equal(target, np.where(labels, labels + 3, existing))


def test_squares_without_objects_are_not_written(make_found) -> None:
    class Target:
        def __setitem__(self, region, _values) -> None:
            raise AssertionError(region)

    SparseCanvas(LargePlace((40, 50), (slice(0, 40), slice(0, 50)))).write_to(Target())


@pytest.mark.parametrize(
    ("region", "message"),
    [(np.ones((4, 5), bool), "needs a box"), ([50, 0, 60, 9], "holds no pixel")],
)
def test_other_regions_are_refused(region, message) -> None:
    with pytest.raises(npp.PromptError, match=message):
        check_large_place((40, 50), region, None)


def test_a_grid_of_clicks_is_refused(maps_model, plane, in_parts) -> None:
    settings = npp.AutomaticSettings.for_grid()
    message = "too large for a grid of clicks.*seeds 'tiny'.*which random then answers"
    with pytest.raises(npp.PromptError, match=message):
        write_objects(Labelling(maps_model, plane, settings), np.zeros(SIZE))


def test_a_stack_of_large_slices_is_refused(maps_model, plane, in_parts) -> None:
    with pytest.raises(npp.PromptError, match="give one slice at a time"):
        write_objects(Labelling(maps_model, plane[None], LOOSE), np.zeros((1, *SIZE)))
