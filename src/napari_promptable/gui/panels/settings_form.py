"""Controls for the fields of a settings class, made by magicgui from its JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from magicgui.widgets import create_widget
from pydantic import TypeAdapter
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractSpinBox, QGridLayout, QLabel, QWidget

from napari_promptable.gui.panels.controls import SPACING, name_widget

_STEP = 0.05
_LARGEST = 100.0  # where the setting has neither an upper limit nor an extra ``largest``
_STYLE = """
QWidget { font-size: 8pt; }
QAbstractSpinBox { padding: 0px 2px; min-width: 30px; }
"""


class SettingsForm(QWidget):
    """Labelled controls for some fields of a settings object.

    Parameters
    ----------
    settings : pydantic model or dataclass
        Its values are shown first. Title, description and limits of its fields make the
        controls; see `make_control`.
    names : sequence of str
        The fields, in order. A choice takes a row of its own; numbers share rows.
    columns : int, default 1
        How many numbers share a row.
    """

    changed = Signal()

    def __init__(
        self,
        settings: Any,
        names: Sequence[str],
        columns: int = 1,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setStyleSheet(_STYLE)
        self._controls = {name: make_control(settings, name) for name in names}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACING)
        row = column = 0
        for control in self._controls.values():
            control.changed.connect(lambda _: self.changed.emit())
            is_choice = control.widget_type == "ComboBox"
            if column and (is_choice or column == 2 * columns):
                row, column = row + 1, 0
            grid.addWidget(QLabel(control.label), row, column)
            grid.addWidget(control.native, row, column + 1, 1, -1 if is_choice else 1)
            column = 2 * columns if is_choice else column + 2

    def values(self) -> dict[str, Any]:
        """Return the chosen value of each field."""
        return {name: control.value for name, control in self._controls.items()}

    def set_values(self, settings: Any) -> None:
        """Show the values of other settings."""
        for name, control in self._controls.items():
            value = getattr(settings, name)
            control.value = str(value) if control.widget_type == "ComboBox" else value


def make_control(settings: Any, name: str) -> Any:
    """Make the magicgui widget of one field.

    Parameters
    ----------
    settings : pydantic model or dataclass
        Holds the field.
    name : str
        Of the field; becomes the widget's object name.

    Returns
    -------
    magicgui.widgets.ComboBox or magicgui.widgets.FloatSpinBox
        A list for an enumeration, whose texts are the field's extra ``choices`` in the order
        of its members; a number within the field's limits otherwise.
    """
    field = _schema_of(type(settings), name)
    value: Any = getattr(settings, name)
    options: dict[str, Any]
    if "choices" in field:
        value = str(value)
        options = {"choices": list(zip(field["choices"], field["enum"], strict=True))}
    else:
        low, high = field["minimum"], field.get("maximum", field.get("largest", _LARGEST))
        options = {"min": low, "max": high, "step": _STEP}
    control = create_widget(value, name=name, label=field["title"], options=options)
    if "choices" not in field:  # keys and wheel are enough, and leave room for two columns
        control.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    name_widget(control.native, name, field["description"])
    return control


def _schema_of(settings_class: type, name: str) -> dict[str, Any]:
    """JSON schema of one field, the definition of an enumeration included."""
    schema = _whole_schema_of(settings_class)
    field = schema["properties"][name]
    definition = field.get("$ref", "").rpartition("/")[2]
    merged: dict[str, Any] = schema.get("$defs", {}).get(definition, {}) | field
    return merged


@cache
def _whole_schema_of(settings_class: type) -> dict[str, Any]:
    return TypeAdapter(settings_class).json_schema(mode="serialization")
