"""What screening found, kept per case until one of its files or rules changes."""

import json
from pathlib import Path
from typing import Any

from tsfm_pipeline.files import write_bytes


class ScreeningCache:
    """One file per dataset with a line of JSON per case; of two lines of a case the later counts.

    Lines are appended one by one as cases are done, so a killed run loses none. A line that was
    cut off is ignored, and lines that count no more are dropped when a file is next opened.

    Args:
        root: folder of the files; made when the first line is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._datasets: dict[str, dict[str, dict[str, Any]]] = {}

    def found(self, dataset: str, case: str, state: str) -> dict[str, Any] | None:
        """Return what was found of a case in this state; None where it is unknown."""
        line = self._lines(dataset).get(case)
        return line["found"] if line and line["state"] == state else None

    def keep(self, dataset: str, case: str, state: str, found: dict[str, Any]) -> None:
        """Write what was found of a case in this state."""
        line = {"case": case, "state": state, "found": found}
        self._lines(dataset)[case] = line
        self._root.mkdir(parents=True, exist_ok=True)
        with self._file(dataset).open("ab", buffering=0) as file:
            file.write(_encoded(line))

    def _file(self, dataset: str) -> Path:
        return self._root / f"{dataset}.jsonl"

    def _lines(self, dataset: str) -> dict[str, dict[str, Any]]:
        if dataset not in self._datasets:
            self._datasets[dataset] = self._load(self._file(dataset))
        return self._datasets[dataset]

    def _load(self, path: Path) -> dict[str, dict[str, Any]]:
        if not path.is_file():
            return {}
        content = path.read_bytes()
        lines = {}
        for text in content.splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # cut off by a crash of the machine or a full disk
                continue
            lines[line["case"]] = line
        tidy = b"".join(_encoded(line) for line in lines.values())
        if tidy != content:
            write_bytes(path, tidy)
        return lines


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def state_of(paths: list[Path]) -> str | None:
    """Describe files by path, size and time of change; None where one can't be found.

    Opens no file.
    """
    try:
        stats = [(path, path.stat()) for path in paths]
    except OSError:
        return None
    return "\n".join(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}" for path, stat in stats)
