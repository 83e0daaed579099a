"""Where the figures of a report come from, and how they are made again."""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from tsfm_pipeline.phantom.ownership import phantom_note
from tsfm_pipeline.reporting.selection import Selection, selection_notes
from tsfm_pipeline.reporting.staleness import MARK, pipeline_of, stale_notes

BASE = "base"
"""The environment that needs no `--env`."""


def environment_option(environment: str) -> str:
    """Return what a command needs to run in an environment; empty where it is base or unknown."""
    return f" --env {environment}" if environment not in ("", BASE) else ""


def view_command(environment: str) -> str:
    """Return the command that shows a case, without the case."""
    return f"tsfm-pipeline view{environment_option(environment)}"


def params_option(params: str) -> str:
    """Return what a command needs to set parameters; empty where there are none."""
    return f" --params {shlex.quote(params)}" if params else ""


@dataclass(frozen=True)
class Origin:
    """Where the figures of one experiment come from; empty where it is not known.

    Attributes:
        digest: of everything that decides the weights but the number of epochs.
        folder: of the model, relative to the folder of all models.
        epochs: trained.
        network: its name and size.
        parameters: of the network; 0 where not known.
        start: the weights that the training started from; empty from scratch.
        hours: of training, over all restarts; None where it has not ended.
        pool: version of the pool it was run on.
        commit: of the code that trained it.
        run: id of its MLflow run.
        run_url: address of that run's page.
        params: what the command line of its run set, as `kedro run --params` takes it.
    """

    digest: str = ""
    folder: str = ""
    epochs: int = 0
    network: str = ""
    parameters: int = 0
    start: str = ""
    hours: float | None = None
    pool: str = ""
    commit: str = ""
    run: str = ""
    run_url: str = ""
    params: str = ""

    def start_note(self) -> str:
        """Say which network started from which weights."""
        size = f" ({self.parameters / 1e6:.3g} M parameters)" if self.parameters else ""
        return f"{self.network}{size} started from {self.start}."


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from.

    Attributes:
        workspace: where the results lie below `data/<layer>`; each Kedro environment names its own.
        pool: version of the dataset pool.
        leaking: its cases whose patient is in a downstream dataset, too.
        phantoms: those of the datasets that are the built-in synthetic ones.
        stale: experiments that were run on another version of the pool, with that version.
        environment: Kedro's environment; empty where it is not known.
        params: what the command line of the run that reports set, as `kedro run --params` takes it.
        datasets: dataset -> its cases in use, pool and downstream.
        origins: experiment -> where its figures come from.
        selections: experiment -> what chose its best weights, of each of its trainings that is
            known: one, or one for each fold.
        folds: those that are held out: one, or several whose scores are pooled.
    """

    workspace: str
    pool: str
    leaking: int
    phantoms: Collection[str] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    params: str = ""
    datasets: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    selections: Mapping[str, Sequence[Selection]] = field(default_factory=dict)
    folds: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """Whether the pool shares people with the downstream datasets."""
        if self.leaking:
            return f"as in the paper: {self.leaking} of its cases are downstream cases, too"
        return "leakage-free"

    def header(self) -> str:
        """Return the line that stands above every table, in Markdown."""
        data = f"**{self.data_note}** " if self.phantoms else ""
        held_out = f", {self.held_out}" if self.folds else ""
        pool = f"dataset pool `{self.pool}` ({self.kind})"
        return f"{data}Workspace `{self.workspace}`, {pool}{held_out}."

    @property
    def data_note(self) -> str:
        """Which datasets are synthetic and which real, in a sentence; empty where all are real."""
        return phantom_note(self.datasets, self.phantoms)

    @property
    def held_out(self) -> str:
        """Which folds are held out, in words."""
        numbers = ", ".join(map(str, self.folds))
        return f"folds {numbers} in turn" if self.folds[1:] else f"fold {numbers} held out"

    def command(self, experiment: str) -> str:
        """Return the command that makes the figures of an experiment again, and of it alone.

        What it starts from, and the pool, are those on the disk.
        """
        environment = environment_option(self.environment)
        command = f"kedro run{environment} --pipelines {pipeline_of(experiment)}"
        params = params_option(self.origins.get(experiment, Origin()).params)
        return f"{command} --namespaces {experiment}{params}"

    def view_command(self, case: str, experiment: str) -> str:
        """Return the command that shows an experiment's prediction of a case."""
        named = re.search("(^|,)workspace=", self.params)
        workspace = f" --workspace {shlex.quote(self.workspace)}" if named else ""
        return f"{view_command(self.environment)}{workspace} {case} --experiment {experiment}"

    def current(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of those experiments that are not stale."""
        return scores[~scores["experiment"].isin(list(self.stale))]

    def marked(self, text: str, experiment: str) -> str:
        """Return a text about an experiment, with the mark where that is stale."""
        return f"{text} {MARK}" if experiment in self.stale else text

    def selected_on(self, experiments: Iterable[str]) -> list[str]:
        """Say what chose the best weights of these experiments, as far as it is known."""
        names = dict.fromkeys(experiments)
        return selection_notes(one for name in names for one in self.selections.get(name, ()))

    def starts(self, experiments: Iterable[str]) -> list[str]:
        """Say which networks of these experiments started from which weights."""
        found = [self.origins[name] for name in experiments if name in self.origins]
        return list(dict.fromkeys(origin.start_note() for origin in found if origin.start))

    def notes(self, experiments: Iterable[str]) -> list[str]:
        """Return what explains the marks of these experiments; nothing where there is none."""
        options = f"{environment_option(self.environment)}{params_option(self.params)}"
        return stale_notes(experiments, self.stale, self.pool, options)
