"""Every Python that a program under ``modelexport run`` starts imports this when it starts, from PYTHONPATH.

It waits for torch to be imported, has exports tagged then where modelexport can be imported, and gives way to the
``sitecustomize`` that would have been imported without it. Pythons that never import torch import nothing of ours.
"""

import os
import sys


class _Waiting:
    """A finder that finds nothing: it is asked for torch right before torch is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torch":
            self.begin()

    def begin(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            from modelexport.frontend.clients import child
        except Exception:  # noqa: BLE001 - this Python has no modelexport, or none that knows of this: it exports plainly
            return
        child.begin(os.environ.get("MODELEXPORT_TAGGING", ""))


_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [_entry for _entry in sys.path if os.path.abspath(_entry) != _here]
sys.path_importer_cache.pop(_here, None)
if "torch" in sys.modules:
    _Waiting().begin()
else:
    sys.meta_path.insert(0, _Waiting())
sys.modules.pop("sitecustomize", None)
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402,F401 - the next one; Python ignores that there is none
