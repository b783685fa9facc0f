"""Classes of objects: their names and colors, and the class that new objects take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from psygnal import Signal

from napari_promptable.annotation.records import ObjectRecords
from napari_promptable.annotation.written import Written
from napari_promptable.errors import LabelError

CLASS_COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#f0e442",
    "#8c510a",
    "#999999",
)
"""Colors of new classes in turn: Okabe and Ito's, brown and grey; safe for the color-blind."""

_COLOR = re.compile("#[0-9a-f]{6}")


class ObjectClasses:
    """The classes that the user defined, and the class that new objects take.

    The records hold the class of each object. Giving an object an unknown class defines it.

    Parameters
    ----------
    records : ObjectRecords
        Names of the objects' classes.

    Attributes
    ----------
    changed : psygnal.Signal
        Emitted when a class is defined, renamed, recolored, removed or chosen.
    """

    changed = Signal()

    def __init__(self, records: ObjectRecords) -> None:
        self._records = records
        self._colors: dict[str, str] = {}
        self._current = ""

    @property
    def colors(self) -> Mapping[str, str]:
        """Colors, "#rrggbb", by class name, in the order in which they were defined."""
        return self._colors

    @property
    def current(self) -> str:
        """Class that new objects take, empty for none."""
        return self._current

    def restore(self, colors: Mapping[str, str], current: str) -> None:
        """Take over the classes of an earlier session and the names its objects have."""
        for name, color in colors.items():
            self.define(name, color)
        self._define_all(self._records.class_names.values())
        self.choose(current if current in self._colors else "")

    def define(self, name: str, color: str = "") -> str:
        """Add a class, or change its color.

        Parameters
        ----------
        name : str
            Spaces around it do not count.
        color : str, optional
            "#rrggbb"; by default it keeps its color, or gets one that is not in use.

        Returns
        -------
        str
            The name.

        Raises
        ------
        LabelError
            If the name is empty or the color is none.
        """
        name, color = name.strip(), color.lower()
        if not name:
            raise LabelError("a class needs a name; type one")
        if color and not _COLOR.fullmatch(color):
            raise LabelError(f"{color!r} is not a color; write it like #e69f00")
        self._colors[name] = color or self._colors.get(name) or self._free_color()
        self.changed.emit()
        return name

    def _free_color(self) -> str:
        used = set(self._colors.values())
        free = (color for color in CLASS_COLORS if color not in used)
        return next(free, CLASS_COLORS[len(used) % len(CLASS_COLORS)])

    def rename(self, name: str, new_name: str) -> None:
        """Rename a class, also for its objects. Raises LabelError if the new name is in use."""
        new_name = new_name.strip()
        if not new_name or (new_name != name and new_name in self._colors):
            raise LabelError(f"{new_name!r} cannot be its name; type one that is not in use")
        self._colors = {
            new_name if each == name else each: color for each, color in self._colors.items()
        }
        if self._current == name:
            self._current = new_name
        self._records.rename_class(self.members(name), new_name)
        self.changed.emit()

    def remove(self, name: str) -> None:
        """Remove a class. Its objects then have none."""
        self._colors.pop(name, None)
        if self._current == name:
            self._current = ""
        self._records.rename_class(self.members(name), "")
        self.changed.emit()

    def choose(self, name: str) -> None:
        """Give new objects a class, empty for none. Raises LabelError if it is unknown."""
        if name and name not in self._colors:
            raise LabelError(f"there is no class {name!r}; define it first")
        self._current = name
        self.changed.emit()

    def members(self, name: str) -> list[int]:
        """Ids of the objects of a class."""
        return [i for i, each in self._records.class_names.items() if each == name]

    def of(self, object_ids: Iterable[int]) -> dict[int, str]:
        """Names of objects' classes by id, empty for none."""
        return {i: self._records.class_names.get(i, "") for i in object_ids}

    def of_new(self, written: Written) -> dict[int, str]:
        """Map the objects of which a change wrote the first pixels to the current class."""
        if not self._current:
            return {}
        before = {i for (i, _), record in written.records_before.items() if record}
        after = {key for key, record in written.records_after.items() if record}
        return {
            object_id: self._current
            for object_id in {object_id for object_id, _ in after} - before
            if all((object_id, index) in after for index in self._records.of(object_id))
        }

    def assign(self, names: Mapping[int, str]) -> None:
        """Set the classes of objects by id. An empty name removes the class."""
        self._define_all(names.values())
        for name in dict.fromkeys(names.values()):
            self._records.rename_class((i for i, n in names.items() if n == name), name)

    def _define_all(self, names: Iterable[str]) -> None:
        for name in dict.fromkeys(names):
            if name and name not in self._colors:
                self.define(name)
