"""value-attribution: nodes without names are recognised by what they compute."""

import numpy as np
import onnx
import pytest
import torch

from modelexport.frontend.trace.value_trace import record, write_trace
from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import InputError, MemoryLimitExceeded
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.trace_file import load_trace, save_trace
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.evidence.values.fingerprints import close, fingerprint, is_rich, similarity
from modelexport.passes.evidence.values.run_votes import Answer
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.running.graph_values import fit_inputs, run_graph
from modelexport.passes.testing import make_model
from modelexport.passes.value_attribution import ValueAttribution, apply, follow_readers


class Block(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.left = torch.nn.Linear(size, size)
        self.right = torch.nn.Linear(size, size)

    def forward(self, x):
        y = self.norm(x)
        return x + torch.softmax(self.left(y), -1) * self.right(y).transpose(-1, -2).transpose(-1, -2)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(8), Block(8)])
        self.alias = self.blocks[0]
        self.hooked = torch.nn.Linear(8, 8)
        self.hooked.register_forward_hook(lambda module, inputs, output: output * 3.0)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        x = torch.nn.functional.dropout(self.hooked(x), 0.1, self.training)
        return torch.tanh(x).view(x.shape[0], -1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = Net().eval()
    for parameter in net.parameters():  # no two weights are equal by accident
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return net


@pytest.fixture(scope="module")
def example():
    return {"x": torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))}


@pytest.fixture(scope="module")
def exported(net, example, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    torch.onnx.export(net, (example["x"],), str(path), dynamo=False, opset_version=17, input_names=["x"],
                      dynamic_axes={"x": {0: "batch"}})  # fmt: skip
    return onnx.load(path)


@pytest.fixture(scope="module")
def eager(net, example, tmp_path_factory):
    return write_trace(net, example, tmp_path_factory.mktemp("trace") / "eager.htptrace", twins=())


@pytest.fixture(scope="module")
def twin(net, example, tmp_path_factory):
    return write_trace(net, example, tmp_path_factory.mktemp("trace") / "twin.htptrace", twins=("torchscript",))


def stripped(proto):
    """A copy without node names, and what each node was called."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    keep = {value.name for value in (*copy.graph.input, *copy.graph.output, *copy.graph.initializer)}
    names = {}
    for node in copy.graph.node:
        original = node.name
        node.name = ""
        node.input[:] = [v if v in keep or not v else f"v_{abs(hash(v))}" for v in node.input]
        node.output[:] = [v if v in keep or not v else f"v_{abs(hash(v))}" for v in node.output]
        names[node.output[0]] = original
    return copy, names


def paths(model, names):
    return {names[node.first_output]: node.attribution and node.attribution.path for node in model.nodes()}


def run(proto, trace, **options):
    model = from_proto(proto)
    return model, ValueAttribution(**options).run(model, PassContext(trace=trace))


def expected(name):
    """The module that a TorchScript node name spells; the operator of the hook is the hooked module's."""
    scope = name.rpartition("/")[0].strip("/").replace("/", ".")
    return "hooked" if name in ("/Mul", "/Constant") else scope


def test_a_twin_recognises_every_node(exported, twin):
    proto, names = stripped(exported)
    model, result = run(proto, twin)
    assert {name: path for name, path in paths(model, names).items() if path != expected(name)} == {}
    assert result.changed == len(proto.graph.node) and "twin-same" in result.notes["by rule"]
    assert {node.attribution.source for node in model.nodes()} == {Source.VALUE}
    assert model.modules["blocks.0"].aliases == ("alias",) and model.modules["hooked"].class_name == "Linear"


def test_the_eager_run_alone_recognises_what_is_computed(exported, eager):
    proto, names = stripped(exported)
    model, _ = run(proto, eager)
    wrong = [name for name, path in paths(model, names).items() if path != expected(name)]
    assert all("Constant" in name or "Transpose" in name for name in wrong)
    by_path = {node.attribution.path for node in model.nodes() if node.op_type == "LayerNormalization"}
    assert by_path == {"blocks.0.norm", "blocks.1.norm"}


def test_an_operator_called_as_torch_calls_it_is_no_surer(exported, eager):
    """A local function named ``softmax``, as an eager run names its events: the value says where it is from."""
    proto, names = stripped(exported)
    imports = [onnx.helper.make_opsetid("", 17)]
    inside = [onnx.helper.make_node("Softmax", ["a"], ["b"], axis=-1)]
    proto.functions.append(onnx.helper.make_function("pkg", "softmax", ["a"], ["b"], inside, imports))
    proto.opset_import.append(onnx.helper.make_opsetid("pkg", 1))
    for node in proto.graph.node:
        if node.op_type == "Softmax":
            node.op_type, node.domain = "softmax", "pkg"
            del node.attribute[:]
    model, _ = run(proto, eager)
    found = [node for node in model.main.nodes if node.op_type == "softmax"]
    assert [node.attribution.rule for node in found] == ["event-value"] * 2
    assert [node.attribution.path for node in found] == [expected(names[node.first_output]) for node in found]


def test_order_in_the_file_does_not_matter(exported, twin):
    proto, names = stripped(exported)
    nodes, ready = list(proto.graph.node), []
    known = {value.name for value in (*proto.graph.input, *proto.graph.initializer)}
    while nodes:  # a topological order that is as unlike the trace as can be: always the last node that is ready
        node = next(n for n in reversed(nodes) if known.issuperset(v for v in n.input if v))
        nodes.remove(node)
        known.update(node.output)
        ready.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(ready)
    model, _ = run(proto, twin)
    assert {name for name, path in paths(model, names).items() if path != expected(name)} == set()


def test_small_chunks_give_the_same_values(exported, example):
    feeds = {"x": example["x"].numpy()}
    whole, parts = {}, {}
    run_graph(from_proto(exported), feeds, whole.__setitem__)
    steps = []
    report = run_graph(
        from_proto(exported), feeds, parts.__setitem__, chunk_bytes=1, progress=lambda *s: steps.append(s)
    )
    assert report.unknown == 0 and list(whole) == list(parts) and steps[-1] == (len(exported.graph.node),) * 2
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_an_operator_that_cannot_run_is_noted_and_the_rest_goes_on(exported, twin):
    proto, _ = stripped(exported)
    node = proto.graph.node[-1]
    extra = onnx.helper.make_node("Mystery", [node.input[0]], ["odd"], domain="nowhere")
    proto.graph.node.insert(len(proto.graph.node) - 1, extra)
    proto.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    model = from_proto(proto)
    ctx = PassContext(trace=twin)
    result = ValueAttribution().run(model, ctx)
    assert list(result.notes["not run"]) == ["Mystery"] and "Mystery" in ctx.warnings[0]
    assert sum(node.attribution is not None for node in model.nodes()) >= len(proto.graph.node) - 1


def test_inputs_that_do_not_fit_are_said_and_names_still_count(exported, twin):
    proto = onnx.ModelProto.FromString(exported.SerializeToString())
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    ctx = PassContext(trace=twin)
    model = from_proto(proto)
    ValueAttribution().run(model, ctx)
    assert "'x'" in ctx.warnings[0]
    found = [node for node in model.nodes() if node.attribution is not None]
    assert len(found) > 0.9 * len(proto.graph.node)
    assert all(node.attribution.path == expected(node.name) for node in found if node.name)


def test_values_overrule_a_name_but_not_a_record(exported, twin):
    model = from_proto(exported)
    named, recorded = (node for node in model.nodes() if node.op_type == "LayerNormalization")
    named.attribute_to(Attribution("blocks.1", Source.SCOPE, "node-name", 0.99, by="test"))
    recorded.attribute_to(Attribution("blocks", Source.SCOPE, "torch-name-scopes", 1.0, by="test"))
    result = ValueAttribution().run(model, PassContext(trace=twin))
    assert named.attribution.path == "blocks.0.norm" and [a.path for a in named.history] == [
        "blocks.1",
        "blocks.0.norm",
    ]
    assert recorded.attribution.path == "blocks" and result.notes["replaced names"] == 1


def test_a_trace_of_another_model_is_not_used(exported, example, tmp_path):
    other = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Softmax(-1), torch.nn.Tanh())
    other.forward = lambda x: torch.nn.Sequential.forward(other, x)
    trace = write_trace(other.eval(), example, tmp_path / "other.htptrace", twins=())
    model = from_proto(exported)
    PassManager(Pipeline.parse("scope-attribution"), context=PassContext()).run(model)
    held = {node: node.attribution for node in model.nodes()}
    modules = [module.path for module in model.modules]
    ctx = PassContext(trace=trace)
    ValueAttribution().run(model, ctx)
    assert {node: node.attribution for node in model.nodes()} == held
    assert [module.path for module in model.modules] == modules
    assert any("of another model" in warning for warning in ctx.warnings)


def test_another_name_of_a_module_becomes_its_first(exported, twin):
    model = from_proto(exported)
    node = next(node for node in model.nodes() if node.op_type == "LayerNormalization")
    node.attribute_to(Attribution("alias", Source.SCOPE, "torch-name-scopes", 1.0, by="test"))
    ValueAttribution().run(model, PassContext(trace=twin))
    assert (node.attribution.path, node.attribution.rule) == ("blocks.0", "torch-name-scopes")


def test_half_precision_is_recognised(exported, twin):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto, names = stripped(exported)
    model, _ = run(convert_float_to_float16(proto, disable_shape_infer=True), twin)
    found = {names[node.first_output]: node.attribution for node in model.nodes() if node.first_output in names}
    right = [name for name, attribution in found.items() if attribution and attribution.path == expected(name)]
    assert len(right) >= 0.95 * len(found)


def test_without_a_trace_it_is_an_error_or_is_skipped(exported):
    model = from_proto(exported)
    with pytest.raises(InputError, match="no trace"):
        ValueAttribution().run(model, PassContext())
    assert ValueAttribution().run(model, PassContext(optional=True)).skipped == "no trace was given"
    with pytest.raises(InputError, match="missing"):
        ValueAttribution(trace="missing").run(model, PassContext(optional=True))


def test_memory_is_looked_at_between_chunks(exported, twin):
    with pytest.raises(MemoryLimitExceeded, match="value-attribution"):
        ValueAttribution().run(from_proto(exported), PassContext(trace=twin, memory_limit_mb=1))


def test_several_examples(net, example, exported, tmp_path):
    more = {"x": torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(2))}
    path = write_trace(net, example, tmp_path / "two.htptrace", more_inputs=[more], twins=())
    trace = load_trace(path)
    assert [view.example for view in trace.views] == [0, 1] and trace.examples[1]["x"].shape == (4, 3, 8)
    proto, _ = stripped(exported)
    model, result = run(proto, path, examples=2)
    assert set(result.notes["recorded runs"]) == {"eager 0", "eager 1"}
    norms = [node.attribution.path for node in model.nodes() if node.op_type == "LayerNormalization"]
    assert norms == ["blocks.0.norm", "blocks.1.norm"]


def test_recording_leaves_the_model_as_it_was(net, example, tmp_path):
    net.train()
    hooks, state = len(net.hooked._forward_hooks), torch.random.get_rng_state()
    trace = record(net, (example["x"],), twins=("torchscript",))
    assert net.training and len(net.hooked._forward_hooks) == hooks and "forward" not in vars(net)
    assert torch.equal(torch.random.get_rng_state(), state)
    net.eval()
    assert [view.kind for view in trace.views] == ["eager", "torchscript"]
    events = trace.views[0]
    owners = {events.ops[op]: trace.modules[module].path for op, module in zip(events.op, events.module, strict=True)}
    assert owners["mul"] in ("hooked", "blocks.1") and owners["layer_norm"] == "blocks.1.norm"
    assert "dropout" not in owners  # it handed its input back: no value of its own
    assert trace.views[0].names[events.inputs["x"]] == "" and "blocks.0.left.weight" in events.names
    save_trace(trace, tmp_path / "t")


def test_a_twin_that_fails_is_noted(net, example):
    class Broken(torch.nn.Module):
        def forward(self, x):
            return x * 2 if torch.onnx.is_in_onnx_export() is False else undefined  # noqa: F821

    trace = record(Broken(), example, twins=("torchscript",))
    assert "undefined" in trace.notes["torchscript"] and [view.kind for view in trace.views] == ["eager"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "int8", "bool", "complex64"])
def test_fingerprints_know_values_in_any_order(dtype):
    array = (np.random.default_rng(3).normal(size=(6, 5)) * 50).astype(dtype)
    stats, samples = fingerprint(array)
    turned, turned_samples = fingerprint(array.T)
    assert close(stats, turned, 1e-9) and stats[0] == array.size * (2 if dtype == "complex64" else 1)
    assert similarity(samples, samples) == 1.0 and (dtype == "bool" or similarity(samples, turned_samples) < 0.9)


def test_fingerprints_of_strange_values():
    stats, samples = fingerprint(np.array([1.5, np.nan, -np.inf, 3.4e38, -3.4e38]))
    assert stats[-1] == 2 and np.isfinite(stats).all() and np.isfinite(samples).all()
    assert not is_rich(fingerprint(np.zeros(100))[0]) and not is_rich(fingerprint(np.array([1.5]))[0])
    assert fingerprint(np.zeros((0, 3)))[0][0] == 0
    assert is_rich(fingerprint(np.linspace(0, 1, 7))[0])


def test_inputs_fit_by_name_then_by_type_and_shape(exported):
    proto = onnx.ModelProto.FromString(exported.SerializeToString())
    proto.graph.input[0].name = "renamed"
    model = from_proto(proto)
    array = np.zeros((2, 3, 8))
    feeds, problems = fit_inputs(model, {"ids": np.zeros((2, 3), np.int64), "x": array})
    assert list(feeds) == ["renamed"] and feeds["renamed"].dtype == np.float32 and problems == []
    assert fit_inputs(model, {"ids": np.zeros((2, 3), np.int64)})[1] == ["input 'renamed': no traced input fits it"]


@pytest.mark.parametrize("also_elsewhere", [False, True])
def test_rule_value_readers(also_elsewhere):
    """A constant that was named like its readers goes where they all went."""
    text = """
        agraph (float[2] X) => (float[2] Z) {
            ["/a/Constant"] c = Constant <value = float {2}> ()
            ["/a/Mul"] m = Mul (X, c)
            ["/a/Mul_1"] n = Mul (m, c)
            ["/Constant"] d = Constant <value = float {3}> ()
            ["/a/Add"] Z = Add (n, d)
        }
    """
    model = make_model(text)
    nodes = {node.name: node for node in model.nodes()}
    for node in nodes.values():
        node.attribute_to(Attribution("a" if "/a/" in node.name else "", Source.SCOPE, "node-name", 0.99, by="test"))
    readers = ["/a/Mul", "/a/Mul_1", "/a/Add"][: 3 if not also_elsewhere else 1]
    best = {nodes[name]: Answer("a.fc", "twin-same", 0.99, (), True) for name in readers}
    ctx = PassContext()
    _, replaced = apply(best, ctx)
    changed = follow_readers(model, replaced, ctx)
    constant = nodes["/a/Constant"].attribution
    if also_elsewhere:
        assert changed == 0 and constant.path == "a"
    else:
        assert changed == 1 and (constant.path, constant.rule, constant.evidence) == (
            "a.fc",
            "value-readers",
            ("m", "n"),
        )
    assert nodes["/Constant"].attribution.path == ""
