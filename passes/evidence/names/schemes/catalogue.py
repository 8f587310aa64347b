"""The schemes that are known: ours, and those of installed distributions (entry points ``modelexport.schemes``)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from modelexport.ir.errors import PipelineError
from modelexport.passes.evidence.names.schemes.caffe2 import Caffe2
from modelexport.passes.evidence.names.schemes.flat import Flat
from modelexport.passes.evidence.names.schemes.interface import Scheme
from modelexport.passes.evidence.names.schemes.jax import Jax
from modelexport.passes.evidence.names.schemes.paddle import Paddle
from modelexport.passes.evidence.names.schemes.tensorflow import TensorFlow
from modelexport.passes.evidence.names.schemes.tflite import TensorFlowLite

GROUP = "modelexport.schemes"
OURS: tuple[type[Scheme], ...] = (Jax, TensorFlow, TensorFlowLite, Paddle, Caffe2, Flat)


@cache
def schemes() -> tuple[Scheme, ...]:
    """Third parties' schemes by name, then ours from the most to the least particular.

    Raises:
        PipelineError: a scheme can't be loaded, is no Scheme, or bears the name of another.
    """
    found: list[Scheme] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            loaded = point.load()
        except Exception as error:  # a plug-in's module runs here, and may fail in any way
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PipelineError(
                f"the naming scheme {point.name!r} ({point.value}) can't be loaded: {reason}"
            ) from error
        if not (isinstance(loaded, type) and issubclass(loaded, Scheme)) or loaded.name != point.name:
            raise PipelineError(f"the naming scheme {point.name!r} ({point.value}) is not a Scheme of that name")
        if point.name in {each.name for each in found} | {scheme.name for scheme in OURS}:
            raise PipelineError(f"two naming schemes are called {point.name!r}: uninstall one of them")
        found.append(loaded())
    return (*found, *(scheme() for scheme in OURS))
