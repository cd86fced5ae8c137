"""BertViz's views of the same attention, as pages of their own in Chromium.

BertViz comes from PyPI, and the scripts that its pages load from the network come from npm and are
handed to the browser here, so that the network's speed is in no figure. All of it lies in a
temporary folder. jQuery 2.0.0, which the pages name, isn't on npm; 2.1.0 stands in for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from playwright.sync_api import Error, Route, sync_playwright

from benchmarks.canvas_page import trace_of
from benchmarks.figure import in_child
from tests.browser import chromium

PATIENCE = 120  # seconds until a page counts as not painted
CDN = "https://cdnjs.cloudflare.com/ajax/libs"
SCRIPTS = {  # npm's package and the file in it, by the address in the pages
    f"{CDN}/d3/5.7.0/d3.min.js": ("d3@5.7.0", "package/dist/d3.min.js"),
    f"{CDN}/jquery/2.0.0/jquery.min.js": ("jquery@2.1.0", "package/dist/jquery.min.js"),
    f"{CDN}/require.js/2.3.6/require.min.js": ("requirejs@2.3.6", "package/require.js"),
}

# Milliseconds since the navigation began, two frames after there is a drawing. The views are drawn
# in one go; the frames are for style, layout and paint.
WATCH = """
const look = () => requestAnimationFrame(() => {
    if (!document.querySelector('#vis svg')) return look();
    requestAnimationFrame(() => setTimeout(() => { window.__painted = performance.now(); }));
});
look();
"""


@dataclass(frozen=True)
class Shown:
    """A page of BertViz's.

    Attributes:
        build: seconds from the tensors to the HTML. bytes: of the HTML.
        paint: seconds until it was painted, at least ``PATIENCE`` where it never was.
    """

    build: float
    bytes: int
    paint: float

    @property
    def seconds(self) -> float:
        """From the tensors to the picture."""
        return self.build + self.paint

    def __str__(self) -> str:
        more = "> " if self.paint >= PATIENCE else ""
        return f"{more}{self.seconds:.1f} s ({self.paint:.1f} s of it in the browser)"


def install(folder: Path) -> bool:
    """BertViz and the scripts of its pages in ``folder``; False where they can't be had."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
    npm = [shutil.which("npm") or "npm", "pack", *(package for package, _ in SCRIPTS.values())]
    try:
        for command in ([*pip, "--no-deps", "bertviz"], [*pip, "ipython"], npm):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


def show(folder: Path, view: str, n: int, layers: int = 12) -> Shown:
    """``model`` or ``head`` view of the first layers of ``trace_of(n)``.

    Args:
        folder: where ``install`` put everything.
    """
    page = folder / f"{view}-{n}-{layers}.html"
    built = in_child("benchmarks.bertviz_page", str(page), view, str(n), str(layers))
    size = page.stat().st_size
    paint = _painted(folder, page)
    page.unlink()
    return Shown(built["seconds"], size, paint)


def _painted(folder: Path, page: Path) -> float:
    scripts = {address: _script(folder, *where) for address, where in SCRIPTS.items()}

    def answer(route: Route) -> None:
        route.fulfill(body=scripts[route.request.url], content_type="text/javascript")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.route(f"{CDN}/**", answer)
        tab.add_init_script(WATCH)
        try:
            tab.goto(page.as_uri(), wait_until="commit", timeout=PATIENCE * 1000)
            tab.wait_for_function("() => window.__painted", timeout=PATIENCE * 1000)
            return float(tab.evaluate("window.__painted")) / 1000
        except Error:  # too slow, or out of memory
            return float(PATIENCE)
        finally:
            browser.close()


def _script(folder: Path, package: str, path: str) -> bytes:
    with tarfile.open(folder / f"{package.replace('@', '-')}.tgz") as packed:
        file = packed.extractfile(path)
        assert file is not None
        return file.read()


def _write(page: Path, view: str, n: int, layers: int) -> dict[str, float]:
    """The page's HTML, in a process that can import BertViz."""
    sys.path.append(str(page.parent))
    import bertviz  # type: ignore[import-not-found]

    trace = trace_of(n)
    heads = range(trace.layers[0].n_heads)
    weights = [
        torch.stack([trace.attention(layer, head).weights() for head in heads])[None]
        for layer in range(layers)
    ]  # (1, H, n, n) each
    tokens = [token.text for token in trace.row_tokens(0)]
    start = time.perf_counter()
    make = bertviz.model_view if view == "model" else bertviz.head_view
    page.write_text(make(weights, tokens, html_action="return").data, encoding="utf-8")
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    file, view, n, layers = sys.argv[1:]
    print(json.dumps(_write(Path(file), view, int(n), int(layers))))
