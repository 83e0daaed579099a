"""Turn the results of `make benchmarks` into docs/benchmarks.md."""

import json
from pathlib import Path
from typing import Any

import jinja2
from figures import Figure

from tsfm_pipeline.files import write_text
from tsfm_pipeline.reporting.markdown import MISSING, markdown_table

TEMPLATE = Path(__file__).parent / "templates" / "benchmarks.md"
HEADER = ("what", "unit", "ours", "peer", "peer's", "ratio", "our GB", "peer's GB")
ON_REQUEST = (
    (
        "equal_time.py",
        "five systems in equal time on Task04, and TSFM by other recipes ([page](hippocampus.md))",
        "4 hours",
    ),
    ("hippocampus.py", "README's curve and Dice ([page](own_dataset.md))", "1 hour"),
    ("seeds.py", "Table 2's smallest budget over seeds ([page](baselines.md))", "an hour"),
    ("best_minus_final.py", "the worth of the best weights ([page](decisions.md))", "hours"),
    ("variants.py", "left and right exchanged, and `small6`, on the phantom pool", "an hour"),
    ("cpu_step.py --compile", "steps of `small`, compiled, too ([page](training.md))", "10 min"),
    ("run.py --only scale", "cost as cases and experiments grow", "5 min"),
    ("run.py --only huge_memory", "the paper's network on a CPU", "5 min, 24 GiB, 26 GB of disk"),
    ("thread_waiting.py", "threads that spin or sleep beside a busy process", "minutes"),
    ("start_up.py", "start of the commands in a project with results", "minutes"),
    ("gpu/run.py", "all of a [GPU](../benchmarks/gpu/results/README.md)", "1 hour, a GPU"),
)
SIGNIFICANT_BELOW = 1000


def write(results: Path, path: Path) -> None:
    """Write the page of all machines whose results lie in a folder."""
    found = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"))]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    requests = [[f"`python benchmarks/{name}`", what, takes] for name, what, takes in ON_REQUEST]
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        machines=found,
        figures=figures_table,
        versions=versions_table,
        on_request=markdown_table(("command", "what", "takes about"), requests, text_columns=3),
    )
    write_text(path, page)


def figures_table(entry: dict[str, Any]) -> str:
    """Return the table of a script's figures."""
    lines = []
    for figure in (Figure(**row) for row in entry["figures"]):
        numbers = (figure.peer_value, figure.ratio, figure.ours_gb, figure.peer_gb)
        shown = [number(value) for value in numbers]
        peer = figure.peer or MISSING
        lines.append([figure.name, figure.unit, number(figure.ours), peer, *shown])
    return markdown_table(HEADER, lines, text_columns=2)


def versions_table(entries: dict[str, dict[str, Any]]) -> str:
    """Return which versions were measured where."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, entry in entries.items():
        for environment, versions in entry.get("versions", {}).items():
            text = ", ".join(f"{package} {version}" for package, version in versions.items())
            where = "ours" if environment == "ours" else "nnU-Net v2's"
            users.setdefault((where, text), []).append(name)
    every = sum("versions" in entry for entry in entries.values())
    lines = [
        [where, text, "all" if len(names) == every else ", ".join(names)]
        for (where, text), names in users.items()
    ]
    return markdown_table(("environment", "versions", "of"), lines, text_columns=3)


def number(value: float | None) -> str:
    """Return three significant digits, or a whole number with commas."""
    if value is None:
        return MISSING
    if abs(value) >= SIGNIFICANT_BELOW:
        return f"{value:,.0f}"
    return f"{value:.3g}"
