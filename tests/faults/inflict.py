"""The faults: what each does to a copy of a workspace, and the commands that follow it."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.artefacts import ARTEFACTS, Artefact
from tests.faults.reference import Reference
from tests.faults.workspace import PHASES, Run, Workspace, began

WITHOUT = "-dac_override,-dac_read_search"
"""The capabilities that let root write where permissions forbid it."""

DENIED = (
    ("data_pool", "data/03_primary/faults/cases"),
    ("data_pool", "data/02_intermediate/faults"),
    ("pretrain", "data/06_models/faults"),
    ("transfer", "data/07_model_output/faults"),
    ("report", "data/08_reporting/faults"),
    ("report", "."),
    ("predict", "data"),
)
"""Folders that the user of a phase may not write to."""


@dataclass
class Trial:
    """What happened to a workspace under a fault.

    Attributes:
        workspace: the workspace.
        expected: an undisturbed one that did the same.
        disturbed: runs that the fault ended or kept from ending well, in which case they must say
            so; whether they do is not asked of those that a signal ended.
        last: the run after them, or under a fault that lasts.
        cure: takes a lasting fault back, for one more run where `last` refused.
        lost: an artefact, below data/, without which the command goes on, after a line about it.
    """

    workspace: Workspace
    expected: Workspace
    last: Run
    disturbed: list[Run] = field(default_factory=list)
    cure: Callable[[], object] | None = None
    lost: str = ""


@dataclass(frozen=True)
class Fault:
    """One fault of a kind, at one place.

    Attributes:
        kind: of fault.
        target: the phase or artefact that it befalls.
        seed: decides moments, places and bits.
        inflict: makes the trial in a new folder; a context, as some have to be cleaned up.
    """

    kind: str
    target: str
    seed: int
    inflict: Callable[[Reference, Path, random.Random], Iterator[Trial]]

    @contextmanager
    def trial(self, reference: Reference, folder: Path) -> Iterator[Trial]:
        """Inflict it on a copy in `folder`; the copy is removed afterwards."""
        chance = random.Random(f"{self.kind} {self.target} {self.seed}")
        try:
            yield from self.inflict(reference, folder, chance)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def every_fault(signals: int) -> list[Fault]:
    """List the faults; `signals` of each of two signals strike each phase."""
    faults = []
    for artefact in ARTEFACTS:
        faults.append(Fault("flipped byte", artefact.name, 0, _damaged(artefact, flip)))
        faults.append(Fault("deleted", artefact.name, 0, _damaged(artefact, delete)))
    faults += [Fault("disk full", phase, n, _disk_full(phase)) for phase in PHASES for n in (0, 1)]
    faults += [Fault("file size limit", phase, 0, _size_limit(phase)) for phase in PHASES]
    faults += [
        Fault("two at once", phase, n, _two_at_once(phase)) for phase in PHASES for n in (0, 1)
    ]
    faults += [Fault("no permission", f"{name}, {p}", 0, _denied(p, name)) for p, name in DENIED]
    faults += [Fault("clock set back", phase, 0, _clock_set_back(phase)) for phase in PHASES]
    faults += [Fault("worker killed", p, n, _worker_killed(p)) for p in PHASES[:4] for n in (0, 1)]
    return faults + [
        Fault(name, phase, seed, _signalled(phase, number))
        for seed in range(signals)
        for phase in PHASES
        for name, number in (("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM))
    ]


Inflict = Callable[[Reference, Path, random.Random], Iterator[Trial]]


def _signalled(phase: str, number: signal.Signals) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)

        def strike(process: "subprocess.Popen[str]", output: Path) -> None:
            began(process, output)
            time.sleep(chance.random() * reference.work_seconds[phase])
            process.send_signal(number)

        disturbed = workspace.run(phase, strike)
        yield Trial(workspace, reference.after(phase), workspace.run(phase), [disturbed])

    return inflict


def _damaged(artefact: Artefact, damage: Callable[[Path, random.Random], None]) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.end.copy_to(folder)
        for pattern in artefact.without:
            for gone in list(workspace.root.glob(pattern)):
                shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        path = workspace.one(artefact.pattern, chance.randrange(100))
        original, times = path.read_bytes(), path.stat()

        def restore() -> None:
            path.write_bytes(original)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

        damage(path, chance)
        last = workspace.run(artefact.phase)
        lost = str(path.relative_to(workspace.root / "data")) if artefact.told else ""
        yield Trial(workspace, reference.end, last, cure=restore, lost=lost)

    return inflict


def flip(path: Path, chance: random.Random) -> None:
    """Flip one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def delete(path: Path, chance: random.Random) -> None:
    """Remove a file."""
    path.unlink()


def _disk_full(phase: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        used, needed = (_size(w.root) for w in (reference.before[phase], reference.after(phase)))
        room = used + int(chance.random() * (needed - used))
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
        try:
            workspace = reference.before[phase].copy_to(folder)
            disturbed = workspace.run(phase)
            subprocess.run(["mount", "-o", "remount,size=4g", str(folder)], check=True)
            yield Trial(workspace, reference.after(phase), workspace.run(phase), [disturbed])
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    return inflict


def _size(folder: Path) -> int:
    """Return the bytes that a folder takes in pages of memory, as a tmpfs counts them."""
    sizes = (path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(-(-size // 4096) * 4096 for size in sizes)


def _size_limit(phase: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)
        limit = ["prlimit", f"--fsize={chance.choice((2, 3, 5)) * 1_000_000}"]
        disturbed = workspace.run(phase, prefix=limit)
        yield Trial(workspace, reference.after(phase), workspace.run(phase), [disturbed])

    return inflict


def _two_at_once(phase: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)
        second: list[Run] = []

        def start_another(process: "subprocess.Popen[str]", output: Path) -> None:
            time.sleep(chance.random() * 3)
            other = Workspace(folder).run(phase, log="second")
            second.append(other)

        last = workspace.run(phase, start_another)
        yield Trial(workspace, reference.after(phase), last, second)

    return inflict


def _denied(phase: str, name: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        # Permissions do not hold for root. Another user may not even be able to start Python.
        prefix = ["setpriv", f"--bounding-set={WITHOUT}"] if os.geteuid() == 0 else []
        path.chmod(0o555)
        disturbed = workspace.run(phase, prefix=prefix)
        path.chmod(0o755)
        last = workspace.run(phase, prefix=prefix)
        yield Trial(workspace, reference.after(phase), last, [disturbed])

    return inflict


def _clock_set_back(phase: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)
        tomorrow = time.time() + 86400
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, (tomorrow, tomorrow))
        yield Trial(workspace, reference.after(phase), workspace.run(phase))

    return inflict


def _worker_killed(phase: str) -> Inflict:
    def inflict(reference: Reference, folder: Path, chance: random.Random) -> Iterator[Trial]:
        workspace = reference.before[phase].copy_to(folder)

        def strike(process: "subprocess.Popen[str]", output: Path) -> None:
            while process.poll() is None:
                if workers := _workers(process.pid):
                    time.sleep(chance.random() * 2)
                    for worker in chance.sample(workers, 1):
                        os.kill(worker, signal.SIGKILL)
                    return
                time.sleep(0.02)

        disturbed = workspace.run(phase, strike)
        yield Trial(workspace, reference.after(phase), workspace.run(phase), [disturbed])

    return inflict


def _workers(parent: int) -> list[int]:
    """Return the processes below another that work for it."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line.split(maxsplit=1) for line in found.stdout.splitlines())
    workers = [line for line in lines if "loky" in line[1] or "spawn_main" in line[1]]
    return [int(pid) for pid, args in workers if "resource_tracker" not in args]
