"""Objects that are in each other's way."""

from napari_promptable.annotation.write_order import order_writes


def test_those_in_the_way_come_first() -> None:
    chain = {number: [number + 1] for number in range(5000)}
    assert order_writes(chain) == list(range(4999, -1, -1))


def test_a_circle_is_opened_at_the_first_and_others_keep_their_order() -> None:
    assert order_writes({1: [2], 2: [3], 3: [1], 4: [9], 5: []}) == [3, 2, 1, 4, 5]
