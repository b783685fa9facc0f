"""Images that were segmented and removed leave nothing behind, however many there are."""

from weakref import ref

import pytest

from napari_promptable.gui.layers.labels_array import LIMIT_VARIABLE
from napari_promptable.weights.checkpoints import cache_root

pytestmark = pytest.mark.gui


@pytest.mark.parametrize("limit_mb", ["512", "0"])
def test_removed_images_are_freed(
    make_desk, make_disks, fake_model, monkeypatch, limit_mb
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, limit_mb)
    disks = make_disks()
    desk = make_desk(disks.image)
    desk.open()
    layers, pixels = [], []
    for number in range(6):
        desk.click(*disks.centres[0])
        desk.widget.controller.actions.commit()
        desk.wait_idle()
        job = desk.job
        layers += map(ref, (job.image, job.labels_layer, job.layers.preview, job.session))
        pixels.append(ref(job.labels_layer.data))
        del job
        desk.viewer.layers.clear()
        desk.wait_idle()
        desk.image = desk.viewer.add_image(disks.image + 0.01 * number, name="image")
        desk.wait_for(lambda: desk.job is not None and desk.points is not None)
        desk.wait_idle()
    fake_model.planes.clear()
    desk.wait_freed({f"{each()}": each for each in (*layers, *pixels)})
    folders = list((cache_root() / "labels").glob("*.zarr"))
    assert len(folders) == (limit_mb == "0"), "of the image that is there"
