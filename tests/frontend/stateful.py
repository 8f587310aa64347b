"""Models that a forward changes, or that depend on what happened before: a run too many is seen in the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Built = tuple[nn.Module, tuple[Any, ...]]
BUILDERS: dict[str, Callable[[], Built]] = {}


def kind(build: Callable[[], Built]) -> Callable[[], Built]:
    BUILDERS[build.__name__] = build
    return build


class _Of(nn.Module):
    """A Linear around a function of (module, x), with attributes of one's choice."""

    def __init__(self, function: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *args: Any) -> Any:
        return self.function(self, *args)


def x() -> Tensor:
    return torch.linspace(-1, 1, 20).reshape(1, 5, 4)


@kind
def grown_cache() -> Built:
    def run(self: Any, x: Tensor, cache: list[Tensor]) -> Tensor:
        cache.append(self.fc(x))
        return torch.cat(cache, 1)

    return _Of(run), (x(), [torch.ones(1, 3, 4)])


@kind
def popped_dict() -> Built:
    def run(self: Any, batch: dict[str, Tensor]) -> Tensor:
        return self.fc(batch.pop("x")) + batch["y"]

    return _Of(run), ({"x": x(), "y": x()}, {})


@kind
def counter() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        self.step += 1
        return self.fc(x) * self.step

    return _Of(run, step=0), (x(),)


@kind
def lazily_made_table() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        if self.table is None or self.table.shape[0] < x.shape[1]:
            self.table = torch.arange(x.shape[1], dtype=torch.float32)[:, None].cos()
        return self.fc(x) + self.table[: x.shape[1]]

    return _Of(run, table=None), (x(),)


@kind
def lazily_registered_buffer() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        if not hasattr(self, "made"):
            self.register_buffer("made", torch.ones(4), persistent=False)
        return self.fc(x) + self.made

    return _Of(run), (x(),)


@kind
def input_changed_in_place() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        x += 1.0
        return self.fc(x)

    return _Of(run), (x(),)


@kind
def buffer_changed_in_place() -> Built:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.register_buffer("seen", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add_(x.mean((0, 1)))
            result: Tensor = self.fc(x) + self.seen
            return result

    return Adds(), (x(),)


@kind
def renormalised_embedding() -> Built:
    return nn.Sequential(nn.Embedding(10, 4, max_norm=0.5), nn.Linear(4, 4)), (torch.tensor([[1, 2, 3]]),)


@kind
def statistics_in_training() -> Built:
    model = nn.Sequential(nn.Conv1d(5, 4, 1), nn.BatchNorm1d(4)).train()
    return model, (torch.linspace(-1, 1, 40).reshape(2, 5, 4),)


@kind
def random_draw() -> Built:
    return _Of(lambda self, x: self.fc(x) + torch.rand_like(x)), (x(),)


@kind
def dropout_that_always_drops() -> Built:
    return _Of(lambda self, x: F.dropout(self.fc(x), 0.5, training=True)), (x(),)


@kind
def list_of_what_was_seen() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return self.fc(x) * len(self.shapes)

    return _Of(run, shapes=[]), (x(),)


@kind
def first_call_differs() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        if self.first:
            self.first = False
            return self.fc(x).relu()
        return self.fc(x).tanh()

    return _Of(run, first=True), (x(),)


@kind
def hooks_made_on_the_way() -> Built:
    """As transformers does where a model records what its layers return."""

    def run(self: Any, x: Tensor) -> Tensor:
        if not self.has_hooks:
            self.has_hooks = True
            self.fc.register_forward_hook(lambda module, args, output: output * 2)
            self.fc.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
        return self.fc(x)

    return _Of(run, has_hooks=False), (x(),)


@kind
def hook_that_counts() -> Built:
    model = _Of(lambda self, x: self.fc(x))
    calls: list[int] = []

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        calls.append(1)
        return output * len(calls)

    model.fc.register_forward_hook(hook)
    return model, (x(),)


@kind
def hook_that_removes_itself() -> Built:
    model = _Of(lambda self, x: self.fc(x) + 1.0)

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        handle.remove()
        return output * 3.0

    handle = model.fc.register_forward_hook(hook)
    return model, (x(),)


@kind
def patched_forward() -> Built:
    model = _Of(lambda self, x: self.fc(x))
    original = model.forward
    model.forward = lambda x: original(x).relu()  # type: ignore[method-assign]
    return model, (x(),)


@kind
def mixed_precision() -> Built:
    return _Of(lambda self, x: self.fc(x).half().float()), (x(),)


@kind
def several_outputs() -> Built:
    return _Of(lambda self, x: {"a": self.fc(x), "b": [x.sum(), x.mean()]}), (x(),)


@kind
def tied_weights() -> Built:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            result: Tensor = self.head(self.embed(ids))
            return result

    return Tied(), (torch.tensor([[1, 2]]),)


@kind
def sparse_buffer_beside() -> Built:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.register_buffer("adjacent", torch.eye(4).to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.fc(x)
            return result

    return Sparse(), (x(),)


@kind
def recurrent() -> Built:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.state = nn.LSTM(4, 4, batch_first=True), torch.zeros(1, 1, 4)

        def forward(self, x: Tensor) -> Tensor:
            y, (self.last, _) = self.lstm(x, (self.state, self.state))
            result: Tensor = y
            return result

    return Recurrent(), (x(),)


@kind
def without_gradients_inside() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.fc(x)
        return y.relu()

    return _Of(run), (x(),)
