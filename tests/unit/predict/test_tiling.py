import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.predict.tile_choice import choose_tiles, refit_tile
from napari_promptable.predict.tiling import BEST_DIAMETER, Pyramid, Tile, interpolate
from napari_promptable.prompts import PromptSet
from napari_promptable.transforms import resized_shape

SIDE = 256
SIZES = st.tuples(st.integers(20, 3000), st.integers(20, 3000))


def make_pyramid(size: tuple[int, int]) -> Pyramid:
    return Pyramid(size, resized_shape(size, 512), SIDE)


def never(tile: Tile | None) -> float:
    raise AssertionError("the size is known")


def box_tile(pyramid: Pyramid, box: list[float]) -> Tile:
    [tile] = choose_tiles(pyramid, PromptSet(box_yxyx=box), None, never)
    return tile


# levels


@pytest.mark.parametrize("image_side", [256, 512, 2000])
@pytest.mark.parametrize("diameter", [12, 50, 200])
def test_an_object_is_brought_near_its_best_size(image_side: int, diameter: int) -> None:
    pyramid = make_pyramid((image_side, image_side))
    level = pyramid.level_of(diameter, diameter)
    shown = diameter * pyramid.zoom_yx(level)[0]
    assert BEST_DIAMETER / 1.5 < shown < BEST_DIAMETER * 1.5


def test_a_long_object_is_shown_whole() -> None:
    pyramid = make_pyramid((512, 512))
    assert pyramid.level_of(4, 400) == -2
    assert pyramid.level_of(16, 16) == 2


def test_levels_end_where_nothing_more_is_shown() -> None:
    assert list(make_pyramid((512, 512)).levels) == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert make_pyramid((40, 40)).levels.stop - 1 == 0  # 12.8-fold already
    assert make_pyramid((8000, 8000)).levels.stop - 1 == 7
    assert make_pyramid((40, 40)).clip_level(5) == 0


# tiles


@given(size=SIZES, data=st.data())
def test_a_tile_holds_the_box_it_is_chosen_for(size: tuple[int, int], data) -> None:
    pyramid = make_pyramid(size)
    top, left = (data.draw(st.integers(0, side - 2)) for side in size)
    bottom = data.draw(st.integers(top + 1, size[0] - 1))
    right = data.draw(st.integers(left + 1, size[1] - 1))
    tile = box_tile(pyramid, [top, left, bottom, right])
    corners = pyramid.box_to_tile_xy(np.array([top, left, bottom, right]), tile)
    is_smallest = tile.level == pyramid.levels.start
    assert is_smallest or (corners >= -1).all()
    assert is_smallest or (corners <= SIDE).all()
    assert tile.top % (SIDE // 2) == tile.left % (SIDE // 2) == 0


@given(size=SIZES, level=st.integers(-2, 3), data=st.data())
def test_tiles_reach_every_pixel(size: tuple[int, int], level: int, data) -> None:
    pyramid = make_pyramid(size)
    level = pyramid.clip_level(level)
    position = np.array([data.draw(st.integers(0, side - 1)) for side in size])
    tile = pyramid.tile_at(level, position)
    in_tile = pyramid.to_tile_xy(position, tile)
    assert (in_tile > -1).all()
    assert (in_tile < SIDE).all()
    level_size = np.array(pyramid.input_size) * 2.0**level
    assert ((np.array([tile.top, tile.left]) < level_size).all()) or level < 0


def test_a_tile_is_the_magnified_image() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    image[192:320, 128:256] = 255
    pyramid = make_pyramid((512, 512))
    tile = Tile(1, 256, 256)  # rows and columns 128 to 256 of the image
    cut = pyramid.crop(image, tile)
    assert cut.shape == (SIDE, SIDE, 3)
    assert cut[120].max() == 0
    assert (cut[136, 1:-1] == 255).all()
    assert pyramid.to_tile_xy(np.array([191.5, 127.5]), tile).tolist() == [-0.5, 127.5]


def test_a_tile_ends_with_the_image() -> None:
    pyramid = make_pyramid((512, 300))
    assert pyramid.crop(np.zeros((512, 300, 3), np.uint8), Tile(0, 256, 128)).shape == (
        256,
        172,
        3,
    )
    assert pyramid.crop(np.zeros((512, 300, 3), np.uint8), Tile(-1, 0, 0)).shape == (
        256,
        150,
        3,
    )


def test_a_box_reaches_from_its_first_to_its_last_pixel() -> None:
    pyramid = make_pyramid((512, 512))
    corners = pyramid.box_to_tile_xy(np.array([10, 20, 29, 49]), Tile(0, 0, 0))
    assert corners.tolist() == [[20, 10], [49, 29]]
    corners = pyramid.box_to_tile_xy(np.array([10, 20, 29, 49]), Tile(1, 0, 0))
    assert corners.tolist() == [[40, 20], [99, 59]]  # two tile pixels for each
    corners = pyramid.box_to_tile_xy(np.array([10, 20, 10, 20]), Tile(-2, 0, 0))
    assert (corners[1] > corners[0]).all()


# logits


@given(size=SIZES, level=st.integers(-1, 3))
def test_logits_are_pasted_where_they_were_cut(size: tuple[int, int], level: int) -> None:
    pyramid = make_pyramid(size)
    rows, columns = np.indices(size)
    plane = (rows / size[0] + 2 * columns / size[1]).astype(np.float32)
    tile = pyramid.tile_at(pyramid.clip_level(level), np.array(size) / 3)
    pasted = pyramid.paste(pyramid.cut(plane, tile, 128)[None], tile, size, -10)[0]
    inside = pasted > -9
    assert inside.any()
    tolerance = 4 / min(pyramid.zoom_yx(tile.level)) / min(size) + 1e-3
    inner = inside & np.roll(inside, 3, 0) & np.roll(inside, -3, 0)
    np.testing.assert_allclose(pasted[inner], plane[inner], atol=3 * tolerance)


@given(positions=st.lists(st.floats(-5, 15), min_size=1, max_size=9), count=st.integers(1, 10))
def test_interpolation_is_that_of_numpy(positions: list[float], count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(np.float32)
    expected = np.interp(positions, np.arange(count) + 0.5, values)
    found = interpolate(np.stack([values, -values]), np.array(positions), axis=1)
    np.testing.assert_allclose(found, [expected, -expected], atol=1e-5)


# prompts


def test_an_earlier_answer_tells_the_size() -> None:
    pyramid = make_pyramid((512, 512))
    mask = np.zeros((256, 256), bool)
    mask[50:66, 50:66] = True  # 32 × 32 image pixels
    [tile] = choose_tiles(pyramid, PromptSet([[110, 110]]), mask, never)
    assert tile == box_tile(pyramid, [100, 100, 131, 131])
    [wider] = choose_tiles(pyramid, PromptSet([[110, 110], [300, 110]]), mask, never)
    assert wider.level < tile.level


def test_background_clicks_do_not_change_the_tile() -> None:
    pyramid = make_pyramid((512, 512))
    prompts = PromptSet([[400, 400]], [0], box_yxyx=[100, 100, 131, 131])
    [tile] = choose_tiles(pyramid, prompts, None, never)
    assert tile == box_tile(pyramid, [100, 100, 131, 131])


def test_an_empty_answer_without_clicks_shows_the_middle() -> None:
    pyramid = make_pyramid((512, 512))
    prompts = PromptSet(mask_logits=np.full((512, 512), -1.0))
    [tile] = choose_tiles(pyramid, prompts, np.zeros((512, 512), bool), never)
    assert tile == Tile(0, 128, 128)


@pytest.mark.parametrize("diameter", [3, 12, 60, 200])
def test_a_click_is_answered_around_the_estimated_size(diameter: int) -> None:
    """Also from afar, where the network sees no more than that it must look closer."""
    pyramid = make_pyramid((2000, 2000))

    def estimate(tile: Tile | None) -> float:
        level = 0 if tile is None else tile.level
        return max(math.log2(diameter * pyramid.zoom_yx(level)[0]), 3.5)

    tiles = choose_tiles(pyramid, PromptSet([[700, 900]]), None, estimate)
    levels = [tile.level for tile in tiles]
    assert levels[0] == pyramid.level_of(diameter, diameter)
    assert len(set(levels)) == len(levels) <= 3


def test_clicks_far_apart_are_seen_together() -> None:
    pyramid = make_pyramid((512, 512))
    prompts = PromptSet([[100, 100], [100, 300]])
    for tile in choose_tiles(pyramid, prompts, None, lambda tile: 3.0):
        positions = pyramid.to_tile_xy(prompts.points_yx, tile)
        assert (positions >= 0).all()
        assert (positions < SIDE).all()


def test_a_tile_suits_the_size_of_an_answer_on_another_one() -> None:
    pyramid = make_pyramid((512, 512))
    seen = Tile(0, 128, 128)
    answer = np.zeros((64, 64), bool)
    answer[10:18, 20:28] = True  # 32 × 32 image pixels
    nothing = np.empty((0, 2))
    box = [169.5, 209.5, 197.5, 237.5]
    assert refit_tile(pyramid, seen, answer, nothing) == box_tile(pyramid, box)
    wider = refit_tile(pyramid, seen, answer, np.array([[300.0, 220.0]]))
    assert wider.level < seen.level + 1
