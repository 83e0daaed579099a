"""Run many experiments at once, each a `kedro run` on a device of its own: --devices 0 1 2 3."""

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsfm_pipeline.experiments.experiment import Experiment
    from tsfm_pipeline.experiments.settings import ExperimentSettings
    from tsfm_pipeline.workers.command_queue import Job

KEDRO = (sys.executable, "-m", "kedro")
LOGS = Path("logs")


def main(arguments: Sequence[str]) -> int:
    """Run what is not finished; exit status 1 where something failed, 2 for wrong settings."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline run-many",
        description="Run the experiments of an environment that are not finished, cheapest first,"
        " each after the one that it starts from (docs/cost.md). Ctrl-C ends all; the same command"
        " goes on.",
    )
    add = parse.add_argument
    add("--env", help="environment; default: local")
    add("--workspace", help="of the results, as --params workspace= names one")
    add("--pipelines", nargs="+", metavar="NAME", help="those of the grid; default: all")
    add("--devices", nargs="+", default=[], metavar="N", help="GPUs; default: as torch chooses")
    add("--jobs", type=int, help="experiments at once; default: one on each of --devices")
    given = parse.parse_args(arguments)
    at_once = given.jobs if given.jobs is not None else len(given.devices) or 1
    if at_once < 1:
        parse.error(f"--jobs {given.jobs} is below 1")

    from kedro.io import DatasetError  # heavy imports wait for right arguments

    from tsfm_pipeline.commands.cost import load_estimator
    from tsfm_pipeline.commands.status import load_place, progress_in
    from tsfm_pipeline.experiments.grid import GRID, PIPELINES

    if unknown := sorted(set(given.pipelines or ()) - set(PIPELINES)):
        parse.error(f"--pipelines {unknown[0]}: the grid has {', '.join(PIPELINES)}")
    try:
        estimator = load_estimator("conf", given.env)
        place, catalog = load_place("conf", given.env, given.workspace)
        rows = progress_in(place, catalog)
    except (ValueError, DatasetError) as error:
        sys.stderr.write(f"tsfm-pipeline run-many: {error}\n")
        return 2
    options = ["--env", given.env] if given.env else []
    options += ["--params", f"workspace={given.workspace}"] if given.workspace else []
    if not place.pool:
        sys.stderr.write(
            "tsfm-pipeline run-many: there is no pool yet; make it:"
            f" {shlex.join(['kedro', 'run', *options, '--pipelines', 'data_pool'])}\n"
        )
        return 2
    finished = {row.experiment for row in rows if row.state == "finished"}
    wanted = [
        experiment
        for experiment in GRID
        if experiment.pipeline in (given.pipelines or PIPELINES)
        and experiment.name not in finished
        and estimator.why_free(experiment) is None
    ]
    hours = {experiment.name: estimator.cost_of(experiment).hours for experiment in wanted}
    wanted.sort(key=lambda experiment: hours[experiment.name])
    jobs, left = jobs_of(wanted, place.settings, finished, options)
    for reason in left:
        sys.stderr.write(f"{reason}\n")
    devices = [{"CUDA_VISIBLE_DEVICES": device} for device in given.devices] or [{}]
    failed = run_and_tell(jobs, [devices[slot % len(devices)] for slot in range(at_once)])
    return 1 if failed or left else 0


def jobs_of(
    wanted: Sequence["Experiment"],
    settings: "ExperimentSettings",
    finished: set[str],
    options: Sequence[str],
) -> tuple[list["Job"], list[str]]:
    """Return a job per experiment, and why there is none for those that can't start.

    Args:
        wanted: in the order in which they shall start.
        settings: say what each starts from.
        finished: names of all that are finished.
        options: of every `kedro run`.
    """
    from tsfm_pipeline.workers.command_queue import Job

    names = {experiment.name for experiment in wanted}
    jobs, left = [], []
    for experiment in wanted:
        start = settings.start_of(experiment)
        if start in finished:
            start = None
        if start is not None and start not in names:
            left.append(f"{experiment.name}: {start}, where it starts from, is not finished")
            continue
        command = [*KEDRO, "run", *options, "--pipelines", experiment.pipeline]
        command += ["--namespaces", experiment.name]
        log = LOGS / f"{experiment.name}.log"
        jobs.append(Job(experiment.name, command, log, after=start or ""))
    return jobs, left


def run_and_tell(jobs: Sequence["Job"], slots: Sequence[Mapping[str, str]]) -> int:
    """Run the jobs with a bar and a line for each that fails; return how many did.

    Args:
        jobs: in the order in which they shall start.
        slots: what the environment of each of those at one time has besides.
    """
    from tqdm import tqdm

    from tsfm_pipeline.workers.command_queue import run_jobs

    failed = 0
    signal.signal(signal.SIGTERM, _end)
    with tqdm(total=len(jobs), desc="Running", unit="experiment") as bar:

        def ended(job: "Job", status: int | None) -> None:
            nonlocal failed
            bar.update()
            if status:
                bar.write(f"{job.name} failed (status {status}): {job.log}", file=sys.stderr)
            elif status is None:
                bar.write(f"{job.name} not started: {job.after} failed", file=sys.stderr)
            failed += status != 0

        run_jobs(jobs, slots, ended)
    sys.stdout.write(f"{len(jobs) - failed} of {len(jobs)} experiments ran; logs in {LOGS}/\n")
    return failed


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
