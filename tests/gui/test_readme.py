import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_the_keys(desk) -> None:
    desk.open()
    desk.click(20, 24)
    bound = {str(key) for key in desk.job.layers.points.keymap}
    table = README.read_text(encoding="utf-8").partition("\nKey (on")[2].partition("\n\n")[0]
    keys = re.sub(
        r"(\S+\+)(\d)…(\d)",
        lambda m: " ".join(f"{m[1]}{n}" for n in range(int(m[2]), int(m[3]) + 1)),
        table.split("---|---")[1],
    )
    named = set(re.findall(r"(?<!\w)(?:(?:Ctrl|Shift)\+)*[A-Z](?!\w)", keys))
    named |= set(re.findall(r"Ctrl\+\d", keys))
    assert named == bound
