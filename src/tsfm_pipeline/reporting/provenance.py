"""Where the figures of a report come from, and how they are made again."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tsfm_pipeline.reporting.selection import Selection, selection_notes
from tsfm_pipeline.reporting.staleness import MARK, pipeline_of, stale_notes

BASE = "base"
"""The environment that needs no `--env`."""


@dataclass(frozen=True)
class Origin:
    """Where the figures of one experiment come from; empty where it is not known.

    Attributes:
        digest: of everything that decides the weights but the number of epochs.
        folder: of the model, relative to the folder of all models.
        epochs: trained.
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
    hours: float | None = None
    pool: str = ""
    commit: str = ""
    run: str = ""
    run_url: str = ""
    params: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from.

    Attributes:
        workspace: where the results lie below `data/<layer>`; each Kedro environment names its own.
        pool: version of the dataset pool.
        leaking: its cases whose patient is in a downstream dataset, too.
        phantoms: whether the data are the built-in synthetic ones.
        stale: experiments that were run on another version of the pool, with that version.
        environment: Kedro's environment; empty where it is not known.
        datasets: dataset -> its cases in use, pool and downstream.
        origins: experiment -> where its figures come from.
        selections: experiment -> what chose its best weights, of each of its trainings that is
            known: one, or one for each fold.
        folds: those that are held out: one, or several whose scores are pooled.
    """

    workspace: str
    pool: str
    leaking: int
    phantoms: bool
    stale: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
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
        data = "**Synthetic phantoms, not patients.** " if self.phantoms else ""
        held_out = f", {self.held_out}" if self.folds else ""
        pool = f"dataset pool `{self.pool}` ({self.kind})"
        return f"{data}Workspace `{self.workspace}`, {pool}{held_out}."

    @property
    def held_out(self) -> str:
        """Which folds are held out, in words."""
        numbers = ", ".join(map(str, self.folds))
        return f"folds {numbers} in turn" if self.folds[1:] else f"fold {numbers} held out"

    def command(self, experiment: str) -> str:
        """Return the command that makes the figures of an experiment again, and of it alone.

        What it starts from, and the pool, are those on the disk.
        """
        words = ["kedro", "run"]
        if self.environment not in ("", BASE):
            words += ["--env", self.environment]
        words += ["--pipelines", pipeline_of(experiment), "--namespaces", experiment]
        if params := self.origins.get(experiment, Origin()).params:
            words += ["--params", params]
        return shlex.join(words)

    def marked(self, text: str, experiment: str) -> str:
        """Return a text about an experiment, with the mark where that is stale."""
        return f"{text} {MARK}" if experiment in self.stale else text

    def selected_on(self, experiments: Iterable[str]) -> list[str]:
        """Say what chose the best weights of these experiments, as far as it is known."""
        names = dict.fromkeys(experiments)
        return selection_notes(one for name in names for one in self.selections.get(name, ()))

    def notes(self, experiments: Iterable[str]) -> list[str]:
        """Return what explains the marks of these experiments; nothing where there is none."""
        return stale_notes(experiments, self.stale, self.pool)
