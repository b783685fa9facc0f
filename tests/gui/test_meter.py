from napari_promptable.gui.work.meter import Meter


def test_it_tells_how_long_the_rest_takes() -> None:
    times = iter([0, 10, 240])
    meter = Meter(4, clock=lambda: next(times))
    assert meter.describe() == "slice 1 of 4"
    assert meter.describe() == "slice 2 of 4, 30 s left"
    assert meter.describe() == "slice 3 of 4, 4 min left"
