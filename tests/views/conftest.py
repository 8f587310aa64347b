"""A model with what pictures have to get right: bodies, a shared constant, modules without nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelexport.ir import Model
from modelexport.passes.testing import make_model
from modelexport.views.data import ViewData, view_data

sys.path.insert(0, str(Path(__file__).parent))
import browsing

TEXT = """
    # module: .                my.Net
    # module: blocks           torch.nn.modules.container.ModuleList calls=0
    # module: blocks.2         my.Block
    # module: blocks.10        my.Block
    # module: blocks.10.lin    torch.nn.modules.linear.Linear
    # module: drop             torch.nn.modules.dropout.Dropout
    # module: head             my.Head
    g (float[N] X, bool C) => (float[N] Y) <float[1] W = {1}, float[N] a, float[N] s> {
        [k] K = Constant <value_float = 2.0> ()     # scope: blocks.2
        [a] a = Mul (X, K)                          # scope: blocks.2
        [b] b = Mul (a, K)                          # scope: blocks.10
        [lin] c = Add (b, W)                        # scope: blocks.10.lin
        [norm] s = Exp (c)                          # scope: blocks.10 inherited/consumers 0.5
        [if] Y = If (C) <then_branch = t () => (float[N] y) {    # scope: head
                [neg] y = Neg (s)                   # scope: head
            }, else_branch = e () => (float[N] z) {
                [abs] z = Abs (a)                   # scope: .
            }>
    }
"""


@pytest.fixture
def model() -> Model:
    return make_model(TEXT)


@pytest.fixture
def data(model: Model) -> ViewData:
    return view_data(model)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, one for all tests of a process; without one the test is skipped."""
    if reason := browsing.missing():
        pytest.skip(reason)
    driver = browsing.start()
    yield driver
    driver.quit()
