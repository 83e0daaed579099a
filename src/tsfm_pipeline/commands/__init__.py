"""The subcommands of `tsfm-pipeline`: one module each, found by its name.

`commands/check_data.py` is `tsfm-pipeline check-data`. The first line of its docstring is what
`tsfm-pipeline --help` says of it, and its `main(arguments)` does the work and returns the exit
status. All are imported for that help, so they import what is heavy inside functions.
"""

import difflib
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

DEFAULT = "run"


def command_names() -> list[str]:
    """Return the names of all subcommands, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load_command(name: str) -> ModuleType:
    """Import the module of a subcommand."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def help_text() -> str:
    """Return what `tsfm-pipeline --help` says."""
    lines = [
        f"  {name:12} {(load_command(name).__doc__ or '').splitlines()[0]}"
        for name in command_names()
    ]
    return "\n".join(
        [
            "Usage: tsfm-pipeline [COMMAND] [OPTIONS]",
            "",
            f"Without a command: {DEFAULT}. COMMAND --help says more.",
            "",
            *lines,
            f"  {'--version':12} print the version",
            "",
            "Scans of your own: tsfm-predict --help",
        ]
    )


def split_command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the subcommand and what is left for it.

    Raises:
        SystemExit: no subcommand of this name; the message names the nearest one.
    """
    first, rest = (arguments[0], list(arguments[1:])) if arguments else (DEFAULT, [])
    if first.startswith("-"):
        return DEFAULT, list(arguments)
    if first not in command_names():
        near = difflib.get_close_matches(first, command_names(), n=1)
        raise SystemExit(
            f"tsfm-pipeline: no command {first!r}"
            f"{f'; did you mean {near[0]!r}?' if near else ''} It has {', '.join(command_names())}."
        )
    return first, rest
