"""Standing inside torch's exporters, for exports that somebody else starts.

Every way to export ends in few functions of torch, which nobody binds early or inspects:

- TorchScript: ``_setup_trace_module_map`` begins an export, ``onnx_proto_utils._export_file`` writes its bytes,
  ``_reset_trace_module_map`` ends it. None of them is on the stack while the model runs.
- dynamo: ``_core.export`` makes the ONNXProgram, which ``_compat.export_compat`` then saves.

torch is never imported here: its modules are patched when the program imports them (``import_hook.py``), for as long as
there are clients. What an export is tagged with is the business of ``intercepted.py``, which is imported at the first
one. In each stand-in torch's own function runs exactly once, with its own exceptions; whatever of ours fails is noted
as a failure of that export and leaves it plain.
"""

from __future__ import annotations

import functools
import io
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelexport.frontend.interception.client import Client, Once
from modelexport.frontend.interception.import_hook import ImportHook

if TYPE_CHECKING:
    from modelexport.frontend.interception.intercepted import Intercepted

Original = Callable[..., Any]
_MARK = "_modelexport_original"

_TORCHSCRIPT = "torch.onnx._internal.torchscript_exporter"
_POINTS: dict[str, tuple[str, ...]] = {
    f"{_TORCHSCRIPT}.utils": ("_setup_trace_module_map", "_reset_trace_module_map"),
    f"{_TORCHSCRIPT}.onnx_proto_utils": ("_export_file",),
    "torch.onnx.utils": ("_setup_trace_module_map", "_reset_trace_module_map"),  # where they were before torch 2.9
    "torch.onnx._internal.onnx_proto_utils": ("_export_file",),
    "torch.onnx._internal.exporter._core": ("export",),
}


class _Running(threading.local):
    """What this thread is doing."""

    def __init__(self) -> None:
        self.torchscript: Intercepted | None = None
        self.aside = 0


_running = _Running()
_guard = threading.RLock()
_clients: tuple[Client, ...] = ()
_patched: dict[tuple[str, str], tuple[Original, Original]] = {}  # (module, name) -> (torch's, ours)


def enter(client: Client) -> None:
    """Let ``client`` have every export that begins from now on tagged, until it leaves."""
    global _clients
    with _guard:
        _clients = (*_clients, client)
        if len(_clients) == 1:
            _hook.install()


def leave(client: Client) -> None:
    """Undo ``enter``. The last one to leave puts back what torch had."""
    global _clients
    with _guard:
        _clients = tuple(each for each in _clients if each is not client)
        if _clients:
            return
        _hook.remove()
        for (place, name), (original, ours) in _patched.items():
            module = sys.modules.get(place)
            if module is not None and getattr(module, name, None) is ours:  # else somebody stands upon ours
                setattr(module, name, original)
        _patched.clear()


@contextmanager
def left_alone() -> Iterator[None]:
    """Exports of this thread are nobody's business meanwhile: their caller tags them."""
    _running.aside += 1
    try:
        yield
    finally:
        _running.aside -= 1


def _interested() -> tuple[Client, ...]:
    return tuple(client for client in _clients if client.covers()) if _clients and not _running.aside else ()


def _arrived(module: ModuleType) -> None:
    """Patch a module of torch."""
    with _guard:
        for name in _POINTS[module.__name__]:
            original = getattr(module, name, None)
            mark = getattr(original, _MARK, None)
            if mark is not None and mark[0]() is original:  # one of ours that another stood upon when we left
                original = mark[1]
            key = (module.__name__, name)
            if original is None or key in _patched or _is_of_another(original, module):
                continue
            ours = functools.wraps(original)(_STAND_INS[name](original))
            setattr(ours, _MARK, (weakref.ref(ours), original))
            _patched[key] = (original, ours)
            setattr(module, name, ours)


def _is_of_another(function: Original, module: ModuleType) -> bool:
    """Whether this is torch.onnx.utils as it is since torch 2.9: names for what is elsewhere."""
    return module.__name__ == "torch.onnx.utils" and function.__module__ != module.__name__


def _is_patched(name: str) -> bool:
    return any(patched == name for _, patched in _patched)


# The stand-ins, made for a function of torch's


def _torchscript_begins(original: Original) -> Original:
    def stand_in(model: Any, *args: Any, **kwargs: Any) -> Any:
        _running.torchscript = export = _begun("torchscript", model)
        if export is None:
            return original(model, *args, **kwargs)
        once = Once(original)
        with export.guarded(once):
            return export.map_modules(once, model, *args, **kwargs)
        return once.result if once.called else original(model, *args, **kwargs)

    return stand_in


def _torchscript_writes(original: Original) -> Original:
    def stand_in(model_bytes: bytes, f: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        if caller.f_code.co_name != "_export":  # a test case, say
            return original(model_bytes, f, *args, **kwargs)
        export = _running.torchscript
        if export is None:  # what is no module has no map
            export = _running.torchscript = _begun("torchscript", caller.f_locals.get("model"))
        if export is None:
            return original(model_bytes, f, *args, **kwargs)
        export.goes_to(f)
        pieces = None
        with export.guarded():
            pieces = export.tagged_bytes(model_bytes)
        if pieces is None:
            result = original(model_bytes, f, *args, **kwargs)
        else:
            from modelexport.frontend.interception.splicing import write

            result = write(pieces, original, model_bytes, f, *args, **kwargs)
        export.written = True
        if not _is_patched("_reset_trace_module_map"):  # nothing else will say that it has ended
            _running.torchscript = None
            export.close()
            export.end()
        return result

    return stand_in


def _torchscript_ends(original: Original) -> Original:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        export, _running.torchscript = _running.torchscript, None
        try:
            return original(*args, **kwargs)
        finally:
            if export is not None:
                export.close()
                if export.written:
                    export.end()

    return stand_in


def _dynamo_exports(original: Original) -> Original:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        export = _begun("dynamo", args[0] if args else kwargs.get("model"))
        if export is None:
            return original(*args, **kwargs)
        try:
            with export.guarded():
                export.watch()
            program = original(*args, **kwargs)
        finally:
            export.close()
        caller = sys._getframe(1)
        f = caller.f_locals.get("f") if caller.f_code.co_name == "export_compat" else None
        export.goes_to(f)
        with export.guarded():
            export.tag_program(program)
        _end_when_saved(export, program, f)
        return program

    return stand_in


def _end_when_saved(export: Intercepted, program: Any, f: Any) -> None:
    """torch saves the program right after it was made, where it was given a file: only then it has ended."""
    if f is None or isinstance(f, io.BytesIO):
        export.end()
        return
    save = type(program).save

    def save_once(*args: Any, **kwargs: Any) -> Any:
        program.__dict__.pop("save", None)
        result = save(program, *args, **kwargs)
        export.end()
        return result

    program.save = functools.wraps(save)(save_once)


_STAND_INS: dict[str, Callable[[Original], Original]] = {
    "_setup_trace_module_map": _torchscript_begins,
    "_reset_trace_module_map": _torchscript_ends,
    "_export_file": _torchscript_writes,
    "export": _dynamo_exports,
}


def _begun(exporter: str, model: Any) -> Intercepted | None:
    """The export that begins now, where somebody wants it."""
    clients = _interested()
    if not clients:
        return None
    from modelexport.frontend.interception.intercepted import Intercepted

    return Intercepted(exporter, model, clients)


_hook = ImportHook(_POINTS, _arrived)
