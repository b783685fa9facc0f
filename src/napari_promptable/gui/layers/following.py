"""Keeps layers where their image is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import ref

from napari.layers import Image, Layer

_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def transform_of(layer: Layer) -> dict[str, Any]:
    """Return the keyword arguments that place another layer where this one is."""
    return {name: getattr(layer, name) for name in _TRANSFORM}


def copy_transform(source: Layer, target: Layer) -> None:
    """Move a layer of as many axes to where another one is."""
    if source.ndim == target.ndim:
        for name, value in transform_of(source).items():
            setattr(target, name, value)


class Following:
    """Moves layers with an image whenever its transform or its units change.

    Parameters
    ----------
    image : Image
        The image; the reference is weak.
    layers_of : callable
        Returns the layers that follow an image.
    """

    def __init__(self, image: Image, layers_of: Callable[[Image], Iterable[Layer]]) -> None:
        self._image, self._layers_of = ref(image), layers_of
        for event in _events_of(image):
            event.connect(self.follow)
        self.follow()

    def close(self) -> None:
        """Disconnect from the image."""
        image = self._image()
        if image is not None:
            for event in _events_of(image):
                event.disconnect(self.follow)

    def follow(self, _event: Any = None) -> None:
        """Move the layers to where the image is."""
        image = self._image()
        if image is not None:
            for layer in self._layers_of(image):
                copy_transform(image, layer)


def _events_of(image: Image) -> list[Any]:
    return [getattr(image.events, name) for name in _TRANSFORM]
