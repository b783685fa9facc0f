from dataclasses import replace

import numpy as np
import pytest

import napari_promptable as npp
from napari_promptable.instances import automatic, by_views
from napari_promptable.instances.automatic import AutomaticResult, default_settings
from napari_promptable.instances.by_prompts import grid_points
from napari_promptable.instances.place import check_place
from napari_promptable.instances.regions import Regions
from napari_promptable.instances.settings import Seeds

SHAPE = (40, 50)
LOOSE = {"min_confidence": 0.0, "min_stability": 0.0, "max_overlap": 1.0, "min_area": 1}


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120), np.uint8)


@pytest.fixture
def regions_everywhere(monkeypatch):
    """Maps of random weights show nothing; here every view shows squares."""

    def divide(maps, diameters) -> Regions:
        rows, columns = np.indices(maps.shape[1:])
        across = maps.shape[2] // 16 + 1
        labels = (1 + rows // 16 * across + columns // 16).astype(np.int32)
        labels[(rows % 16 > 12) | (columns % 16 > 12)] = 0
        corners = np.indices((labels.max() // across + 1, across)).reshape(2, -1).T
        return Regions(labels, np.minimum(16 * corners + 6, np.array(labels.shape) - 1))

    monkeypatch.setattr("napari_promptable.instances.seeds.divide_into_regions", divide)
    monkeypatch.setattr(by_views, "choose_zooms", lambda *_: [1.0])


@pytest.fixture
def make_result(make_found):
    """Two objects and a weaker repetition of the first, beside a label 5."""
    existing = np.zeros(SHAPE, np.uint8)
    existing[30:35, 30:35] = 5

    def make(**changes) -> AutomaticResult:
        objects = (
            make_found(0, 0, 10, 10, 0.9),
            make_found(1, 0, 11, 10, 0.8),
            make_found(15, 15, 25, 25, 0.7),
        )
        settings = npp.AutomaticSettings(min_confidence=0.5, **changes)
        return AutomaticResult(objects, settings, check_place(SHAPE, None, existing))

    return make


def test_new_objects_are_numbered_after_the_existing_ones(make_result) -> None:
    result = make_result()
    assert result.confidence == pytest.approx({6: 0.9, 7: 0.7})
    assert (result.labels[:10, :10] == 6).all()
    assert (result.labels[30:35, 30:35] == 5).all()


def test_thresholds_act_on_the_answers_there_are(make_result) -> None:
    result = make_result()
    stricter = result.with_settings(npp.AutomaticSettings(min_confidence=0.8))
    assert len(stricter.chosen) == 1
    assert len(stricter.with_settings(result.settings).chosen) == 2


def test_a_rejected_object_is_not_replaced_by_its_repetition(make_result) -> None:
    result = make_result().without(1)
    assert result.confidence == pytest.approx({6: 0.7})
    assert not result.new_labels[:11, :10].any()
    looser = result.with_settings(npp.AutomaticSettings(min_confidence=0.1))
    assert not looser.new_labels[:11, :10].any()


def test_maps_lead_to_objects_inside_the_region_only(
    maps_model, noise, regions_everywhere
) -> None:
    region = np.zeros(noise.shape, bool)
    region[20:70, 30:100] = True
    settings = npp.AutomaticSettings(**LOOSE)
    calls = []
    result = npp.find_objects(
        maps_model, noise, settings, region=region, progress=lambda *call: calls.append(call)
    )
    assert result.objects
    assert not result.labels[~region].any()
    assert result.labels.shape == noise.shape
    assert calls[-1] == (100, 100)
    assert all(0 <= found.confidence <= 1 for found in result.objects)


def test_a_grid_of_clicks_needs_no_maps(maps_model, noise) -> None:
    bare = _without_maps(maps_model)
    settings = npp.AutomaticSettings(points_per_side=3, **LOOSE)
    calls = []
    result = npp.find_objects(bare, noise, settings, progress=lambda *call: calls.append(call))
    assert result.objects
    assert calls[-1] == (6, 6)


def test_existing_labels_are_not_clicked(maps_model, noise) -> None:
    existing = np.ones(noise.shape, np.uint8)
    existing[:, :60] = 0
    settings = npp.AutomaticSettings(seeds="grid", points_per_side=4, **LOOSE)
    labels = npp.generate_labels(maps_model, noise, settings, labels=existing)
    np.testing.assert_array_equal(labels[:, 60:], 1)


def test_seeds_of_tiny_are_answered_by_another_model(
    maps_model, noise, regions_everywhere, monkeypatch
) -> None:
    monkeypatch.setattr(automatic, "_load_tiny", lambda: maps_model)
    settings = npp.AutomaticSettings(seeds="tiny", **LOOSE)
    result = npp.find_objects(_without_maps(maps_model), noise, settings)
    assert len(result.objects) > 3


def test_a_model_without_maps_cannot_give_seeds(maps_model, noise) -> None:
    with pytest.raises(npp.UnknownModelError, match="no instance maps"):
        npp.find_objects(_without_maps(maps_model), noise, npp.AutomaticSettings(seeds="maps"))


def test_defaults_suit_the_seeds(maps_model) -> None:
    assert default_settings(maps_model).min_stability == 0
    assert default_settings(_without_maps(maps_model)) == replace(
        npp.AutomaticSettings.for_grid(), seeds=Seeds.AUTO
    )


def test_an_image_without_anything_has_no_objects(maps_model) -> None:
    labels = npp.generate_labels(maps_model, np.zeros((64, 64), np.uint8))
    assert labels.shape == (64, 64)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 40, 50), (0, 40), (0, 40, 50)])
def test_images_of_other_shapes_are_refused(maps_model, shape) -> None:
    with pytest.raises(npp.ImageFormatError, match=r"it must be \(H, W\)"):
        npp.generate_labels(maps_model, np.zeros(shape, np.uint8))


def test_grid_points_lie_in_the_middle_of_squares() -> None:
    points = grid_points((20, 40), 4)
    assert points.tolist()[0] == [4.5, 4.5]
    assert len(points) == 8


def _without_maps(model):
    """The same weights without an instance head."""
    import copy

    sam = copy.copy(model.sam)
    sam._modules = {**sam._modules, "instance_head": None}
    return replace(model, name="bare", sam=sam)
