"""From what a command line says of a model to the model: a file, an importable callable, a checkpoint, a demo."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from modelexport.frontend.inputs.example_inputs import Inputs, infer, normalise
from modelexport.frontend.torch.reasons import first_line
from modelexport.ir.errors import InputError, MissingExtraError
from modelexport.ir.identity.file_kinds import LFS, ONNX, kind_of

FACTORIES = ("get_model", "build_model", "create_model", "model")
INPUTS = ("get_example_inputs", "get_inputs", "example_inputs", "inputs")
_OURS = "__modelexport_source__"  # in a module that was run from a file
_PICKLES = ("*.bin", "*.pt", "*.pth")
_SAFE = ("*.safetensors", "*.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Source:
    """A model in evaluation mode, and its example inputs where the source has some."""

    model: torch.nn.Module
    inputs: Inputs | None = None


def load_source(spec: str, *, trust_remote_code: bool = False, allow_pickle: bool = False) -> Source:
    """The model that ``spec`` names.

    Args:
        spec: ``file.py[:factory]``, ``pkg.module:callable``, a checkpoint folder, a hub id, or ``demo:transformer``.
        trust_remote_code: let a checkpoint run the Python code it brings along.
        allow_pickle: load weights that are pickles, which can run any code.

    Raises:
        InputError: there is no such model, or making it failed.
        MissingExtraError: a checkpoint, without transformers.
    """
    if spec.startswith("demo:"):
        return _demo(spec)
    path_text, _, factory = spec.rpartition(":") if ".py:" in spec else (spec, "", "")
    path = Path(path_text)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        return _from_module(_run_file(path), factory, str(path))
    if path.is_dir():
        return _from_checkpoint(str(path), trust_remote_code, allow_pickle, path)
    if path.exists():
        what, fix = kind_of(path)
        fix = "it needs no export: htp-opt tags it" if what == ONNX else fix
        said = f"{what or 'a file'}, not Python: {fix or 'give file.py, pkg.module:callable, or a checkpoint folder'}"
        raise InputError(f"{spec}: {said}")
    module, separator, name = spec.partition(":")
    if separator and name and all(part.isidentifier() for part in module.split(".")):
        return _from_module(_import(module), name, spec)
    if separator:
        raise InputError(f"{spec}: not pkg.module:callable")
    return _from_checkpoint(spec, trust_remote_code, allow_pickle, None)


def _demo(spec: str) -> Source:
    from modelexport.frontend.inputs.demo import DEMOS

    name = spec.removeprefix("demo:")
    if name not in DEMOS:
        raise InputError(f"{spec}: no such demo; there is {', '.join('demo:' + each for each in DEMOS)}")
    model, example = DEMOS[name]()
    return Source(model, normalise(example))


def _run_file(path: Path) -> ModuleType:
    name = _module_name(path)
    described = importlib.util.spec_from_file_location(name, path)
    if described is None or described.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(described)
    setattr(module, _OURS, True)
    folder = str(path.resolve().parent)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    sys.path.insert(0, folder)
    try:
        described.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file's code may raise anything; it is chained and told
        sys.modules.pop(name, None)
        raise InputError(f"{path}: failed to run: {first_line(error)}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def _module_name(path: Path) -> str:
    """The name that the file has when a program beside it imports it; its classes are recorded under that name.

    Where something else has the name, one of our own: the file must not take the place of a package.
    """
    name = path.stem
    own = f"_modelexport_source_{name}"
    if not name.isidentifier():
        return own
    if name in sys.modules:
        return name if hasattr(sys.modules[name], _OURS) else own
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return own
    return name if found is None or found.origin == str(path.resolve()) else own


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: no such module ({error.name} is not installed)") from error
    except (Exception, SystemExit) as error:  # the module's code may raise anything; it is chained and told
        raise InputError(f"{name}: failed to import: {first_line(error)}") from error


def _from_module(module: ModuleType, factory: str, where: str) -> Source:
    if factory:
        target: Any = module
        for part in factory.split("."):
            target = getattr(target, part, None)
        if target is None:
            raise InputError(f"{where}: has no {factory!r}{_offer(module)}")
        found, name = target, factory
    else:
        name = next((each for each in FACTORIES if hasattr(module, each)), "")
        found = getattr(module, name) if name else _only_class(module, where)
    made = _made(found, name, where)
    inputs: Any = None
    if isinstance(made, tuple) and len(made) == 2:
        made, inputs = made
    if not isinstance(made, torch.nn.Module):
        raise InputError(f"{where}: {name or 'the class'} gives {type(made).__name__}, not an nn.Module")
    if inputs is None:
        name = next((each for each in INPUTS if hasattr(module, each)), "")
        inputs = _made(getattr(module, name), name, where) if name else None
    return Source(made.eval(), normalise(inputs, model=made) if inputs is not None else None)


def _only_class(module: ModuleType, where: str) -> Any:
    """The module's only own nn.Module subclass that needs no arguments."""
    own = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module) and kind.__module__ == module.__name__
    ]
    buildable = [kind for kind in own if _needs_nothing(kind)]
    if len(buildable) == 1:
        return buildable[0]
    names = ", ".join(kind.__name__ for kind in buildable)
    why = f"several classes could be it ({names})" if buildable else "no model found"
    raise InputError(
        f"{where}: {why}: define one of {', '.join(FACTORIES)}, or name it as FILE:NAME; inputs are one of "
        f"{', '.join(INPUTS)}"
    )


def _needs_nothing(kind: type) -> bool:
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _made(found: Any, name: str, where: str) -> Any:
    """What a factory gives; what is no factory is given as it is."""
    if isinstance(found, (torch.nn.Module, torch.Tensor, tuple, list, Mapping)) or not callable(found):
        return found
    call: Callable[[], Any] = found
    try:
        return call()
    except (Exception, SystemExit) as error:  # the factory may raise anything; it is chained and told
        raise InputError(
            f"{where}: {name or getattr(found, '__name__', 'class')}() failed: {first_line(error)}"
        ) from error


def _offer(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    own = [name for name in names if getattr(getattr(module, name), "__module__", None) == module.__name__]
    return f"; it has {', '.join(own[:8])}" if own else ""


def _from_checkpoint(name: str, trust_remote_code: bool, allow_pickle: bool, folder: Path | None) -> Source:
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: not a checkpoint folder: it has no config.json")
        for weights in (path for pattern in (*_PICKLES, *_SAFE) for path in folder.glob(pattern)):
            what, fix = kind_of(weights)
            if what == LFS:
                raise InputError(f"{weights}: {what}; {fix}")
        pickled = any(path for pattern in _PICKLES for path in folder.glob(pattern))
        if pickled and not allow_pickle and not any(path for pattern in _SAFE for path in folder.glob(pattern)):
            raise InputError(
                f"{folder}: its weights are pickles, which can run any code: give --allow-pickle to load them"
            )
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf", f"loading the checkpoint {name}") from error
    # Of a folder everything is there: the hub is not asked. Without a hub the cache is all there is.
    local = folder is not None or not _hub_answers()
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": local}
    try:
        with _progress_on_terminals_only(transformers):
            config = transformers.AutoConfig.from_pretrained(name, **options)
            if getattr(config, "use_cache", False):
                config.use_cache = False  # a graph can't return the cache object
            kind = _model_class(transformers, config)
            if not allow_pickle:
                options["use_safetensors"] = True
            model = kind.from_pretrained(name, config=config, **options)
    except Exception as error:  # transformers raises whatever its many loaders raise; it is chained and told
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise InputError(f"{name}: brings its own Python code: give --trust-remote-code to run it") from error
        raise InputError(f"{name}: not a model file, nor a checkpoint that loads: {first_line(error)}") from error
    model.eval()
    return Source(model, infer(model))


def _hub_answers() -> bool:
    """Whether the hub can be reached; its own client would retry for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or (80 if place.scheme == "http" else 443)), 5):
            return True
    except OSError:
        return False


@contextmanager
def _progress_on_terminals_only(transformers: Any) -> Iterator[None]:
    """Keep progress bars out of files and pipes."""
    settings = transformers.utils.logging
    quiet = settings.is_progress_bar_enabled() and not sys.stderr.isatty()
    if quiet:
        settings.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            settings.enable_progress_bar()


def _model_class(transformers: Any, config: Any) -> Any:
    """The class the checkpoint was saved from, else transformers' choice for its configuration."""
    for name in getattr(config, "architectures", None) or ():
        kind = getattr(transformers, name, None)
        if kind is not None and hasattr(kind, "from_pretrained"):
            return kind
    return transformers.AutoModel
