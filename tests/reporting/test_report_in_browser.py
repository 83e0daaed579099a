"""The page in a real browser, as wide as a desk's and a telephone's; skipped without Chromium."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import numpy as np
import pytest

from tests.reporting.test_report_page import page_of  # noqa: F401
from tsfm_pipeline.pool.figures import as_svg
from tsfm_pipeline.reporting.figures.style import titled_figure

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

# The page lies in a frame, because a browser's window has a least width.
FRAME = """<!doctype html><body><iframe id="page" style="border:0" width="WIDTH" height="800"
srcdoc="PAGE"></iframe><pre id="found"></pre><script>
window.addEventListener("load", async () => {
  const page = document.getElementById("page").contentDocument, found = {};
  found.width = page.documentElement.scrollWidth;
  found.hidden = [];
  const links = [...page.querySelectorAll("a[href^='#']")];
  for (const link of new Map(links.map(a => [a.getAttribute("href"), a])).values()) {
    link.click();
    await new Promise(done => setTimeout(done, 20));
    const target = page.getElementById(link.getAttribute("href").slice(1));
    if (!target || !target.checkVisibility()) found.hidden.push(link.getAttribute("href"));
  }
  found.smallest = Math.min(...[...page.querySelectorAll("td, th, li, p, span")]
    .filter(e => e.checkVisibility() && e.textContent.trim())
    .map(e => parseFloat(page.defaultView.getComputedStyle(e).fontSize)));
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_and_every_link_opens_what_it_leads_to(
    page_of,  # noqa: F811
    scores_of,
    tmp_path,
    width,
):
    scores = scores_of(
        ("pretrain.tsfm", "msd_liver", "liver_tumor", np.linspace(0.5, 0.7, 10)),
        ("transfer.kits19.scratch.epoch10", "kits19", "kidney_tumor", np.linspace(0.1, 0.3, 10)),
    )
    figure = titled_figure(10, 3, "A figure", "its caption " * 20)
    statuses = [("transfer.x", "failed", f"/a/long/path{'/folder' * 20}: no such file")]
    page = page_of(scores, statuses, figures=[as_svg(figure)])
    page = page.replace("<head>", '<head><base href="about:srcdoc">')  # else links leave the frame
    path = tmp_path / "frame.html"
    path.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", escape(page)))
    command = [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1600,900"]
    command += ["--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    found = json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', run.stdout)[1]))
    assert found["width"] <= width
    assert found["hidden"] == []
    assert found["smallest"] >= 11
