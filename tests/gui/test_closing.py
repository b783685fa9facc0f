"""Nothing of ours remains after the dock or a layer is gone; no window."""

import threading
from weakref import ref

import numpy as np
import pytest

from napari_promptable.gui.editing.widget import ObjectEditorWidget

pytestmark = pytest.mark.gui

NUM_CYCLES = 50


def test_opening_and_closing_many_times_leaves_nothing(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    desk.close()
    callbacks, threads = desk.callbacks(), threading.active_count()
    controllers = []
    for _ in range(NUM_CYCLES):
        desk.open()
        controllers.append(ref(desk.widget.controller))
        desk.close()
    assert [layer.name for layer in desk.viewer.layers] == ["image", "image objects"]
    assert desk.callbacks() == callbacks
    assert threading.active_count() <= threads
    desk.wait_freed({f"cycle {n}": controller for n, controller in enumerate(controllers)})


def test_the_editing_window_leaves_nothing(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    own, callbacks = desk.job.labels_layer.colormap, desk.callbacks()
    gone = {}
    for number in range(5):
        widget = ObjectEditorWidget(desk.viewer)
        widget.editor.panel.classes.by_class_changed.emit(True)
        widget.editor.panel.touch_up.split_requested.emit()
        desk.settle()
        gone[f"editor {number}"] = ref(widget.editor)
        widget.close()
        widget.deleteLater()
        del widget
        desk.settle()
    assert "cutting line" not in desk.viewer.layers
    assert desk.job.labels_layer.colormap is own
    assert desk.callbacks() == callbacks
    desk.wait_freed(gone)


def test_nothing_reacts_after_closing(desk, make_disks) -> None:
    """Whatever happens in the viewer and to the session, no panel that is gone is called."""
    desk.open()
    desk.click(*make_disks().centres[0])
    session, labels_layer = desk.job.session, desk.job.labels_layer
    desk.close()
    session.commit()
    session.undo()
    labels_layer.data_setitem((np.array([3]), np.array([4])), 5)
    desk.viewer.add_image(np.zeros((4, 60, 80)))
    desk.viewer.dims.ndisplay = 3
    desk.viewer.layers.clear()
    desk.settle()  # pytest-qt reports errors of callbacks


def test_removed_layers_are_freed(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    gone = {
        "session": ref(desk.job.session),
        "labels layer": ref(desk.job.labels_layer),
        "labels": ref(desk.job.labels_layer.data),
    }
    desk.viewer.layers.remove(desk.job.labels_layer)
    desk.settle()
    desk.wait_freed(gone)
    assert desk.job.labels_layer in desk.viewer.layers

    gone = {
        "image": ref(desk.image),
        "session": ref(desk.job.session),
        "labels layer": ref(desk.job.labels_layer),
        "preview": ref(desk.job.layers.preview),
    }
    desk.image = None
    desk.viewer.layers.clear()
    desk.settle()
    desk.wait_freed(gone)


def test_labels_that_stay_keep_their_session(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    desk.close()
    desk.open()
    assert desk.job.session.history.can_undo


def test_embeddings_of_a_removed_image_are_freed(
    desk, make_disks, fake_model, monkeypatch
) -> None:
    made = []
    encode = fake_model.encode

    def record(*args, **options):
        embedding = encode(*args, **options)
        made.append(ref(embedding.features))  # the cache wraps the rest anew
        return embedding

    monkeypatch.setattr(fake_model, "encode", record)
    desk.viewer.add_image(make_disks(centres=[(30, 30)]).image, name="other")
    desk.open()
    [of_other] = made
    desk.choose("image", "image")
    [_, of_image] = made
    desk.viewer.layers.remove("other")
    desk.settle()
    desk.wait_idle()
    desk.wait_freed({"embedding": of_other})
    assert of_image() is not None
