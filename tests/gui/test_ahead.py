from napari_promptable.gui.work.ahead import describe_progress


def test_it_tells_how_long_the_rest_takes() -> None:
    assert describe_progress(0, 4, 0) == "slice 1 of 4"
    assert describe_progress(1, 4, 10) == "slice 2 of 4, 30 s left"
    assert describe_progress(2, 4, 240) == "slice 3 of 4, 4 min left"
