"""A small part of the accuracy benchmark: one model, one exporter, what must be true of it."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "accuracy"


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules; they import each other by bare name."""
    import importlib

    sys.path.insert(0, str(FOLDER))
    try:
        yield {
            name: importlib.import_module(name)
            for name in ("models", "truth", "variants", "cases", "run", "tables", "boosting", "calibrate", "ablate")
        }
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def cases(bench, tmp_path_factory):
    from modelexport.frontend.trace.value_trace import write_trace

    folder = tmp_path_factory.mktemp("accuracy") / "awkward"
    folder.mkdir()
    truth, variants = bench["truth"], bench["variants"]
    found = truth.torchscript(*bench["models"].get("awkward"), folder / "ts.onnx")
    (folder / "ts.json").write_text(json.dumps(found))
    variants.OPTIMISERS["orte"](folder / "ts.onnx", folder / "ts+orte.onnx")
    left = truth.after_optimiser(onnx.load(folder / "ts.onnx"), onnx.load(folder / "ts+orte.onnx"), found)
    (folder / "ts+orte.json").write_text(json.dumps(left))
    model, example = bench["models"].get("awkward")
    write_trace(model, example, folder / "model.htptrace", twins=("torchscript",))
    return folder


@pytest.fixture(scope="module")
def rows(bench, cases):
    return [row for name, *rest in bench["run"].situations(cases) for row in bench["run"].score(name, *rest)]


def share(rows, situation, index=5):
    held = [row[index] for row in rows if row[0] == situation]
    assert held
    return 100 * sum(held) / len(held)


@pytest.mark.parametrize(
    ("situation", "exact", "hsim"),
    [
        ("foreign untouched", 95, 97),
        ("foreign optimised", 94, 97),
        ("reference", 94, 97),
        ("trace untouched", 99.9, 99.9),
        ("trace optimised", 99.3, 99.5),
        ("trace stripped", 97, 98),
        ("stripped", 40, 70),
    ],
)
def test_floors(rows, situation, exact, hsim):
    assert share(rows, situation) >= exact
    assert share(rows, situation, 6) >= hsim


def test_confidence_is_near_the_truth(bench, rows):
    traced = [row for row in rows if row[0].startswith("trace")]
    assert bench["tables"].calibration_error(traced) <= 0.03


def test_every_known_node_is_scored(bench, cases, rows):
    known = json.loads((cases / "ts.json").read_text())
    names = [node.output[0] for node in bench["truth"].nodes_of(onnx.load(cases / "ts.onnx").graph)]
    assert known.keys() <= set(names) and len(known) >= 0.99 * len(names)
    assert sum(row[0] == "trace untouched" for row in rows) == len(known)
    assert {"hooked", "again", "stem.1" if "stem.1" in known.values() else "stem.0", "units.0.ln_1"} <= set(
        known.values()
    )


def test_the_table(bench, rows):
    text = "\n".join(bench["tables"].table(rows))
    assert "| stripped, trace | TorchScript |" in text and "Calibration error of all" in text


def test_shares_of_rules(bench):
    rows = [["s", "m.ts", "good", "value", 0.9, True, 1.0, None]] * 90
    rows += [["s", "m.ts", "good", "value", 0.9, False, 0.5, None]] * 10
    rows += [["s", "m.ts", "rare", "value", 0.9, False, 0.5, None]]
    old = {"rules": {"unseen": 0.7}, "sparse": {}, "situations": {"levels": {}, "trees": []}}
    shares = bench["calibrate"].measure(rows, old)
    assert shares["rules"]["unseen"] == 0.7 and abs(shares["rules"]["good"] - 0.9) < 0.01
    assert 0.5 < shares["rules"]["rare"] < 0.9
    assert bench["calibrate"].error(bench["calibrate"].confidences(rows, shares)) < 0.02


def test_guesses_are_measured_by_their_situation(bench):
    """Two kinds of guesses of one rule that differ in what lies around: each gets its own share."""
    rows = []
    for number in range(4000):
        more = [number % 6, number // 6 % 6, number // 36 % 4, number // 144 % 4]
        for around, right in ((1, number % 10 != 0), (2, number % 10 == 0)):
            place = ["Add", 2, False, around, around, *more]
            basis = ["neighbours", place, "neighbours", place, 10, 2, 1, 1, 2, 2, number // 576]
            rows.append(["s", f"m{number % 5}.ts", "neighbours", "inherited", 0.5, right, 1.0, basis])
    old = {"rules": {}, "sparse": {}, "situations": {}}
    shares = bench["calibrate"].measure(rows, old)
    given = bench["calibrate"].confidences(rows, shares)
    assert abs(given[0][0] - 0.9) < 0.05 and abs(given[1][0] - 0.1) < 0.05
    assert bench["calibrate"].error(given) < 0.05


def test_the_shipped_confidences_are_written_as_they_are_read(bench, tmp_path, monkeypatch):
    calibrate = bench["calibrate"]
    shipped = json.loads(calibrate.TARGET.read_text())
    monkeypatch.setattr(calibrate, "TARGET", tmp_path / "again.json")
    calibrate.write(shipped)
    assert json.loads((tmp_path / "again.json").read_text()) == shipped


def test_the_truth_of_a_product_that_was_fused_with_its_activation(bench):
    """The output's module, but where only the name of the node says anything, the product's."""
    before = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,2] x, float[2,2] w) => (float[2,2] y) {
          ["/a/Gemm"] "/a/Gemm_output_0" = Gemm (x, w)
          ["/act/Relu"] "/act/Relu_output_0" = Relu ("/a/Gemm_output_0")
          ["/b/Gemm"] "/b/Gemm_output_0" = Gemm ("/act/Relu_output_0", w)
          ["/out/Tanh"] y = Tanh ("/b/Gemm_output_0")
        }""")
    after = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[2,2] x, float[2,2] w) => (float[2,2] y) {
          ["fused /a/Gemm"] "/act/Relu_output_0" = com.microsoft.FusedGemm (x, w)
          ["fused /b/Gemm"] y = com.microsoft.FusedGemm ("/act/Relu_output_0", w)
        }""")
    known = {"/a/Gemm_output_0": "a", "/act/Relu_output_0": "act", "/b/Gemm_output_0": "b", "y": "out"}
    assert bench["truth"].after_optimiser(before, after, known) == {"/act/Relu_output_0": "act", "y": "b"}
    after.graph.node[0].name = "/a/Gemm"  # a whole name that speaks against the output
    after.graph.node[1].name = "/out/Tanh"
    assert bench["truth"].after_optimiser(before, after, known) == {"y": "out"}


def test_similarity(bench):
    similarity = bench["run"].similarity
    assert similarity("a.b", "a.b") == 1 and similarity("", "a") == 0.5 and similarity("a.b", "a.c") == 2 / 3


def test_models_as_initialised(bench):
    """The same network and example, but nothing is shifted: norms are ones."""
    models = bench["models"]
    assert {"bert", "bert@init"} <= set(models.names())
    assert len(models.names()) == 2 * len(models.MODELS) + sum(name.endswith("@pruned") for name in models.names())
    (shifted, example), (plain, again) = models.get("chain"), models.get("chain@init")
    assert all((example[name] == again[name]).all() for name in example)
    assert not any((a == b).all() for a, b in zip(shifted.parameters(), plain.parameters(), strict=True))
    norm = models.get("nested@init")[0].get_submodule("seq.2.0.0")
    assert norm.weight.unique().tolist() == [1] and norm.bias.unique().tolist() == [0]


def test_cases_as_initialised_are_foreign(bench, tmp_path):
    folder = tmp_path / "chain@init"
    assert not bench["cases"].build("chain@init", folder)
    names = {file.stem for file in folder.glob("*.onnx")}
    assert {name.partition("+")[0] for name in names} == {"ts", "dr", "do"} and len(names) == 21
    assert all((folder / f"{name}.json").exists() for name in names)
    assert {name for name, *_ in bench["run"].situations(folder)} == {
        "foreign untouched",
        "foreign optimised",
        "stripped",
        "reference",
    }


def test_what_a_heuristic_is_worth(bench, cases) -> None:
    """Scopes that are spelled like further calls are the worth of one rule; another has no say in this model."""
    ablate = bench["ablate"]
    found = dict(ablate.worth(cases, ["", "merged scopes", "recurrent"]))
    everything = found[""]
    assert everything["foreign"][1] > 200 and found["recurrent"] == everything
    gone = dict(ablate.worth(cases, ["width 1", "bias-of-product", "norm-growth"]))
    assert any(gone[rule]["stripped"][0] != everything["stripped"][0] for rule in gone)
    lines = list(ablate.table({"awkward": found}, ["merged scopes", "recurrent"]))
    assert lines[-1] == "| recurrent | 0 | 0 |  |" and lines[0].startswith("| without | plain | stripped |")
    lost = sum(found["merged scopes"][part][0] - everything[part][0] for part in ("foreign", "stripped"))
    assert lost == 0 or lines[-2].endswith(f"| awkward {lost:+d} |")


@pytest.mark.parametrize("rule", ["casts like data", "activation in list", "missing-number", "next-number"])
def test_a_heuristic_is_back_after_it_was_taken_away(bench, rule) -> None:
    ablate = bench["ablate"]
    owners = (ablate.anchors, ablate.flow, ablate.context_inheritance)
    before = [dict(vars(owner)) for owner in owners]
    with ablate.RULES[rule]():
        assert [dict(vars(owner)) for owner in owners] != before
    assert [dict(vars(owner)) for owner in owners] == before


def test_pruned_weights_are_half_zeros(bench) -> None:
    model, example = bench["models"].get("dicts@pruned")
    whole, _ = bench["models"].get("dicts")
    for (name, pruned), weight in zip(model.named_parameters(), whole.parameters(), strict=True):
        kept = pruned != 0
        assert (pruned[kept] == weight[kept]).all(), name
        if pruned.dim() > 1:
            assert 0.45 < kept.float().mean() < 0.55
    assert model(**example).isfinite().all()


def test_odds_are_scaled_to_what_is_left_out(bench):
    """Guesses that a fit calls 3 to 1 and that are right as often as not elsewhere are no surer than that."""
    boosting = bench["boosting"]
    slope, shift = boosting.platt([1.1, -1.1] * 500, [True, True, False, False] * 250, ["a"] * 1000)
    assert abs(slope) < 0.05 and abs(shift) < 0.05
    rights = [n % 10 < 7 for n in range(1000)] + [n % 10 < 3 for n in range(1000)]
    slope, shift = boosting.platt([2.0] * 1000 + [-2.0] * 1000, rights, ["a"] * 2000)
    assert abs(slope - 0.42) < 0.01 and abs(shift) < 0.01
    found = [2.0] * 1000 + [-2.0] * 1000 + [2.0] * 10 + [-2.0] * 10
    sure = [12.0, -12.0] * 500  # far too sure: a whole step of Newton's method leads away
    slope, shift = boosting.platt(sure, [at % 10 not in (2, 5, 7) for at in range(1000)], ["a"] * 1000)
    assert np.isfinite([slope, shift]).all() and abs(slope) < 1 and abs(shift) < 2
    small = boosting.platt(found, [*rights, *[True] * 10, *[False] * 10], ["a"] * 2000 + ["b"] * 20)
    assert small[0] > 0.6  # an architecture of few nodes weighs as much as another
    model = {"levels": {}, "trees": [[0, 1.0, -1.0, 3.0], 0.5]}
    assert boosting.scaled(model, 0.5, 0.25)["trees"] == [[0, 1.0, -0.25, 1.75], 0.25]
