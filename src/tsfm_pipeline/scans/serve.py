"""Show a folder of pages on this machine alone: `tsfm-pipeline serve FOLDER`."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOPBACK = "127.0.0.1"


def open_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a folder's files that only this machine can reach; port 0 takes any.

    Raises:
        OSError: the port is taken.
    """
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    return ThreadingHTTPServer((LOOPBACK, port), handler)


def serve(arguments: Sequence[str]) -> int:
    """Run the command until it is interrupted; return its exit status."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline serve",
        description="Show a folder of pages, such as that of tsfm-predict --page, in the browser."
        " Nobody but this machine can open it.",
    )
    parse.add_argument("folder", type=Path, help="folder of the pages")
    parse.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    given = parse.parse_args(arguments)
    if not given.folder.is_dir():
        sys.stderr.write(f"tsfm-pipeline serve: {given.folder} is no folder; correct the path\n")
        return 2
    try:
        server = open_server(given.folder, given.port)
    except OSError as error:
        sys.stderr.write(
            f"tsfm-pipeline serve: port {given.port}: {error.strerror}; give another --port\n"
        )
        return 2
    with server:
        sys.stdout.write(f"http://{LOOPBACK}:{server.server_port}/  (Ctrl+C ends it)\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
