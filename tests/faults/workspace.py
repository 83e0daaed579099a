"""A small project of its own, and the commands whose faults are looked at."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = "faults"
SCANS = "data/01_raw/phantom/Task03_Liver/imagesTr"
SEGMENTATIONS = "data/predicted"
SECRET = "open sesame"
"""An environment variable of every command, which none may write anywhere."""
PATIENCE = 600
"""Seconds after which a command counts as hanging."""

PHASES = ("data_pool", "pretrain", "transfer", "predict", "report")
"""What is run one after the other. Each phase starts from what those before it left."""

TABLES = ("scores", "statuses")
WITHOUT_REPORT = {
    "phantom": (),
    "data_pool": (),
    "pretrain": ("pretrain",),
    "transfer": ("pretrain", "transfer"),
}
"""Phase -> pipelines whose tables it ends with: only `report` makes the report, to save time."""

Disturb = Callable[[subprocess.Popen[str], Path], None]
"""Does something to a running command; gets its process and the file that its output goes to."""


@dataclass(frozen=True)
class Run:
    """A command that has ended.

    Attributes:
        phase: which command.
        status: its exit status; below 0 the signal that ended it; None where it hung and was ended.
        lines: what it printed, without the time of day.
        seconds: how long it took.
        disturbed_after: seconds from its start to the end of what disturbed it.
    """

    phase: str
    status: int | None
    lines: tuple[str, ...]
    seconds: float
    disturbed_after: float

    @property
    def traceback(self) -> bool:
        """Whether it printed one."""
        return any(line.startswith("Traceback (most recent call last)") for line in self.lines)


@dataclass(frozen=True)
class Workspace:
    """A folder with a project's configuration and data."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Workspace":
        """Make a project without data."""
        root.mkdir(parents=True)
        for name in ("conf", "src"):
            shutil.copytree(
                REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        (root / "conf" / "local").mkdir(exist_ok=True)
        shutil.copytree(REPOSITORY / "tests" / "faults" / "conf", root / "conf" / ENVIRONMENT)
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(REPOSITORY / name, root / name)
        return cls(root)

    def copy_to(self, root: Path) -> "Workspace":
        """Copy everything, with times of change; nothing is shared, as some files grow in place."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        if (root / "mlflow.db").exists():  # it knows its artefacts by absolute paths
            with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
                for table, column in (
                    ("runs", "artifact_uri"),
                    ("experiments", "artifact_location"),
                ):
                    database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                        (f"{self.root}/", f"{root}/"),
                    )
        return Workspace(root)

    def one(self, pattern: str, choice: int = 0) -> Path:
        """Return one of the files that a pattern finds; the choice is taken modulo their number."""
        found = sorted(path for path in self.root.glob(pattern) if path.is_file())
        assert found, f"{pattern}: no such file in {self.root}"
        return found[choice % len(found)]

    def command(self, phase: str) -> list[str]:
        """Return the command line of a phase."""
        if phase == "predict":
            model = next((self.root / "data/06_models" / ENVIRONMENT).glob("pretrain.tsfm/*"))
            given = ["-i", SCANS, "-o", SEGMENTATIONS, "-m", str(model.relative_to(self.root))]
            return [sys.executable, "-m", "tsfm_pipeline.scans", *given, "--modality", "CT"]
        kedro = [sys.executable, "-m", "kedro", "run", "--env", ENVIRONMENT, "--pipelines"]
        if phase == "report":
            return [*kedro, "reporting", "--tags", "report"]
        if phase == "verify":
            return [*kedro, "data_pool", "--params", "screening.verify=true"]
        outputs = [f"{name}_{kind}" for name in WITHOUT_REPORT[phase] for kind in TABLES]
        return [*kedro, phase, *(["--to-outputs", ",".join(outputs)] if outputs else [])]

    def run(
        self,
        phase: str,
        disturb: Disturb | None = None,
        prefix: Sequence[str] = (),
        log: str = "first",
    ) -> Run:
        """Run a phase to its end.

        Args:
            phase: which.
            disturb: called once the command has started.
            prefix: in front of the command line, such as what changes the user.
            log: tells the output of two runs at once apart.
        """
        output = self.root.with_name(f"{self.root.name}.{log}.log")
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.root / "src")}
        environment |= {"HOME": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "MARKED": SECRET}
        started = time.monotonic()
        with output.open("w") as file:
            process = subprocess.Popen(
                [*prefix, *self.command(phase)],
                cwd=self.root,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            status: int | None = None
            try:
                if disturb is not None:
                    disturb(process, output)
                disturbed_after = time.monotonic() - started
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass
            finally:
                if status is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        text = output.read_text(errors="replace")
        output.unlink()
        lines = (re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in text.splitlines())
        return Run(phase, status, tuple(lines), time.monotonic() - started, disturbed_after)


def make_reference(folder: Path) -> dict[str, Workspace]:
    """Run every phase undisturbed; return the workspace before each, and as `end` after the last.

    Raises:
        AssertionError: a phase did not end well.
    """
    before: dict[str, Workspace] = {}
    workspace = Workspace.make(folder / "undisturbed")
    for phase in PHASES:
        before[phase] = workspace.copy_to(folder / f"before_{phase}")
        done = workspace.run(phase)
        assert done.status == 0, "\n".join(done.lines[-30:])
    return {**before, "end": workspace}


def began(process: subprocess.Popen[str], output: Path) -> None:
    """Wait until `kedro run` has loaded its packages and does what it is for.

    `tsfm-predict` does not say when it begins.
    """
    while "kedro" in str(process.args) and process.poll() is None:
        if "Running node" in output.read_text(errors="replace"):
            return
        time.sleep(0.02)
