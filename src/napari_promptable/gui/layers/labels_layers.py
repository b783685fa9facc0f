"""Labels layers that objects of an image can be committed to."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_promptable.gui.layers.adapters import make_objects_layer
from napari_promptable.gui.layers.following import Following
from napari_promptable.gui.layers.layer_labels import is_labels_layer_for
from napari_promptable.gui.layers.ownership import labels_of, made_for, note_made, note_use
from napari_promptable.planes import PlaneAxes


class LabelsLayers:
    """Finds, makes and inserts labels layers, and moves those we made with their image.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the layers.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._following: WeakKeyDictionary[Image, Following] = WeakKeyDictionary()
        for layer in viewer.layers:
            if isinstance(layer, Image):
                self._keep_together(layer)

    def close(self) -> None:
        """Disconnect from the images. The layers stay."""
        for following in self._following.values():
            following.close()

    def fitting(self, planes: PlaneAxes) -> list[Labels]:
        """Return the labels layers of an image's shape, the topmost first."""
        layers = reversed(self._viewer.layers)
        return [layer for layer in layers if is_labels_layer_for(layer, planes)]

    def choose(
        self, image: Image, planes: PlaneAxes, preferred: Labels | None
    ) -> Labels | None:
        """Return the preferred layer if it fits, or else the one that the image used last."""
        fitting = self.fitting(planes)
        if preferred in fitting:
            return preferred
        return next((layer for layer in labels_of(image) if layer in fitting), None)

    def make(self, image: Image, planes: PlaneAxes) -> Labels:
        """Make a labels layer for an image. It is not in the viewer yet."""
        labels_layer = make_objects_layer(image, planes)
        note_made(labels_layer, image)
        self.use(labels_layer, image)
        return labels_layer

    def use(self, labels_layer: Labels, image: Image) -> None:
        """Note that an image's objects go to a labels layer from now on."""
        note_use(labels_layer, image)
        self._keep_together(image)

    def insert(self, labels_layer: Labels, image: Image) -> None:
        """Put a new labels layer on top of its image. The active layer stays active."""
        layers = self._viewer.layers
        active = layers.selection.active
        layers.insert(layers.index(image) + 1, labels_layer)
        if active is not None:
            layers.selection.active = active

    def _keep_together(self, image: Image) -> None:
        """Move the labels layers that we made for an image whenever it moves."""
        if image not in self._following:
            self._following[image] = Following(image, made_for)
