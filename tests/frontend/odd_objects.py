"""Models and inputs that hold what can't be compared, copied, listed or asked: none of it is an exporter's business."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from stateful import Built, _Of, x
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

BUILDERS: dict[str, Callable[[], Built]] = {}


def kind(build: Callable[[], Built]) -> Callable[[], Built]:
    BUILDERS[build.__name__] = build
    return build


def plain(self: Any, x: Tensor, *rest: Any) -> Tensor:
    result: Tensor = self.fc(x)
    return result


def with_buffer(tensor: Tensor) -> Built:
    model = _Of(plain, listed=[tensor])
    model.register_buffer("held", tensor)
    return model, (x(),)


@kind
def sparse_buffer() -> Built:
    return with_buffer(torch.eye(4).to_sparse())


@kind
def sparse_rows_buffer() -> Built:
    return with_buffer(torch.eye(4).to_sparse_csr())


@kind
def meta_buffer() -> Built:
    return with_buffer(torch.empty(4, device="meta"))


@kind
def fake_buffer() -> Built:
    with FakeTensorMode():
        return with_buffer(torch.empty(4))


@kind
def quantised_buffer() -> Built:
    return with_buffer(torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8))


@kind
def opaque_buffer() -> Built:
    return with_buffer(torch.ones(4).to_mkldnn())


@kind
def nested_buffer() -> Built:
    return with_buffer(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))


@kind
def eight_bit_buffer() -> Built:
    return with_buffer(torch.ones(4).to(torch.float8_e4m3fn))


@kind
def quantised_model() -> Built:
    ao = torch.ao.quantization
    model = nn.Sequential(ao.QuantStub(), nn.Linear(4, 4), ao.DeQuantStub()).eval()
    model.qconfig = ao.get_default_qconfig("x86")  # type: ignore[assignment]
    prepared = ao.prepare(model)
    prepared(x())
    return ao.convert(prepared).eval(), (x(),)


@kind
def lazy_model() -> Built:
    return nn.Sequential(nn.LazyLinear(3), nn.ReLU()), (x(),)


@kind
def frozen_script() -> Built:
    return torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval())), (x(),)


class Mute:
    def _no(self, *args: Any) -> Any:
        raise RuntimeError("never ask")

    __eq__ = __bool__ = __len__ = __deepcopy__ = __reduce_ex__ = __repr__ = __iter__ = __getattr__ = _no
    __hash__ = object.__hash__


@kind
def mute_attributes() -> Built:
    return _Of(plain, one=Mute(), several=[Mute()], by_name={"one": Mute()}), (x(),)


class MuteModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    __eq__ = __bool__ = __len__ = __deepcopy__ = Mute._no
    __hash__ = nn.Module.__hash__

    @property
    def config(self) -> Any:
        raise RuntimeError("never ask")

    main_input_name = dummy_inputs = original_name = device = config

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc(x)
        return result


@kind
def mute_modules() -> Built:
    return nn.Sequential(MuteModule(), nn.ReLU(), MuteModule()), (x(),)


class Slotted(MuteModule):
    __slots__ = ("count",)

    def forward(self, x: Tensor) -> Tensor:
        object.__setattr__(self, "count", type(self).count.__get__(self) + 1)
        return super().forward(x) * Slotted.count.__get__(self)


@kind
def slots() -> Built:
    model = Slotted()
    object.__setattr__(model, "count", 0)
    return model, (x(),)


class Sealed(MuteModule):
    def __init__(self) -> None:
        super().__init__()
        self.sealed = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "sealed" in self.__dict__ and name != "training":
            raise RuntimeError(f"{name} can't be set")
        super().__setattr__(name, value)

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args) * 2


@kind
def sealed_modules() -> Built:
    return nn.Sequential(Sealed(), Sealed()), (x(),)


@kind
def what_has_no_copy() -> Built:
    model = _Of(plain, lock=threading.Lock(), several=(each for each in "abc"))
    model.reference = weakref.ref(model.fc)  # type: ignore[assignment]
    model.__dict__["itself"] = model
    return model, (x(),)


@kind
def containers_that_change() -> Built:
    def run(self: Any, x: Tensor, held: dict[str, Any], more: list[Tensor]) -> Tensor:
        held["new"] = x
        more.append(held["listed"].pop())
        held["listed"].append(x * 2)
        result: Tensor = self.fc(x) + more[-1]
        return result

    return _Of(run), (x(), {"listed": [x()]}, [x()])


@kind
def failing_after_changes() -> Built:
    def run(self: Any, x: Tensor, more: list[Tensor]) -> Tensor:
        more.append(x)
        self.count = len(more)
        self.fc.weight.data.add_(1)
        raise ValueError("too late")

    return _Of(run), (x(), [x()])


@kind
def failing_operator() -> Built:
    def run(self: Any, x: Tensor, more: list[Tensor]) -> Tensor:
        more.append(x)
        self.count = len(more)
        return torch.linalg.eigvals(self.fc(x)[0, :4] @ x[0, :4].T).real

    return _Of(run), (x(), [x()])
