"""Write docs/reference/prompts-json.schema.json; run it after a change of the format."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from napari_promptable.files.prompts_schema import PromptFile
from napari_promptable.propagation.settings import PropagationSettings

PATH = Path(__file__).parents[1] / "reference" / "prompts-json.schema.json"
TEMPLATE = "#/$defs/{model}"


def make_schema() -> dict[str, Any]:
    """Describe the format, with the optional keys that only some programs read and write."""
    schema = PromptFile.model_json_schema()
    settings = TypeAdapter(PropagationSettings).json_schema(ref_template=TEMPLATE)
    for value in settings["properties"].values():
        value.pop("choices", None)  # words of the panel
    schema["$defs"] |= settings.pop("$defs") | {"PropagationSettings": settings}
    schema["properties"] |= {
        "propagation": {"$ref": "#/$defs/PropagationSettings"},
        "current_class": {"type": "string", "description": "class that new objects take"},
    }
    schema["$defs"]["PromptedObject"]["properties"]["class"] = {
        "type": "string",
        "description": "name of the object's class",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "prompts.json of napari-promptable",
    }


def format_schema() -> str:
    """Return the text of the file."""
    return json.dumps(make_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(format_schema(), encoding="utf-8")
