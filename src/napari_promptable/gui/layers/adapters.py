"""Functions between napari layers and the core's values, without state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import Dims, ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.colormaps.standardize_color import transform_color

from napari_promptable.gui.layers.following import transform_of
from napari_promptable.gui.layers.labels_array import make_labels_data
from napari_promptable.gui.layers.object_colors import make_colormap
from napari_promptable.planes import Index, PlaneAxes

POINTS_NAME, BOXES_NAME = "prompt points", "prompt boxes"
POSITIVE, NEGATIVE = "positive", "negative"
SYMBOLS = {POSITIVE: "disc", NEGATIVE: "x"}
STROKES = ("path", "line")
"""napari's names of shapes that are strokes. Only these have a sign, boxes and outlines not."""

# Colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind people can
# tell apart; the symbol differs as well.
SIGN_COLORS = {POSITIVE: "#009E73", NEGATIVE: "#D55E00"}
BOX_COLOR = "#785EF0"  # unlike both signs to all eyes; neither light nor dark: it shows on both
_POINT_CANVAS_SIZE = (0, 14)  # on the screen; napari draws no points as one of the least size
_HALO_WIDTH = 0.1  # of a point's size; dark, because the points are bright on dark images
OFFERED = -1  # in the feature column `refines`: the candidate that was offered


def unwrap(layer: Any) -> Any:
    """Return the layer inside napari's proxy for plugins, or the layer itself."""
    return getattr(layer, "__wrapped__", layer)


def camera_of(viewer: ViewerModel) -> Any:
    """Return a viewer's camera, which newer versions of napari keep elsewhere."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def canvas_corners(viewer: ViewerModel) -> npt.NDArray[np.floating] | None:
    """World positions of the four corners of the canvas, (4, ndim).

    None where layers lie in a grid, in 3D, and for versions of napari that keep the canvas'
    size to themselves.
    """
    canvas = getattr(viewer, "canvas", None)
    if canvas is None or canvas.grid.enabled or viewer.dims.ndisplay != 2:
        return None
    camera = camera_of(viewer)
    half = np.array(canvas.size, float) / camera.zoom / 2
    signs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    corners = np.tile(np.array(viewer.dims.point, float), (4, 1))
    corners[:, list(viewer.dims.displayed)] = np.array(camera.center)[-2:] + signs * half
    return corners


# geometry


def full_resolution(layer: Image) -> Any:
    """Array of an image layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def spatial_shape(layer: Image) -> tuple[int, ...]:
    """Shape of an image layer at full resolution, without the RGB axis. () if it is no array.

    napari keeps whatever a script assigns as a layer's data, even if it cannot show it.
    """
    shape = getattr(full_resolution(layer), "shape", ())
    return tuple(int(n) for n in (shape[:-1] if layer.rgb else shape))


def describe_unusable(layer: Image) -> str:
    """Say why a layer's data cannot be segmented. Empty if they can."""
    shape = spatial_shape(layer)
    if len(shape) >= 2 and all(shape):
        return ""
    what = f"an array of shape {shape}" if shape else "no array"
    return (
        f'"{layer.name}" now holds {what}. Give it an array with pixels along two axes or '
        "more, or add a new layer (a pyramid needs one)."
    )


def plane_axes_of(layer: Image, dims: Dims) -> PlaneAxes | None:
    """Find the plane of an image layer that a viewer displays, or None where it shows none.

    A layer of fewer dimensions than the viewer has the viewer's last axes.
    """
    shape = spatial_shape(layer)
    offset = dims.ndim - len(shape)
    axes = sorted(axis - offset for axis in dims.order[-2:])
    if describe_unusable(layer) or axes[0] < 0:
        return None
    return PlaneAxes(shape, (axes[0], axes[1]))


def visible_index(layer: Image, planes: PlaneAxes, dims: Dims) -> Index | None:
    """Index of the plane that a viewer shows, or None if the image has no such plane."""
    if spatial_shape(layer) != planes.shape:
        return None
    position = np.asarray(layer.world_to_data(np.asarray(dims.point)[-len(planes.shape) :]))
    index = tuple(int(i) for i in np.rint(position[list(planes.other_axes)]))
    return index if planes.contains(index) else None


def to_image_pixels(
    image: Image, layer: Layer, positions: npt.NDArray[Any]
) -> npt.NDArray[np.floating[Any]]:
    """Turn positions on a layer, (P, ndim), into image pixels, through world coordinates."""
    return np.array([image.world_to_data(layer.data_to_world(p)) for p in positions])


# new layers


def make_points_layer(image: Image, planes: PlaneAxes, object_id: int) -> Points:
    """Make the layer for clicks."""
    layer = Points(
        np.empty((0, len(planes.shape))),
        name=POINTS_NAME,
        features={
            "label": np.array([], object),
            "object_id": np.array([], int),
            "refines": np.array([], int),
        },
        feature_defaults={"label": POSITIVE, "object_id": object_id, "refines": OFFERED},
        size=max(3, max(planes.plane_shape) / 60),
        border_width=_HALO_WIDTH,
        border_color="black",
        opacity=1.0,
        **transform_of(image),
    )
    layer.canvas_size_limits = _POINT_CANVAS_SIZE
    set_next_click(layer, POSITIVE)
    return layer


def make_boxes_layer(image: Image, planes: PlaneAxes, object_id: int) -> Shapes:
    """Make the layer for boxes and outlines."""
    return Shapes(
        None,
        ndim=len(planes.shape),
        name=BOXES_NAME,
        features={"object_id": np.array([], int), "label": np.array([], object)},
        feature_defaults={"object_id": object_id, "label": POSITIVE},
        edge_color=BOX_COLOR,
        face_color="transparent",
        edge_width=max(1, max(planes.plane_shape) / 256),
        opacity=1.0,
        **transform_of(image),
    )


def make_objects_layer(image: Image, planes: PlaneAxes) -> Labels:
    """Make the layer for an image's committed objects, of which it holds up to 65,535."""
    return Labels(
        make_labels_data(image, planes),
        name=f"{image.name} objects",
        colormap=make_colormap(),
        opacity=0.5,
        **transform_of(image),
    )


# prompts


def set_next_click(layer: Points, label: str) -> None:
    """Make the next click positive or negative.

    Existing clicks are deselected, because napari would change the selected ones, too.
    """
    layer.selected_data = set()
    layer.feature_defaults = {**layer.feature_defaults.iloc[0].to_dict(), "label": label}
    layer.current_symbol = SYMBOLS[label]
    layer.current_face_color = SIGN_COLORS[label]


def next_click(layer: Points) -> str:
    """Return the sign of the next click, `POSITIVE` or `NEGATIVE`."""
    return NEGATIVE if next_feature(layer, "label") == NEGATIVE else POSITIVE


def set_next_stroke(layer: Shapes, label: str) -> None:
    """Make the next stroke positive or negative. Boxes and outlines have no sign."""
    layer.selected_data = set()
    set_default_features(layer, label=label)
    layer.current_edge_color = SIGN_COLORS[label]


def set_next_box(layer: Shapes) -> None:
    """Draw the next shape in the colour of boxes."""
    layer.selected_data = set()
    layer.current_edge_color = BOX_COLOR


def next_refined(layer: Points) -> int:
    """Return the code of the candidate that the next click corrects, see `refines_code`."""
    code = next_feature(layer, "refines")
    return int(code) if isinstance(code, int | np.integer) else OFFERED


def next_feature(layer: Points | Shapes, name: str) -> Any:
    """Return a feature of the next prompt, or None where the user removed its column."""
    defaults = layer.feature_defaults
    return defaults[name].iloc[0] if name in defaults else None


def are_negative(layer: Points | Shapes) -> npt.NDArray[np.bool_]:
    """Which prompts are negative. Any other label that the user writes is positive."""
    labels = layer.features.get("label")
    if labels is None:
        return np.zeros(len(layer.data), bool)
    return np.asarray(labels == NEGATIVE)


def restore_ids(layer: Points | Shapes, object_id: int) -> bool:
    """Give all prompts on a layer the id of the object that it shows.

    Returns
    -------
    bool
        Whether any of them had another id.
    """
    ids, defaults = layer.features.get("object_id"), layer.feature_defaults
    is_changed = ids is not None and bool((ids != object_id).any())
    if ids is None or is_changed:
        columns = {name: layer.features[name].to_list() for name in layer.features}
        layer.features = {**columns, "object_id": np.full(len(layer.data), object_id)}
        former = {name: defaults[name].iloc[0] for name in defaults}
        layer.feature_defaults = {**former, "object_id": object_id}
    elif next_feature(layer, "object_id") != object_id:
        set_default_features(layer, object_id=object_id)
    return is_changed


def refined_candidates(layer: Points) -> list[int | None]:
    """Return which candidate each click corrects, or None for the one that was offered."""
    import pandas as pd

    codes = layer.features.get("refines")
    if codes is None:
        return [None] * len(layer.data)
    numbers = pd.to_numeric(codes, errors="coerce").fillna(OFFERED).astype(int)
    return [refined_candidate(code) for code in numbers]


def set_default_features(layer: Points | Shapes, **features: Any) -> None:
    """Set features of future prompts."""
    layer.feature_defaults = {**layer.feature_defaults.iloc[0].to_dict(), **features}


def show_signs(layer: Points) -> None:
    """Give every click the symbol and colour of its sign."""
    signs = [NEGATIVE if is_negative else POSITIVE for is_negative in are_negative(layer)]
    symbols = [SYMBOLS[sign] for sign in signs]
    if symbols != [str(symbol) for symbol in layer.symbol]:
        layer.symbol = symbols
    colors = (
        transform_color([SIGN_COLORS[sign] for sign in signs]) if signs else layer.face_color
    )
    if not np.allclose(colors, layer.face_color):  # napari draws all points again
        layer.face_color = colors


def show_stroke_signs(layer: Shapes) -> bool:
    """Give every stroke the colour of its sign. Returns whether any had another colour."""
    colors = np.array(layer.edge_color)
    strokes = np.flatnonzero([str(kind) in STROKES for kind in layer.shape_type])
    if not len(strokes) or not len(layer.features) == len(colors) == layer.nshapes:
        return False  # napari is in the midst of a change
    signs = np.where(are_negative(layer)[strokes], NEGATIVE, POSITIVE)
    expected = transform_color([SIGN_COLORS[sign] for sign in signs])
    if np.allclose(colors[strokes], expected):
        return False
    colors[strokes] = expected
    layer.edge_color = colors
    return True


def refines_code(candidate: int | None) -> int:
    """Return the value of the feature column `refines` for a chosen candidate."""
    return OFFERED if candidate is None else candidate


def refined_candidate(code: int) -> int | None:
    """Return the candidate that a value of the feature column `refines` means."""
    return None if code == OFFERED else code


def drop_orphaned_features(layer: Shapes) -> None:
    """Remove the features of a shape that is gone.

    napari (0.9.2) keeps the features of the newest shape when its drawing is abandoned, and
    forgets the features of future shapes when none is left.
    """
    if len(layer.features) > layer.nshapes:
        defaults = layer.feature_defaults.iloc[0].to_dict()
        layer.features = layer.features.iloc[: layer.nshapes].reset_index(drop=True)
        layer.feature_defaults = defaults
