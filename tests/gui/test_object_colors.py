"""Objects on the canvas and in the list: told apart, hidden, standing out, deleted."""

import itertools

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils import DirectLabelColormap
from napari.utils.colormaps.standardize_color import transform_color
from qtpy.QtCore import QItemSelectionModel, Qt
from qtpy.QtWidgets import QTableView
from skimage.color import deltaE_ciede2000, rgb2lab, xyz2lab
from skimage.color.colorconv import xyz_from_rgb as XYZ_FROM_RGB

from napari_promptable.gui.layers.adapters import BOX_COLOR, SIGN_COLORS
from napari_promptable.gui.layers.object_colors import (
    OBJECT_COLORS,
    ObjectColors,
    make_colormap,
)

pytestmark = pytest.mark.gui

GREYS = [(level,) * 3 for level in np.linspace(0, 1, 11)]
STAINED = [(0.92, 0.71, 0.80), (0.84, 0.47, 0.69), (0.63, 0.33, 0.59), (0.37, 0.22, 0.51)]


def seen(color: np.ndarray, ground: tuple[float, ...]) -> np.ndarray:
    """Colour in CIELAB of a half-transparent object over a ground."""
    return rgb2lab(((color[:3] + np.asarray(ground)) / 2)[None, None])[0, 0]


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second))


@pytest.mark.parametrize("ground", GREYS + STAINED)
def test_objects_are_told_apart_on_grey_and_stained_tissue(ground) -> None:
    colors = make_colormap().colors[1:]
    assert len(colors) == len(OBJECT_COLORS)
    below = rgb2lab(np.asarray(ground, float)[None, None])[0, 0]
    assert min(distance(seen(color, ground), below) for color in colors) > 20
    pairs = itertools.combinations(colors, 2)
    assert min(distance(seen(a, ground), seen(b, ground)) for a, b in pairs) > 14


# Machado et al. 2009: what protanopes and deuteranopes see of linear (R, G, B)
EYES = {
    "normal": np.eye(3),
    "protanope": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranope": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}


def linear(color: object) -> np.ndarray:
    """Linear (R, G, B) of a colour."""
    srgb = transform_color(color)[0, :3]
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("eyes", EYES)
def test_boxes_are_unlike_both_signs_and_show_on_stained_tissue(eyes) -> None:
    def lab(color: object) -> np.ndarray:
        shown = np.clip(np.asarray(EYES[eyes]) @ linear(color), 0, 1)
        return xyz2lab((shown @ XYZ_FROM_RGB.T)[None, None])[0, 0]

    others = [*SIGN_COLORS.values(), *STAINED]
    assert min(float(deltaE_ciede2000(lab(BOX_COLOR), lab(other))) for other in others) > 11


def test_boxes_are_neither_light_nor_dark() -> None:
    luminance = float(linear(BOX_COLOR) @ [0.2126, 0.7152, 0.0722])
    assert (luminance + 0.05) / 0.05 > 4
    assert 1.05 / (luminance + 0.05) > 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_treated_objects_change_and_the_own_colours_return(dtype) -> None:
    layer = Labels(np.arange(12, dtype=dtype).reshape(3, 4))
    own = layer.colormap
    before = {i: layer.get_color(i) for i in range(1, 12)}
    colors = ObjectColors(layer)
    colors.set_hidden(3, True)
    colors.cover({4})
    colors.select({5, 7})
    alpha = {i: layer.get_color(i)[3] for i in before}
    assert alpha[3] == alpha[4] == 0
    assert alpha[5] == alpha[7] == before[5][3]
    assert 0 < alpha[1] < before[1][3] / 2
    for i, color in before.items():
        np.testing.assert_allclose(layer.get_color(i)[:3], color[:3])
    assert not isinstance(layer.colormap, DirectLabelColormap), "numba would compile it"
    colors.set_hidden(3, False)
    colors.cover(())
    colors.select(())
    assert layer.colormap is own


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_treated_objects_of_any_dtype_are_drawn(make_napari_viewer, dtype) -> None:
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_labels(np.arange(12, dtype=dtype).reshape(3, 4))
    ObjectColors(layer).select({5})
    viewer.window._qt_viewer.canvas.on_draw(None)
    assert layer.get_color(5)[3] > layer.get_color(1)[3] > 0


def test_another_colormap_of_the_user_is_kept() -> None:
    layer = Labels(np.arange(12, dtype=np.uint8).reshape(3, 4))
    colors = ObjectColors(layer)
    colors.select({2})
    layer.colormap = chosen = make_colormap()
    colors.select({3})
    assert layer.get_color(3)[3] > layer.get_color(2)[3]
    colors.restore()
    assert layer.colormap is chosen


def alpha(user, object_id: int) -> float:
    return float(user.objects.get_color(object_id)[3])


def table_of(user) -> QTableView:
    user.control("objects_fold").setChecked(True)
    user.process_events()
    return user.control("object_list")


def select_row(table: QTableView, row: int) -> None:
    flags = QItemSelectionModel.SelectionFlag
    index = table.model().index(row, 0)
    table.selectionModel().select(index, flags.ClearAndSelect | flags.Rows)


def commit_two(open_image, make_disks):
    """Commit two of three objects; returns the user and the disks."""
    disks = make_disks((60, 80), [(20, 24), (40, 58), (45, 20)])
    user = open_image(disks.image)
    for centre in disks.centres[:2]:
        user.click(user.world(*centre))
        user.push("commit")
    return user, disks


@pytest.fixture
def labelled(open_desk, make_disks):
    return commit_two(open_desk, make_disks)


def test_the_corrected_object_is_hidden_under_its_preview(labelled) -> None:
    user, disks = labelled
    user.choose_object(1)
    assert user.preview_mask[disks.mask(0)].all()
    assert (alpha(user, 1), alpha(user, 2)) == (0, 1)
    user.push("new_object")
    assert (alpha(user, 1), alpha(user, 2)) == (1, 1)


def test_a_selected_object_stands_out_until_the_next_prompt(labelled) -> None:
    user, disks = labelled
    select_row(table_of(user), 1)
    assert alpha(user, 2) > 2 * alpha(user, 1) > 0
    user.click(user.world(*disks.centres[2]))
    assert (alpha(user, 1), alpha(user, 2)) == (1, 1)


def test_del_deletes_the_selected_objects(labelled) -> None:
    user, disks = labelled
    table = table_of(user)
    select_row(table, 0)
    table.setFocus()
    user.qtbot.keyClick(table, Qt.Key.Key_Delete)
    user.wait_idle()
    np.testing.assert_array_equal(user.labels, 2 * disks.mask(1))
    assert table.model().rowCount() == 1


def test_empty_columns_are_hidden(labelled) -> None:
    user, _ = labelled
    table = table_of(user)
    assert [table.isColumnHidden(i) for i in range(4)] == [False, True, True, False]
    user.widget.controller.class_actions.classify([1], "nucleus")
    user.process_events()
    assert [table.isColumnHidden(i) for i in range(4)] == [False, False, True, False]


def test_the_list_takes_the_height_there_is(open_plugin, make_disks) -> None:
    user, _ = commit_two(open_plugin, make_disks)
    table = table_of(user)
    user.viewer.window._qt_window.resize(1040, 620)
    user.qtbot.waitUntil(lambda: user.widget.height() < 600)
    before = table.height()
    user.viewer.window._qt_window.resize(1040, 920)
    user.qtbot.waitUntil(lambda: table.height() > before + 200)
    user.control("objects_fold").setChecked(False)
    user.process_events()
    fold = user.control("objects_fold")
    assert fold.mapTo(user.widget, fold.rect().bottomLeft()).y() < user.widget.height() / 2
