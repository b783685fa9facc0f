"""The preview: its outline, which part of it is redrawn, and how it follows the zoom."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.color import rgb2gray

from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.gui.layers.outlines import DARK, FILL, LIGHT, outline_values
from napari_promptable.gui.layers.preview import make_preview_layer
from napari_promptable.masks import PackedMask

pytestmark = pytest.mark.gui


@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)), st.integers(1, 4)
)
def test_the_lines_follow_the_border_inside_the_mask(mask: np.ndarray, width: int) -> None:
    values = outline_values(mask, width)
    depth = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
    assert np.array_equal(values > 0, mask)
    assert (values[depth > 2 * width] == FILL).all()
    assert np.array_equal(values == LIGHT, (depth > 0) & (depth <= width))


def shown_on(brightness: float, value: int, layer) -> float:
    """Brightness of a pixel of the preview over a grey image."""
    *color, alpha = layer.colormap.map(np.array([value], np.uint8))[0]
    alpha = alpha * layer.opacity
    return float(rgb2gray(np.array(color)) * alpha + brightness * (1 - alpha))


@pytest.mark.parametrize("brightness", np.linspace(0, 1, 11))
def test_one_of_the_lines_shows_on_any_brightness(open_desk, make_disks, brightness) -> None:
    user = open_desk(make_disks().image)
    contrasts = [abs(shown_on(brightness, v, user.preview) - brightness) for v in (LIGHT, DARK)]
    assert max(contrasts) > 0.35
    assert abs(shown_on(brightness, FILL, user.preview) - brightness) < 0.25, "a light fill"


def test_only_the_bounding_box_is_drawn(open_desk, make_disks) -> None:
    disks = make_disks((200, 300), [(60, 80), (140, 200)])
    user = open_desk(disks.image)
    parts, wholes = [], []
    user.preview.events.labels_update.connect(lambda e: parts.append((e.offset, e.data.shape)))
    user.preview.events.set_data.connect(wholes.append)
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert parts == [([56, 76], (9, 9))]
    user.press("C")
    assert parts[1:] == [([56, 76], (9, 9))]
    assert not wholes, "the whole layer is never sent to the graphics card"


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_the_screen_shows_the_mask_in_any_order_of_axes(open_desk, make_disks, order) -> None:
    disks = make_disks((40, 44, 48), [(20, 22, 24)])
    user = open_desk(disks.image)
    user.viewer.dims.order = order
    user.viewer.dims.current_step = (20, 22, 24)
    user.wait_idle()
    shown = []
    user.preview.events.labels_update.connect(lambda e: shown.append((e.offset, e.data)))
    mask = np.zeros(user.workspace.job.planes.plane_shape, bool)
    mask[3:9, 5:20] = True
    user.workspace.job.layers.show_mask(user.index(), PackedMask.pack(mask))
    [(offset, data)] = shown
    view = np.asarray(user.preview._slice.image.view)
    rows, columns = (slice(a, a + n) for a, n in zip(offset, data.shape, strict=True))
    assert (view[rows, columns] == 1).all()
    assert (view == 1).sum() == mask.sum()
    assert (data > 0).all()


def test_lines_are_as_wide_on_the_screen_at_any_zoom(open_desk, make_disks) -> None:
    user = open_desk(make_disks((800, 800)).image)
    square = np.zeros((800, 800), bool)
    square[340:460, 340:460] = True
    user.workspace.job.layers.show_mask((), PackedMask.pack(square))
    camera, widths, drawn = camera_of(user.viewer), [], []
    user.preview.events.labels_update.connect(lambda e: drawn.append(np.array(e.data)))
    for zoom in (0.25, 1.0, 4.0):
        camera.zoom = zoom
        user.process_events()
        np.testing.assert_array_equal(user.preview.data, square)
        widths.append(int((drawn[-1][:60, 60] == LIGHT).sum()))
    assert widths == [6, 2, 1]


def test_the_lines_stay_when_napari_draws_the_layer_anew(open_plugin, make_disks) -> None:
    disks = make_disks((5, 60, 80), [(2, 20, 24)])
    user = open_plugin(disks.image)
    user.viewer.dims.set_current_step(0, 2)
    user.wait_idle()
    user.click(user.world(*disks.centres[0]))
    visual = user.viewer.window._qt_viewer.canvas.layer_to_visual[user.preview]
    order = []
    visual.node.update = lambda: order.append("napari")  # when napari has sent the data
    user.preview.events.labels_update.connect(lambda _: order.append("lines"))
    for position in (3, 2):
        order.clear()
        user.viewer.dims.set_current_step(0, position)
        user.process_events()
    assert "lines" in order
    assert set(order[order.index("lines") + 1 :]) <= {"napari"}
    assert user.preview_mask[2].sum() == disks.mask(0).sum()


def test_the_colours_need_no_compiler() -> None:
    """A direct colormap is compiled by numba at its first use."""
    from napari.layers import Image
    from napari.utils import CyclicLabelColormap

    from napari_promptable.planes import PlaneAxes

    layer = make_preview_layer(Image(np.zeros((9, 9))), PlaneAxes((9, 9), (0, 1)))
    assert isinstance(layer.colormap, CyclicLabelColormap)
