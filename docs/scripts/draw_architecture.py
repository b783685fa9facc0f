"""Draw docs/images/architecture.svg: the folders of the package and which import which.

    python docs/scripts/draw_architecture.py

Folders and arrows come from the imports in the source, texts from the first line of each
docstring. An arrow that follows from two others is left out. tests/test_docs.py fails when the
picture no longer agrees with the source.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/architecture.svg"
PACKAGE = "napari_promptable"
HIDDEN = {"__init__", "__main__"}  # they only forward names

BOX_WIDTH, BOX_HEIGHT, LANE_WIDTH = 180, 90, 16
COLUMN_GAP, ROW_GAP, MARGIN = 22, 40, 14
LINE_LENGTH, MAX_LINES = 28, 4
FILLS = {"gui": "#dbe9f6", "cli": "#dbe9f6", "models": "#e4f1dd", "weights": "#e4f1dd"}
STYLE = """
text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1b1f24 }
.name { font-size: 14px; font-weight: 600 } .small { font-size: 10.5px; fill: #3d4650 }
.folders { font-style: italic }
path { fill: none; stroke: #7a8591; stroke-width: 1.3; marker-end: url(#tip) }
rect { stroke: #56616d; stroke-width: 1 }
"""

Arrow = tuple[str, str]


@dataclass
class Place:
    """A box, or the lane of an arrow that passes a row."""

    name: str
    row: int
    width: float
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)
    x: float = 0.0

    @property
    def is_box(self) -> bool:
        """Whether this is a folder."""
        return self.width == BOX_WIDTH

    @property
    def top(self) -> float:
        """Distance of the upper edge from the top of the picture."""
        return MARGIN + self.row * (BOX_HEIGHT + ROW_GAP)


def read_purposes() -> dict[str, str]:
    """First line of each folder's or module's docstring, up to its first pause."""
    purposes = {}
    for path in (ROOT / "src" / PACKAGE).iterdir():
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix == ".py" and source.exists() and path.stem not in HIDDEN:
            docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            line = re.split(r"[:(]|\.( |$)", docstring.splitlines()[0])[0]
            purposes[path.stem] = line.replace("`", "").strip()
    return purposes


def find_inner_folders(name: str) -> list[str]:
    """Names of the packages inside a folder."""
    return sorted(
        path.parent.name for path in (ROOT / "src" / PACKAGE / name).glob("*/__init__.py")
    )


def find_arrows() -> set[Arrow]:
    """Pairs of folders, the first of which imports the second."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    arrows = set()
    for module in graph.modules - {PACKAGE}:
        for imported in graph.find_modules_directly_imported_by(module) - {PACKAGE}:
            arrow = module.split(".")[1], imported.split(".")[1]
            if arrow[0] != arrow[1] and not HIDDEN & set(arrow):
                arrows.add(arrow)
    return arrows


def find_below(arrows: set[Arrow]) -> dict[str, set[str]]:
    """Everything that a folder reaches, directly or through others."""
    below: dict[str, set[str]] = {name: set() for arrow in arrows for name in arrow}
    changed = True
    while changed:
        changed = False
        for start, end in arrows:
            reached = {end} | below[end]
            changed |= not reached <= below[start]
            below[start] |= reached
    return below


def leave_out_implied(arrows: set[Arrow]) -> set[Arrow]:
    """Leave out each arrow that a longer way over other arrows implies."""
    below = find_below(arrows)
    return {
        (start, end)
        for start, end in arrows
        if not any(first == start and end in below[middle] for first, middle in arrows)
    }


def arrange(names: set[str], arrows: set[Arrow]) -> list[list[Place]]:
    """Put each folder one row above the highest that it imports, with few crossings."""
    depths = dict.fromkeys(names, 0)
    for _ in names:
        for start, end in arrows:
            depths[start] = max(depths[start], depths[end] + 1)
    highest = max(depths.values())
    boxes = {name: Place(name, highest - depths[name], BOX_WIDTH) for name in sorted(names)}
    rows: list[list[Place]] = [[] for _ in range(highest + 1)]
    for box in boxes.values():
        rows[box.row].append(box)
    for start, end in sorted(arrows):
        previous = boxes[start]
        for row in range(previous.row + 1, boxes[end].row):
            lane = Place("", row, LANE_WIDTH)
            rows[row].append(lane)
            connect(previous, lane)
            previous = lane
        connect(previous, boxes[end])
    for row in rows:
        set_positions(row)
    for _ in range(12):
        for row in rows:
            order(row, "above")
        for row in reversed(rows):
            order(row, "below")
    return rows


def connect(upper: Place, lower: Place) -> None:
    """Let an arrow go from one place to the next."""
    upper.below.append(lower)
    lower.above.append(upper)


def order(row: list[Place], side: str) -> None:
    """Sort a row by the mean position of its neighbours in the row above or below."""

    def mean_position(place: Place) -> float:
        neighbours: list[Place] = getattr(place, side)
        return sum(n.x for n in neighbours) / len(neighbours) if neighbours else place.x

    row.sort(key=mean_position)
    set_positions(row)


def set_positions(row: list[Place]) -> None:
    """Place a row side by side around x = 0; ``x`` is a place's centre."""
    left = -(sum(place.width + COLUMN_GAP for place in row) - COLUMN_GAP) / 2
    for place in row:
        place.x = left + place.width / 2
        left += place.width + COLUMN_GAP


def draw_box(box: Place, purpose: str) -> list[str]:
    """Draw a folder with its name, its purpose and the folders inside it."""
    left, fill = box.x - BOX_WIDTH / 2, FILLS.get(box.name, "#f6f3ea")
    lines = [("small", escape(line)) for line in textwrap.wrap(purpose, LINE_LENGTH)]
    folders = " · ".join(find_inner_folders(box.name))
    lines += [("small folders", line) for line in textwrap.wrap(folders, LINE_LENGTH)]
    assert len(lines) <= MAX_LINES, f"{box.name}: the docstring's first line is too long"
    texts = [f'<text class="name" x="{box.x:g}" y="{box.top + 20:g}">{box.name}</text>']
    texts += [
        f'<text class="{kind}" x="{box.x:g}" y="{box.top + 37 + 14 * i:g}">{line}</text>'
        for i, (kind, line) in enumerate(lines)
    ]
    return [
        f'<rect x="{left:g}" y="{box.top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="6" fill="{fill}"/>',
        *texts,
    ]


def draw_arrows(box: Place) -> list[str]:
    """Draw a curve from a box along its lanes to each box that it imports."""
    paths = []
    exits = sorted(box.below, key=lambda place: place.x)
    for number, first in enumerate(exits):
        x = box.x + (number - (len(exits) - 1) / 2) * min(24, BOX_WIDTH / len(exits))
        y = box.top + BOX_HEIGHT
        path, place, previous = f"M{x:g} {y:g}", first, box
        while True:
            entries = sorted(place.above, key=lambda upper: upper.x)
            shift = entries.index(previous) - (len(entries) - 1) / 2
            end_x = place.x + shift * min(24, BOX_WIDTH / len(entries)) * place.is_box
            end_y = place.top - 3 * place.is_box
            middle = (y + end_y) / 2
            path += f" C{x:g} {middle:g} {end_x:g} {middle:g} {end_x:g} {end_y:g}"
            x, y = end_x, end_y
            if place.is_box:
                break
            y = place.top + BOX_HEIGHT
            path += f" L{x:g} {y:g}"
            previous, place = place, place.below[0]
        paths.append(f'<path d="{path}"/>')
    return paths


def draw() -> str:
    """The picture as the text of an SVG file."""
    purposes = read_purposes()
    rows = arrange(set(purposes), leave_out_implied(find_arrows()))
    places = list(itertools.chain.from_iterable(rows))
    half_width = max(abs(place.x) + place.width / 2 for place in places) + MARGIN
    height = 2 * MARGIN + len(rows) * BOX_HEIGHT + (len(rows) - 1) * ROW_GAP
    boxes = [place for place in places if place.is_box]
    view = f"{-half_width:g} 0 {2 * half_width:g} {height:g}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" text-anchor="middle">',
        "<title>Folders of napari_promptable; arrows point to what is imported</title>",
        f"<style>{STYLE}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" '
        'style="fill:#7a8591;stroke:none;marker-end:none"/></marker>',
        f'<rect x="{-half_width:g}" y="0" width="{2 * half_width:g}" height="{height:g}" '
        'style="stroke:none" fill="#ffffff"/>',
        *itertools.chain.from_iterable(draw_arrows(box) for box in boxes),
        *itertools.chain.from_iterable(draw_box(box, purposes[box.name]) for box in boxes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
