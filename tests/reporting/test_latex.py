"""The LaTeX of the tables: read by a small parser, and compiled where LaTeX is installed."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.reporting.test_comparison import BRATS, tumour_rows
from tests.reporting.test_markdown import PHANTOMS
from tsfm_pipeline.reporting.latex import escape, tables_latex
from tsfm_pipeline.reporting.paper_tables import PaperTables

DICE = np.linspace(0.4, 0.8, 12)


@pytest.fixture
def latex(tables, comparison_of, scores_of):
    tumours = [(e, d, t, DICE) for e, _, d, t, _ in tumour_rows("best", 0.2)]
    transfers = [
        (f"transfer.brats2020.{start}.epoch10", "brats2020", target, DICE - less)
        for start, less in (("pretrained", 0.0), ("scratch", 0.3))
        for target in BRATS
    ]
    comparison = comparison_of(scores_of(*tumours, *transfers))
    return tables_latex(comparison, PaperTables.model_validate(tables), PHANTOMS)


def tabulars(text):
    """Return the column specification and the body of every tabular."""
    return re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL)


def width(cell):
    spanned = re.match(r"\s*\\multicolumn\{(\d+)\}", cell)
    return int(spanned[1]) if spanned else 1


def test_environments_and_braces_are_balanced(latex):
    assert re.findall(r"\\begin\{(\w+)\}", latex).count("table") == 5
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", latex):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")


def test_every_line_fills_its_columns(latex):
    found = tabulars(latex)
    assert [specification for specification, _ in found] == [
        "l" + "r" * n for n in (12, 5, 3, 3, 11)
    ]
    for specification, body in found:
        rules = ("\\toprule", "\\midrule", "\\bottomrule")
        lines = [line for line in body.strip().splitlines() if line not in rules]
        assert body.strip().splitlines()[0] == rules[0]
        for line in lines:
            content = line.removesuffix(r" \\")
            assert content != line
            cells = re.split(r"(?<!\\)&", content)
            assert sum(map(width, cells)) == len(specification), line


def test_numbers_marks_and_bold(latex):
    first, second, *_ = (body for _, body in tabulars(latex))
    printed = next(line for line in first.splitlines() if line.startswith("TSFM"))
    assert printed.endswith(r"& \textbf{0.7923} & \textbf{0.7106} \\")
    ours = first.splitlines()[first.splitlines().index(printed) + 1 :][:2]
    assert ours[0].startswith(r"\quad ours & -- & 0.6000")  # no liver, but its tumour
    assert re.search(r"& \\tiny 0\.5\d--0\.6\d \\\\$", ours[1])
    assert re.search(r"0\.3000\$\^\{\*\}\$", second)  # scratch differs from pretrained
    assert r"\textbf{0.6000}" in second


def test_text_that_latex_would_read_is_escaped():
    assert escape(r"50 % of a_b & {c} #1 ~ ^ $ \x") == (
        r"50 \% of a\_b \& \{c\} \#1 \textasciitilde{} \textasciicircum{} \$ \textbackslash{}x"
    )


@pytest.mark.skipif(
    not (shutil.which("pdflatex") or shutil.which("tectonic")),
    reason="neither pdflatex nor tectonic is installed",
)
def test_it_compiles(latex, tmp_path):
    (tmp_path / "tables.tex").write_text(latex)
    (tmp_path / "text.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage[margin=1cm]{geometry}"
        r"\begin{document}\input{tables}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "text.tex"]
    if not shutil.which("pdflatex"):
        command = ["tectonic", "text.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / "text.pdf").stat().st_size > 10_000
    assert "Overfull" not in run.stdout
