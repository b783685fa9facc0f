"""All commands, and the one place that turns an error into a line and an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from napari_promptable.cli import (
    auto,
    demo,
    embed,
    evaluate,
    exchange,
    finetune,
    measure,
    models,
    segment,
)
from napari_promptable.errors import PromptableError

DONE, MISTAKE, INTERRUPTED = 0, 2, 130  # exit codes

_PROGRAM = "napari-promptable"

app = typer.Typer(
    name=_PROGRAM,
    help="Promptable segmentation without a screen.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.run)
app.add_typer(models.app, name="models")
app.command("segment")(segment.run)
app.command("auto")(auto.run)
app.command("embed")(embed.run)
app.command("evaluate")(evaluate.run)
app.command("finetune")(finetune.run)
app.command("export")(exchange.run_export)
app.command("import")(exchange.run_import)
app.command("measure")(measure.run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default, the arguments of this process.

    Returns
    -------
    int
        0 done; 2 after a user's mistake, with one line on stderr; 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # we report its errors
    arguments = None if argv is None else list(argv)
    try:
        code = get_command(app).main(arguments, prog_name=_PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(_describe(error))
    except PromptableError as error:
        return _refuse(str(error))
    except OSError as error:  # such as a full disk
        return _refuse(
            f"{error.filename or 'a file'} cannot be used ({error.strerror or error})"
        )
    except MemoryError as error:
        return _refuse(f"there is not enough memory ({error}); crop the image")
    if code == INTERRUPTED:
        print(f"{_PROGRAM}: interrupted", file=sys.stderr)
    return code or DONE


def _refuse(problem: str) -> int:
    """Print the problem in one line on stderr."""
    print(f"{_PROGRAM}: error: {' '.join(problem.split())}", file=sys.stderr)
    return MISTAKE


def _describe(error: typer.TyperException) -> str:
    """Describe the mistake in a command line, and name the help that explains it."""
    problem = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    command = _PROGRAM if context is None else context.command_path
    return f"{problem}; see {command} --help"
