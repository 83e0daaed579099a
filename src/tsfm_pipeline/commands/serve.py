"""Show a folder of pages in the browser, on this machine alone: FOLDER [--port 8000]."""

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run until interrupted: `scans.serve`."""
    from tsfm_pipeline.scans.serve import serve

    return serve(arguments)
