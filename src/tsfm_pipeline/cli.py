"""The project's own `kedro run`: Kedro's, with errors in a few lines and lists in `--params`.

Kedro looks for this module by its name and takes `cli` and `run` from it.
"""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import yaml  # type: ignore[import-untyped]
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import split_node_names
from kedro.io import DatasetError
from omegaconf import OmegaConf

from tsfm_pipeline.log_file import tell_once
from tsfm_pipeline.machine import fault_of_machine

logger = logging.getLogger(__name__)

MESSAGE_LINES = 4
"""Of an error's own message; two more say that there is more, and where."""


@click.group(name="tsfm-pipeline")
def cli() -> None:
    """Commands of this project."""


def _split_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Read `a.b=1,c=[x,y]` as Kedro does, but leave commas in brackets to the list."""
    if isinstance(value, dict):  # of --config FILE
        return value
    items = split_node_names(context, option, value)
    for item in items:
        if not item.partition("=")[0].strip() or "=" not in item:
            context.fail(f"--params: {item!r} is no KEY=VALUE; a list is KEY=[A,B], in quotes")
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist(items))
    except yaml.YAMLError as error:
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        context.fail(
            f"--params: {value!r} can't be read as YAML: {problem}; put what holds brackets,"
            " asterisks or colons in quotes of its own: KEY=['A*']"
        )


def _in_a_few_lines(kedro_callback: Callable[..., Any]) -> Callable[..., Any]:
    """Let Kedro's command tell an error in at most six lines, and keep the traceback in the log."""

    @wraps(kedro_callback)
    def run(*, verbose: bool, pipeline: str | None, pipelines: list[str], **options: Any) -> Any:
        if verbose:
            _log_all_on_terminal()
        if file := _log_file():
            tell_once(file)
        names = [pipeline, *pipelines] if pipeline else pipelines
        try:
            return kedro_callback(pipeline=None, pipelines=names, **options)
        except click.UsageError:
            raise
        except Exception as error:
            if verbose:
                raise
            raise click.ClickException(_shortened(*explained(error))) from error

    return run


def explained(error: Exception) -> tuple[str, bool]:
    """Return the message of an error, and whether it says all: the project's own messages do."""
    if fault := fault_of_machine(error):
        return fault, True
    if isinstance(error, click.ClickException):
        return error.format_message(), True
    if isinstance(error, DatasetError) or type(error).__module__.startswith("tsfm_pipeline."):
        return str(error), True  # DatasetError is what this project's catalogue entries raise
    cause = error.__cause__
    if isinstance(error, yaml.YAMLError) and isinstance(cause, yaml.MarkedYAMLError):
        mark = cause.problem_mark  # Kedro's message counts from 0 and leaves out the problem
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{error}\nIn an editor: {where}{cause.problem}", True
    return f"{type(error).__name__}: {error}", False


def _shortened(message: str, says_all: bool) -> str:
    """Cut a message after some lines, write the traceback to the log, and say where it is."""
    lines = message.strip().splitlines()
    shown = lines[:MESSAGE_LINES]
    if len(lines) > MESSAGE_LINES:
        shown.append(f"... and {len(lines) - MESSAGE_LINES} more lines")
    file = _log_file()
    if file is not None:  # the file alone: the terminal gets the short form
        file.handle(
            logger.makeRecord(logger.name, logging.ERROR, __file__, 0, message, (), sys.exc_info())
        )
    if len(lines) > MESSAGE_LINES or not says_all:
        place = f"in {Path(file.baseFilename).name}, or " if file is not None else ""
        shown.append(f"All of it: {place}with --verbose")
    return "\n".join(shown)


def _log_file() -> logging.FileHandler | None:
    """Return the handler of conf/logging.yml that writes a file."""
    handlers = logging.getLogger().handlers
    return next((each for each in handlers if isinstance(each, logging.FileHandler)), None)


def _log_all_on_terminal() -> None:
    for name in ("kedro", "kedro.runner", "kedro.pipeline.node"):  # as in conf/logging.yml
        quiet = logging.getLogger(name)
        quiet.handlers.clear()
        quiet.propagate = True
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.DEBUG)


def _params() -> list[click.Parameter]:
    """Return Kedro's options and ours; `--pipeline` is ours, since Kedro is going to drop it."""
    kept = [option for option in kedro_run.params if option.name != "pipeline"]
    for option in kept:
        if option.name == "params":
            option.callback = _split_params
    return [
        *kept,
        click.Option(["--pipeline", "-p"], help="The same as --pipelines with one name."),
        click.Option(
            ["--verbose", "-v"],
            is_flag=True,
            help="Tracebacks, and on the terminal all that goes to the log file.",
        ),
    ]


assert kedro_run.callback is not None
run = click.Command(
    "run",
    params=_params(),
    callback=_in_a_few_lines(kedro_run.callback),
    help="Run the pipeline. Lists: --params 'pool.datasets=[msd_liver,msd_lung]'.",
)
cli.add_command(run)
