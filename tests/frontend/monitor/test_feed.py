"""From the IR to step data: every node at every depth, equal records as one object."""

from __future__ import annotations

import onnx
import pytest

from modelexport.frontend.monitor import ModuleInfo
from modelexport.frontend.monitor.feed import hierarchy_fields, tagging_fields
from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.ir.modules import Module, ModuleTable

BRANCHING = """
<ir_version: 10, opset_import: ["" : 17]>
agraph (bool c, float[2] x) => (float[2] y) {
    [first] h = Relu(x)
    [branch] y = If(c) <then_branch = yes () => (float[2] t) { [inside] t = Neg(h) },
                        else_branch = no () => (float[2] e) { e = Abs(h) }>
}
"""


@pytest.fixture
def model() -> Model:
    model = from_proto(onnx.parser.parse_model(BRANCHING))
    model.modules = ModuleTable([Module("", "net.Net"), Module("act", "torch.nn.modules.activation.ReLU", calls=3)])
    shared = Attribution("act", Source.SCOPE, "r", 0.987654)
    for node in model.nodes():
        if node.op_type in ("Relu", "Neg"):
            node.attribute_to(shared)
        elif node.op_type == "If":
            node.attribute_to(Attribution("", Source.INHERITED, "r", 0.5))
    return model


def test_nodes_in_bodies_count_and_nodes_without_attribution_are_untagged(model: Model) -> None:
    fields = tagging_fields(model)
    assert (fields["total_nodes"], fields["coverage"]) == (4, 0.75)
    assert fields["tagging_stats"] == {"scope": 2, "inherited": 1}
    assert fields["nodes"]["inside"] == {"tag": "/Net/ReLU", "path": "act", "source": "scope", "confidence": 0.99}
    assert fields["nodes"]["first"] is fields["nodes"]["inside"]
    untagged = [key for key, record in fields["nodes"].items() if record["tag"] is None]
    assert len(untagged) == 1 and untagged[0].endswith(":Abs")


def test_tags_are_a_view_of_the_tagged_nodes(model: Model) -> None:
    tags = tagging_fields(model)["tagged_nodes"]
    assert dict(tags) == {"first": "/Net/ReLU", "branch": "/Net", "inside": "/Net/ReLU"}
    assert len(tags) == 3
    with pytest.raises(KeyError):
        tags[next(key for key in tags.nodes if key not in list(tags))]


def test_tags_collapse_as_they_do_in_the_file(model: Model) -> None:
    assert tagging_fields(model, torch_nn=False)["nodes"]["first"]["tag"] == "/Net"
    assert hierarchy_fields(model.modules, torch_nn=False)["hierarchy"]["act"].tag == "/Net"


def test_modules_with_the_calls_of_a_trace(model: Model) -> None:
    fields = hierarchy_fields(model.modules, calls=["", "act", "act", "act"])
    assert fields["execution_steps"] == 4
    assert fields["hierarchy"]["act"] == ModuleInfo("act", "ReLU", "/Net/ReLU", 1, 0, 3)
    model.modules.add(Module("never", "net.Never", calls=0))
    assert hierarchy_fields(model.modules, calls=["", "act"])["hierarchy"]["never"].execution_order == -1
    assert hierarchy_fields(model.modules)["execution_steps"] == 4
