"""Which labels layers belong to which image.

All references are weak: a layer that has left the viewer is freed, and its entries go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from napari.layers import Image, Labels, Layer

_USED: WeakKeyDictionary[Image, list[ReferenceType[Labels]]] = WeakKeyDictionary()
"""Labels layers that each image's objects were committed to, the last one last."""

_MADE_FOR: WeakKeyDictionary[Labels, ReferenceType[Image]] = WeakKeyDictionary()
"""Images for which the plugin made labels layers."""


_SHOWN_BY_US: WeakSet[Image] = WeakSet()
"""Images that the plugin shows and that are not for segmenting, such as heat maps."""


def note_shown_by_us(layer: Image) -> None:
    """Note that the plugin made an image layer only to be looked at."""
    _SHOWN_BY_US.add(layer)


def is_shown_by_us(layer: Image) -> bool:
    """Whether an image layer is one of the plugin's own."""
    return layer in _SHOWN_BY_US


def note_made(labels_layer: Labels, image: Image) -> None:
    """Note that the plugin made a labels layer for an image."""
    _MADE_FOR[labels_layer] = ref(image)


def note_use(labels_layer: Labels, image: Image) -> None:
    """Note that an image's objects go to a labels layer from now on."""
    others = [layer for layer in labels_of(image) if layer is not labels_layer]
    _USED[image] = [ref(layer) for layer in (*reversed(others), labels_layer)]


def labels_of(image: Image) -> list[Labels]:
    """Labels layers of an image, the one used last first."""
    layers = (reference() for reference in reversed(_USED.get(image, [])))
    return [layer for layer in layers if layer is not None]


def made_for(image: Image) -> list[Labels]:
    """Labels layers that the plugin made for an image."""
    return [layer for layer in labels_of(image) if _MADE_FOR.get(layer, _none)() is image]


def images_sharing(labels_layer: Labels, layers: Iterable[Layer]) -> list[Image]:
    """Images among some layers whose objects are in a labels layer."""
    return [
        layer
        for layer in layers
        if isinstance(layer, Image) and labels_layer in labels_of(layer)
    ]


def _none() -> None:
    return None
