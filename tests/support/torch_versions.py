"""What tests ask of torch that older supported versions don't do."""

from __future__ import annotations

import pytest

from modelexport.frontend.torch.torch_internals import default_is_dynamo

LACKS = "the dynamo exporter of this torch is not its default yet: it writes to no stream and leaves more to optimise"
needs_dynamo_by_default = pytest.mark.skipif(not default_is_dynamo(), reason=LACKS)


def skip_older(dynamo: bool = True) -> None:
    """End the test where it is about the dynamo exporter, and torch's is an early one."""
    if dynamo and not default_is_dynamo():
        pytest.skip(LACKS)
