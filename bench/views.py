"""Cost of ``modelexport view``: time against the pipeline htp, bytes per node, and how soon a browser can use the page.

    python bench/views.py [--nodes N ...] [--shapes blocks flat deep] [--repeat N]

Each measurement is a fresh process, and the fastest of the repeats counts. The browser's columns need chromium,
chromedriver and selenium, and are left out without them. Prints one table and ends with status 0 also where a target is
missed: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).with_name("inputs")))
import view_graphs

HTP = "import sys; from modelexport.cli.htp_opt import main; sys.exit(main([sys.argv[1], '-o', sys.argv[2]]))"
VIEW = "import sys; from modelexport.cli.modelexport import main; sys.exit(main(['view', *sys.argv[1:]]))"
OPEN = "window.modelexport.expand(arguments[0]); document.getElementById('graph').getBoundingClientRect()"

SEARCH = """
    const done = arguments[0], box = document.getElementById("search"), results = document.getElementById("results");
    const watch = new MutationObserver(() => { results.querySelector("button").click(); done(); });
    watch.observe(results, {childList: true});
    box.value = "_7777";
    box.dispatchEvent(new Event("input"));
"""


def seconds(code: str, *arguments: str | Path, repeat: int) -> float:
    """Seconds of processor time that a fresh process takes; what else runs on the machine changes it little."""
    best = float("inf")
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def name_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the names of nodes and of the values that are not called after their node."""
    derived = sum(len(v) for node in model.graph.node for v in node.output if v.startswith(node.name + "_output_"))
    return sum(len(node.name) + sum(map(len, node.output)) for node in model.graph.node) - derived


def in_browser(page: Path) -> tuple[float, float, float] | None:
    """Milliseconds until the page is usable, until a module is open, until a search has its hits."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return None
    if not chromium or not driver:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,800"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.set_script_timeout(60)
        browser.get(page.as_uri())
        while not browser.execute_script("return document.body.dataset.ready"):
            time.sleep(0.02)
        usable = float(browser.execute_script("return document.body.dataset.milliseconds"))
        paths = browser.execute_script(
            "return [...document.querySelectorAll('#graph .item[data-expanded=false]')].map(e => e.dataset.path)"
        )
        start = time.perf_counter()
        if paths:
            browser.execute_script(OPEN, paths[len(paths) // 2])
        opened = 1000 * (time.perf_counter() - start)
        start = time.perf_counter()
        browser.execute_async_script(SEARCH)
        return usable, opened, 1000 * (time.perf_counter() - start)
    finally:
        browser.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--shapes", nargs="+", choices=view_graphs.SHAPES, default=list(view_graphs.SHAPES))
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    heads = ("htp s", "view s", "ratio", "KB", "B/node", "usable", "open", "search ms")
    print(f"{'graph':<16}" + "".join(f"{head:>10}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            for nodes in options.nodes:
                model = view_graphs.build(nodes, shape)
                path, numbers = Path(folder, f"{shape}.onnx"), Path(folder, "time.json")
                path.write_bytes(model.SerializeToString())
                numbers.write_text(json.dumps(view_graphs.overlay(model)))
                page, with_numbers = Path(folder, "page.html"), Path(folder, "numbers.html")
                base = seconds(HTP, path, Path(folder, "out.onnx"), repeat=options.repeat)
                view = seconds(VIEW, path, "-o", page, repeat=options.repeat)
                seconds(VIEW, path, "-o", with_numbers, "--overlay", numbers, repeat=1)
                size = page.stat().st_size
                each = (size - 150_000 - name_bytes(model)) / nodes
                row = (f"{base:.2f}", f"{view:.2f}", f"{view / base:.2f}", f"{size / 1000:.0f}", f"{each:.0f}")
                print(f"{shape + ' ' + str(nodes):<16}" + "".join(f"{cell:>10}" for cell in row), end="", flush=True)
                for label, file in (("", page), ("with overlay", with_numbers)):
                    found = in_browser(file)
                    if found:
                        pad = f"\n{label:<66}" if label else ""
                        print(pad + "".join(f"{cell:>10.0f}" for cell in found), end="", flush=True)
                print()


if __name__ == "__main__":
    main()
