"""The command `tsfm-pipeline`; its subcommands are the modules of `commands`."""

import sys
from collections.abc import Sequence
from typing import Any

from tsfm_pipeline import __version__
from tsfm_pipeline.commands import help_text, load_command, split_command


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a subcommand; return its exit status.

    Args:
        arguments: those of the command line where they are left out.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given in (["--help"], ["-h"]):
        sys.stdout.write(f"{help_text()}\n")
        return 0
    if given == ["--version"]:
        sys.stdout.write(f"tsfm-pipeline {__version__}\n")
        return 0
    name, rest = split_command(given)
    return load_command(name).main(rest)


if __name__ == "__main__":
    sys.exit(main())
