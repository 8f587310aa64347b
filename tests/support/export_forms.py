"""Every way in which a program may call torch's exporters, each as a function that exports into the working directory.

Run as a program it does all those that it is given, by name, and says what each left behind: results, random numbers,
counted calls and flags, which are to be the same with and without us.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.onnx import export as bound_early

FORMS: dict[str, Callable[[], object]] = {}


def form(function: Callable[[], object]) -> Callable[[], object]:
    FORMS[function.__name__] = function
    return function


class Block(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.linear(x)) + x


class Net(nn.Module):
    """Blocks that share one activation; its weights are large enough to be external."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        act = nn.ReLU()
        self.blocks = nn.ModuleList([Block(act), Block(act)])
        self.head = nn.Linear(8, 600)
        self.calls = 0

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x if scale is None else x * scale)


class Stateful(nn.Module):
    """Counts, draws, keeps statistics and changes its input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(8, 4)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(self.seen))
        return self.linear(self.drop(self.norm(x)))


def net() -> Net:
    return Net().eval()


X = torch.linspace(-1, 1, 16).reshape(2, 8)


def torchscript(model: Any, args: Any, f: Any, **kwargs: Any) -> object:
    return torch.onnx.export(model, args, f, dynamo=False, **kwargs)


def dynamo(model: Any, args: Any, f: Any = None, **kwargs: Any) -> Any:
    return torch.onnx.export(model, args, f, dynamo=True, verbose=False, **kwargs)


@form
def ts_path() -> object:
    return torchscript(net(), (X,), "ts_path.onnx", opset_version=17)


@form
def ts_verbose() -> object:
    return torchscript(net(), X, "ts_verbose.onnx", verbose=True)


@form
def ts_pathlib_keywords() -> object:
    return torch.onnx.export(
        model=net(),
        args=(X,),
        f=Path("ts_pathlib.onnx"),
        dynamo=False,
        kwargs={"scale": torch.ones(8)},
        opset_version=17,
    )


@form
def ts_bytesio() -> object:
    stream = io.BytesIO()
    torchscript(net(), (X,), stream)
    Path("ts_bytesio.onnx").write_bytes(stream.getvalue())
    return stream.tell()


@form
def ts_open_file() -> object:
    with open("ts_open_file.onnx", "wb") as stream:
        torchscript(net(), (X,), stream)
        return stream.tell()


@form
def ts_utils() -> object:
    return torch.onnx.utils.export(net(), (X,), "ts_utils.onnx")


@form
def ts_bound_early() -> object:
    return bound_early(
        net(), (X,), "ts_bound_early.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )


@form
def ts_no_grad_half() -> object:
    with torch.no_grad():
        return torchscript(net().half(), (X.half(),), "ts_half.onnx")


@form
def ts_autocast() -> object:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        return torchscript(net(), (X,), "ts_autocast.onnx")


@form
def ts_without_params() -> object:
    return torchscript(net(), (X,), "ts_without.onnx", export_params=False)


@form
def ts_inputs_kept() -> object:
    return torchscript(net(), (X,), "ts_kept.onnx", keep_initializers_as_inputs=True)


@form
def ts_training() -> object:
    model = Stateful().train()
    torchscript(model, (X,), "ts_training.onnx", training=torch.onnx.TrainingMode.TRAINING)
    return model.seen, model.norm.running_mean.tolist(), torch.rand(2).tolist(), model.training, model.drop.training


@form
def ts_hooks() -> object:
    model, seen = net(), []
    model.blocks[0].register_forward_hook(lambda module, args, out: seen.append("hook") or out * 2)
    model.head.register_forward_pre_hook(lambda module, args: seen.append("pre"))
    torchscript(model, (X,), "ts_hooks.onnx", verbose=True)
    return seen, len(model.blocks[0]._forward_hooks)


@form
def ts_patched_forward() -> object:
    model = net()
    original = model.forward
    model.forward = lambda x: original(x) + 1  # type: ignore[method-assign]
    return torchscript(model, (X,), "ts_patched.onnx")


@form
def ts_scripted() -> object:
    return torchscript(torch.jit.script(net().blocks[0]), (X,), "ts_scripted.onnx")


@form
def ts_traced() -> object:
    return torchscript(torch.jit.trace(net(), X), (X,), "ts_traced.onnx")


@form
def ts_script_function() -> object:
    @torch.jit.script
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + x

    return torchscript(double, (X,), "ts_function.onnx")


@form
def ts_thread() -> object:
    thread = threading.Thread(target=torchscript, args=(net(), (X,), "ts_thread.onnx"))
    thread.start()
    return thread.join()


@form
def ts_local_functions() -> object:
    return torchscript(net(), (X,), "ts_functions.onnx", export_modules_as_functions={Block}, opset_version=17)


@form
def dy_default() -> object:
    return type(torch.onnx.export(net(), (X,), "dy_default.onnx", verbose=False)).__name__


@form
def dy_inside() -> object:
    return type(dynamo(net(), (X,), "dy_inside.onnx", external_data=False)).__name__


@form
def dy_positional() -> object:
    program = torch.onnx.export(net(), X, "dy_positional.onnx", dynamo=True, verbose=False, input_names=["in"])
    return "save" in vars(program)


@form
def dy_none() -> object:
    program = dynamo(net(), (X,))
    program.save("dy_none.onnx")
    onnx.save(program.model_proto, "dy_proto.onnx")
    program.optimize()
    program.apply_weights({"head.bias": torch.ones(600)})
    program.save("dy_optimized.onnx")
    return "save" in vars(program)


@form
def dy_bytesio() -> object:
    stream = io.BytesIO()
    dynamo(net(), (X,), stream)
    Path("dy_bytesio.onnx").write_bytes(stream.getvalue())
    return stream.tell()


@form
def dy_shapes() -> object:
    dynamo(net(), (X,), "dy_shapes.onnx", dynamic_shapes={"x": {0: "batch"}})
    return dynamo(net(), (X,), "dy_axes.onnx", dynamic_axes={"x": {0: "n"}}, input_names=["x"]) is None


@form
def dy_exported_program() -> object:
    program = torch.export.export(net(), (X,))
    return type(dynamo(program, (), "dy_exported.onnx")).__name__


@form
def dy_converted() -> object:
    return type(dynamo(net(), (X,), "dy_converted.onnx", opset_version=17)).__name__


@form
def dy_training_bfloat16() -> object:
    model = Stateful().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dynamo(model, (X,), "dy_training.onnx")
    return model.training, model.norm.running_mean.tolist(), torch.rand(2).tolist()


@form
def dy_hooks() -> object:
    model, seen = net(), []
    model.blocks[1].register_forward_hook(lambda module, args, out: seen.append("hook"))
    dynamo(model, (X,), "dy_hooks.onnx")
    return seen, len(model.blocks[1]._forward_hooks)


@form
def dy_unoptimized() -> object:
    return dynamo(net(), (X,), "dy_unoptimized.onnx", optimize=False, keep_initializers_as_inputs=True) is None


class Refused(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("this model can't be run")


@form
def ts_refused() -> object:
    return _failure(lambda: torchscript(Refused(), (X,), "ts_refused.onnx"))


@form
def dy_refused() -> object:
    return _failure(lambda: dynamo(Refused(), (X,), "dy_refused.onnx"))


@form
def ts_no_folder() -> object:
    return _failure(lambda: torchscript(net(), (X,), "missing/ts.onnx"))


@form
def dy_no_folder() -> object:
    return _failure(lambda: dynamo(net(), (X,), "missing/dy.onnx"))


def _failure(call: Callable[[], object]) -> tuple[str, str, int]:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever torch raises is compared
        return type(error).__name__, str(error), len(os.listdir())
    return "none", "", 0


def state() -> tuple[object, ...]:
    """What an export must leave as torch does."""
    return (
        torch.rand(1).item(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_inference_mode_enabled(),
        str(torch.get_default_dtype()),
        torch.nn.Module.__call__.__name__,
        torch.onnx.export.__module__,
        torch.onnx.export.__name__,
        torch.onnx.is_in_onnx_export(),
    )


def do(names: list[str], context: Any = nullcontext) -> dict[str, tuple[object, ...]]:
    """Do the forms; what each returned and left behind."""
    found: dict[str, tuple[object, ...]] = {}
    for name in names:
        torch.manual_seed(7)
        with context():
            result = FORMS[name]()
        found[name] = (result, *state())
    return found


if __name__ == "__main__":
    for name, left in do(sys.argv[1:] or list(FORMS)).items():
        sys.stdout.write(f"left {name} {left}\n")
