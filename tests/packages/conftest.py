"""Programs of other packages: an optional suite, ``make test-clients``, in an environment of its own."""

from __future__ import annotations

import importlib.util
import os

NEEDED = ("ultralytics", "optimum", "timm", "torchvision")

collect_ignore_glob = ["site/*", "programs/*"]
if os.environ.get("MODELEXPORT_TEST_CLIENTS") != "1":
    collect_ignore_glob.append("test_*.py")
elif missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
    raise RuntimeError(f"these tests need {', '.join(missing)}: run make test-clients")
