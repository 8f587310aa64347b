"""Write the pictures of the documents from the real page: ``python docs/generate_page_pictures.py [NAME ...]``.

It wants torch, selenium and Chromium. The model is the built-in demo with more blocks and fixed random weights. Times
are made up from the operators, so that a run on another machine gives the same pictures. Those of the tutorial are
of its own model, with the times of the machine that draws them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pictures"
WEIGHT = {"MatMul": 40, "Gemm": 36, "Softmax": 14, "LayerNormalization": 9, "Gather": 6, "Erf": 5, "Gelu": 5}
# name, width, height, theme, opens, address, colour, sorted by the overlay, search
SHOTS: Sequence[tuple[str, int, int, str, tuple[str, ...], str, str, bool, str]] = (
    ("page", 1280, 760, "light", ("blocks.1", "blocks.1.attention"), "blocks.1.attention", "class", False, ""),
    ("page-time", 1280, 760, "light", ("blocks.0", "blocks.0.attention"), "blocks.0", "overlay:time", True, ""),
    ("page-dark", 1280, 760, "dark", ("blocks.2",), "blocks.2", "class", False, "norm"),
    ("tutorial", 1280, 620, "light", ("blocks.1",), "blocks.1", "class", False, ""),
    ("tutorial-time", 1280, 620, "light", ("blocks.1",), "blocks.1", "overlay:us", True, ""),
    ("page-guesses", 1280, 760, "light", ("blocks.1", "blocks.1.attention"), "blocks.1.attention", "source", False, ""),
)

CHANGE = """
    const box = document.getElementById(arguments[0]);
    box.value = arguments[1];
    box.dispatchEvent(new Event(arguments[2]));
"""


def make_models(folder: Path) -> dict[str, Path]:
    """The tagged demo, and the same without tags after an optimiser has renamed a good part of it."""
    import onnx

    from modelexport.frontend.inputs import demo

    demo.DEPTH = 4
    tagged = Path(demo.run_demo(folder, exporter="dynamo")["output_path"])
    proto = onnx.load(tagged)
    graph = proto.graph
    kept = [each.name for each in (*graph.input, *graph.output, *graph.initializer)]
    renamed = {"": "", **{name: name for name in kept}}
    del graph.value_info[:]
    for index, node in enumerate(graph.node):
        del node.metadata_props[:]
        if index % 3 == 0:
            node.name = ""
        for names in (node.input, node.output):
            for slot, value in enumerate(names):
                names[slot] = renamed.setdefault(value, f"v{len(renamed)}")
    del proto.metadata_props[:]
    bare = folder / "bare.onnx"
    onnx.save(proto, bare)
    numbers = {node.name: WEIGHT.get(node.op_type, 1) for node in onnx.load(tagged).graph.node}
    (folder / "time.json").write_text(json.dumps({"name": "time", "unit": "us", "values": numbers}))
    return {"tagged": tagged, "bare": bare}


def tutorial(folder: Path) -> None:
    """Write ``tutorial.html`` and ``tutorial-time.html``, the pages of the tutorial's model."""
    from modelexport.cli.modelexport import main as command
    from modelexport.core.views import view

    found = re.search(r"```python\n(.*?)```", Path(__file__).with_name("tutorial.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    with contextlib.chdir(folder):
        exec(found[1], {})  # writes net.py
        status = command(("export", "net.py", "net.onnx", "--opset-version", "17"))
        with open("profile.json", "w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
            status += command(("profile", "net.onnx", "--runs", "20", "--format", "json"))
    if status:
        raise SystemExit("the tutorial's model can't be exported or run")
    view(folder / "net.onnx").save(folder / "tutorial.html")
    view(folder / "net.onnx", [folder / "profile.json"]).save(folder / "tutorial-time.html")


def start(width: int, height: int) -> Any:
    """A headless Chromium with a window of this size."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or sys.exit("there is no chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


def main(names: Sequence[str] = ()) -> None:
    """Write the pictures of these names, or every one."""
    from modelexport.core.views import view

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = make_models(folder)
        view(models["tagged"], [folder / "time.json"]).save(folder / "tagged.html")
        view(models["bare"], title="demo.onnx without its tags").save(folder / "bare.html")
        tutorial(folder)
        for shot, width, height, theme, opens, address, colour, by_overlay, search in SHOTS:
            if names and shot not in names:
                continue
            browser = start(width, height)
            page = folder / {"page-guesses": "bare.html"}.get(shot, "tagged.html")
            page = folder / f"{shot}.html" if shot.startswith("tutorial") else page
            browser.get(page.as_uri())
            run = browser.execute_script
            run("document.documentElement.dataset.theme = arguments[0]", theme)
            run(CHANGE, "colour", colour, "change")
            for path in opens:
                run("window.modelexport.expand(arguments[0])", path)
            if by_overlay:
                run("document.getElementById('sort').click()")
            run("location.hash = '#' + arguments[0]", address)
            if search:
                run(CHANGE, "search", search, "input")
            browser.execute_async_script("setTimeout(arguments[0], 500)")
            browser.save_screenshot(str(FOLDER / f"{shot}.png"))
            browser.quit()


if __name__ == "__main__":
    main(sys.argv[1:])
