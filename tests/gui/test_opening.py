"""Opening the widget, and the first click."""

import gc
import threading

import numpy as np
import pytest

from napari_promptable.gui.work.imports import spare_collections

pytestmark = pytest.mark.gui


def test_opened_on_an_image_it_waits_for_the_first_click(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image, scale=(2, 2), translate=(5, 7), rotate=20)
    assert user.layer_names == [
        "image",
        "image objects",
        "preview",
        "prompt boxes",
        "prompt points",
    ]
    for layer in user.viewer.layers:
        np.testing.assert_allclose(layer.data_to_world((3, 4)), user.world(3, 4))
    assert user.control("tool_positive").isChecked()
    assert user.viewer.layers.selection.active == user.points
    assert user.points.mode == "add"
    assert user.status == "Click inside an object, or drag a box."
    assert len(user.model.planes) == 1  # the plane in view is encoded ahead of the click
    assert not user.control("commit").isEnabled()

    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert [button.text() for button in user.candidates] == ["0.60", "0.90", "0.70"]
    assert user.chosen_candidate == 1
    assert "Commit (C)" in user.status
    assert user.control("commit").isEnabled()
    assert not user.labels.any()


def test_opened_without_an_image_it_names_the_samples(open_plugin, make_disks) -> None:
    user = open_plugin()
    assert "Open Sample" in user.status
    assert user.layer_names == []

    disks = make_disks()
    user.image = user.viewer.add_image(disks.image)
    user.wait_for(lambda: user.session is not None)
    user.wait_idle()
    assert user.layer_names[1:] == ["Image objects", "preview", "prompt boxes", "prompt points"]
    assert user.viewer.layers.selection.active == user.points
    user.viewer.reset_view()  # the docks have taken their room since the image came
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_it_is_narrow_and_every_control_says_what_it_does(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks().image)
    assert user.widget.minimumSizeHint().width() <= 300
    names = (
        "image channel model device labels object_id live candidate segment commit undo redo "
        "new_object boxes_to_objects cancel progress status"
    )
    for name in names.split():
        assert user.control(name).toolTip(), name


def test_pointing_at_a_candidate_shows_it(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks(centres=[(30, 40)], radius=14.0).image)
    user.click(user.world(30, 40))
    masks = user.session.answers.prediction(()).masks
    user.widget.controller.panel.object.candidates.hovered.emit(2)
    np.testing.assert_array_equal(user.preview_mask, masks[2])
    user.widget.controller.panel.object.candidates.hovered.emit(-1)
    np.testing.assert_array_equal(user.preview_mask, masks[1])
    assert user.session.answers.candidate(()) == 1


def test_no_dot_where_there_is_no_click(open_plugin) -> None:
    """napari draws an empty points layer as one point at the origin, of the smallest size."""
    user = open_plugin(np.zeros((2, 60, 80)), contrast_limits=(0, 1))
    user.click(user.on_plane(30, 40))
    user.viewer.dims.set_current_step(0, 1 - user.index()[0])
    user.wait_idle()
    canvas = user.viewer.screenshot(canvas_only=True, flash=False)
    assert canvas[..., :3].max() == 0


def test_the_panel_opens_before_what_the_first_layers_need(
    open_plugin, make_disks, monkeypatch
) -> None:
    go_on, threads = threading.Event(), []

    def make_slowly() -> None:
        threads.append(threading.current_thread())
        go_on.wait(20)

    monkeypatch.setattr("napari_promptable.gui.work.warm_up.is_warm", lambda: False)
    monkeypatch.setattr("napari_promptable.gui.work.warm_up.make_first_layers", make_slowly)
    disks = make_disks()
    user = open_plugin(disks.image, is_awaited=False)
    assert user.layer_names == ["image"]
    assert user.status == "Getting ready…"
    user.push("cancel", wait=False)
    go_on.set()
    user.wait_for(lambda: "prompt points" in user.layer_names)
    user.wait_idle()
    assert threading.main_thread() not in threads
    assert user.status == "Click inside an object, or drag a box."
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_closing_while_it_gets_ready_leaves_nothing(
    open_plugin, make_disks, monkeypatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("napari_promptable.gui.work.warm_up.is_warm", lambda: False)
    monkeypatch.setattr(
        "napari_promptable.gui.work.warm_up.make_first_layers", lambda: go_on.wait(20)
    )
    user = open_plugin(make_disks().image, is_awaited=False)
    user.close_dock()
    go_on.set()
    user.process_events()
    assert user.layer_names == ["image"]


def test_the_layers_are_drawn_before_torch_is_imported(
    open_plugin, make_disks, fake_model, monkeypatch
) -> None:
    done = []

    def note_drawings(viewer) -> None:
        events = viewer.window._qt_viewer.canvas._scene_canvas.events
        events.draw.connect(lambda _: done.append(f"{len(viewer.layers)} layers"))

    def load(*_args, **_options):
        done.append("model")
        return fake_model

    monkeypatch.setattr("napari_promptable.gui.work.warm_up.is_warm", lambda: False)
    monkeypatch.setattr("napari_promptable.gui.work.warm_up.make_first_layers", lambda: None)
    monkeypatch.setattr("napari_promptable.predict.load_model.load_model", load)
    open_plugin(make_disks().image, before=note_drawings)
    assert done.index("5 layers") < done.index("model")


@pytest.mark.parametrize("is_frozen", [False, True])
def test_imports_are_not_looked_through(monkeypatch, is_frozen) -> None:
    collected, frozen = [], []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: int(is_frozen))
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(gc, "unfreeze", lambda: frozen.append(False))

    def note(phase: str, _info: object) -> None:
        collected.append(phase)

    thresholds = gc.get_threshold()
    gc.callbacks.append(note)
    try:
        with spare_collections():
            assert gc.isenabled(), "dask notes it when it is imported"
            imported = [[] for _ in range(10_000)]
            collections = list(collected)
    finally:
        gc.callbacks.remove(note)
    assert len(imported) == 10_000
    assert collections == []
    assert gc.get_threshold() == thresholds
    assert thresholds[0] > 0
    assert gc.isenabled()
    assert frozen == ([] if is_frozen else [True, False])
