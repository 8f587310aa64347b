"""Standing at module calls while torch.fx traces: its stand-in is never taken for torch's own call."""

from __future__ import annotations

import torch

from modelexport.frontend.torch.calls import heard_calls


class Plus(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plus = Plus()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with heard_calls(lambda module, frame: None):  # as another thread's export may begin while this one traces
            return self.plus(x)


class Outer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_a_trace_goes_on_and_leaves_torch_as_it_was() -> None:
    before = torch.nn.Module.__dict__["__call__"]
    tracer = torch.fx.Tracer()
    tracer.is_leaf_module = lambda module, name: False  # type: ignore[method-assign]
    for _ in range(2):
        graph = tracer.trace(Outer())
        assert [node.op for node in graph.nodes] == ["placeholder", "call_function", "output"]
    assert torch.nn.Module.__dict__["__call__"] is before
    names: list[str] = []
    with heard_calls(lambda module, frame: names.append(type(module).__name__)):
        Outer()(torch.ones(1))
    assert names == ["Outer", "Inner", "Plus"]
