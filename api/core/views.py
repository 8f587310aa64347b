"""Pictures of a model for browsers, notebooks, documents and other tools.

from modelexport.core.views import view
view("model.onnx", overlays=["profile.json"]).save("model.html")
"""

from __future__ import annotations

from modelexport.views.overlays import OverlayError as OverlayError
from modelexport.views.picture import View as View
from modelexport.views.picture import view as view
