import numpy as np
import pytest

from napari_promptable.masks import mask_to_box_yxyx
from napari_promptable.samples import data as sample_data
from napari_promptable.samples.data import SAMPLES, WITH_PROMPTS, sample_labels, sample_prompts


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_small_images_with_labels_and_licence(name) -> None:
    [(image, options, kind)] = getattr(sample_data, f"load_{name}")()
    labels = sample_labels(name)
    assert options["axis_labels"] == (("y", "x") if image.ndim == 2 else ("z", "y", "x"))
    assert kind == "image"
    assert options["metadata"]["licence"] in ("CC0-1.0", "MIT", "CC-BY-4.0")
    assert labels.shape == image.shape
    assert labels.max() >= 10
    assert sample_data.sample_path(name).stat().st_size <= 1_000_000


@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_prompts_point_at_the_labels_of_their_ids(name) -> None:
    labels, document = sample_labels(name), sample_prompts(name)
    assert document.image_shape == labels.shape
    assert len(document.objects) >= 6
    for object_id, planes in document.objects.items():
        prompts = planes[()]
        mask = labels == object_id
        rows, columns = np.rint(prompts.points_yx).astype(int).T
        assert np.array_equal(mask[rows, columns], prompts.point_labels == 1)
        for box in prompts.boxes_yxyx:
            assert np.array_equal(box, mask_to_box_yxyx(mask))


def test_sources_are_named_beside_the_files() -> None:
    readme = (sample_data.sample_path("nuclei_stack").parent / "README.md").read_text()
    assert all(name in readme and SAMPLES[name][1] in readme for name in SAMPLES)
