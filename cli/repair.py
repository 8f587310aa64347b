"""Repairs of ``modelexport validate``: old tags become metadata, and model and sidecar say the same again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from modelexport.ir.io.tag_rows import TagRow
    from modelexport.ir.model import Model

# Custom attributes that older hierarchy exporters put on standard operators, which onnx.checker and onnxruntime refuse.
LEGACY_ATTRIBUTES = ("hierarchy_tag", "hierarchy_tags", "hierarchy_path", "hierarchy_count", "hierarchy_method")


def repair_model(path: Path, repair_from: str | None = None) -> list[str]:
    """Repair the model at ``path`` and its sidecar, in place.

    Args:
        repair_from: ``model`` or ``sidecar``, the one that is right; the model when it has tags unless given.

    Returns:
        what was done, one line each; empty when nothing had to be.

    Raises:
        InputError: neither has tags, or a file can't be read.
    """
    from modelexport.ir import load_model
    from modelexport.ir.errors import InputError
    from modelexport.ir.io.reader import from_proto
    from modelexport.ir.io.sidecar import sidecar_path
    from modelexport.ir.io.tag_rows import best_rows

    done: list[str] = []
    proto = load_model(path).proto  # read for this alone, so it may be edited before the IR is built over it
    converted = convert_legacy(proto)
    model = from_proto(proto, path)
    if converted:
        done.append(f"{path.name}: {converted} nodes: hierarchy attributes of an older tool became metadata")
    rows, source = best_rows(model, path, repair_from or ("model" if converted else ""))
    tagged = sum(bool(row.tags) for row in rows)
    if not converted and not tagged:
        where = "the sidecar has no" if source == "sidecar" else "neither the model nor a sidecar has"
        raise InputError(f"{path}: {where} tags to repair from; tag the model with htp-opt")
    agreed = not converted and _agree(path)
    if agreed and tagged == len(rows):
        return done
    whole = tagged == len(rows) and (source == "sidecar" or _carries_tags(model))
    if not converted and (whole or repair_from is not None):
        return [_carried(path, source)]
    before = path.read_bytes()
    from modelexport.ir.io.tag_rows import tagged_model
    from modelexport.ir.io.writer import to_bytes

    if not converted:
        model = tagged_model(path, source)
        check_tags(model, rows, f"{path}: the {source}")
    recorded = _recorded(path, model, source)
    _tag_and_save(model, path, recorded)
    if not converted and to_bytes(load_model(path)) != before:
        done.append(f"{path.name}: tags rewritten from the {source}")
    done.append(f"{sidecar_path(path).name}: rewritten from the {source}")
    return done


def _carried(path: Path, source: str) -> str:
    """Make the other file say what ``source`` says, which is not touched; what was done."""
    from modelexport.ir import save_model
    from modelexport.ir.facts import Fact
    from modelexport.ir.io.sidecar import sidecar_path, write_sidecar
    from modelexport.ir.io.tag_rows import best_rows, tagged_model
    from modelexport.passes import PassManager, Pipeline
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.kept import KEPT, recorded_step

    model = tagged_model(path, source)
    rows, _ = best_rows(model, path, source)
    check_tags(model, rows, f"{path}: the {source}")
    recorded = _recorded(path, model, source)
    step = recorded_step(recorded)
    if source == "model":
        torch_nn = bool(getattr(step, "torch_nn", True))
        write_sidecar(model, sidecar_path(path), pipeline=recorded, model_path=path, torch_nn=torch_nn)
        return f"{sidecar_path(path).name}: rewritten from the model"
    embedding = Pipeline((step,)) if step is not None else Pipeline.parse(KEPT)
    PassManager(Pipeline.parse("strip-tags")).run(model)
    context = PassContext(pipeline=recorded or embedding.recorded())
    PassManager(embedding, assume={Fact.TAGGED}, verify_each=False, context=context).run(model)
    save_model(model, path)
    return f"{path.name}: tags rewritten from the sidecar"


def check_tags(model: Model, rows: Iterable[TagRow], where: str) -> None:
    """Refuse a source whose tags and paths contradict each other. Raises InputError naming the node."""
    from modelexport.ir.errors import InputError
    from modelexport.ir.text import shown

    full, outside = model.modules.tags(), model.modules.tags(torch_nn=False)
    seen: dict[str, str] = {}
    for row in rows:
        if row.path is None or not row.tags:
            continue
        known = {full.get(row.path, row.tag), outside.get(row.path, row.tag)}
        if row.tag not in known or seen.setdefault(row.path, row.tag) != row.tag:
            raise InputError(
                f"{where} contradicts itself: node {shown(row.key)} has the tag {row.tag} and the path"
                f" {row.path or '(root)'}, whose tag is {min(known - {row.tag}, default='another')};"
                " repair from the other one, or tag the model again with htp-opt"
            )


def _carries_tags(model: Model) -> bool:
    """Whether nodes have tags of their own, not only rows in the table that optimisers leave."""
    from modelexport.ir.io.embedded_tags import PATH, tag_in_doc

    return any(PATH in node.metadata or tag_in_doc(node.doc_string) is not None for node in model.nodes())


def _recorded(path: Path, model: Model, source: str) -> str:
    """The pipeline that the source records."""
    from modelexport.ir.io.embedded_tags import pipeline_of
    from modelexport.ir.io.sidecar import read_sidecar, sidecar_path

    said = pipeline_of(model.metadata) or ""
    if source == "sidecar":
        said = str(read_sidecar(sidecar_path(path)).get("pipeline") or said)
    return said


def convert_legacy(proto: onnx.ModelProto) -> int:
    """Turn tags in node attributes into metadata that scope-attribution reads. Returns the number of nodes."""
    from modelexport.ir.io.embedded_tags import TAG, WINML_TAG

    converted = 0
    for node in legacy_nodes(proto):
        tag = ""
        for index in range(len(node.attribute) - 1, -1, -1):
            attribute = node.attribute[index]
            if attribute.name not in LEGACY_ATTRIBUTES:
                continue
            if attribute.name in LEGACY_ATTRIBUTES[:2]:
                text = attribute.s or (attribute.strings[0] if attribute.strings else b"")
                tag = tag or text.decode("utf-8", "replace")
            del node.attribute[index]
        known = any(entry.key in (WINML_TAG, TAG) for entry in node.metadata_props)
        if tag and not known:
            node.metadata_props.add(key=WINML_TAG, value=tag)
        converted += 1
    return converted


def legacy_nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes at every depth with an attribute of an older tool."""
    lists = [proto.graph.node, *(function.node for function in proto.functions)]
    while lists:
        for node in lists.pop():
            found = False
            for attribute in node.attribute:
                found = found or attribute.name in LEGACY_ATTRIBUTES
                if attribute.HasField("g"):
                    lists.append(attribute.g.node)
                lists.extend(graph.node for graph in attribute.graphs)
            if found:
                yield node


def _agree(path: Path) -> bool:
    from modelexport.core.tag_utils import validate_tag_consistency

    return bool(validate_tag_consistency(path)["consistent"])


def _tag_and_save(model: Model, path: Path, recorded: str) -> None:
    """Fill what is left untagged, embed as ``recorded`` says, and write model and sidecar."""
    from modelexport.ir import save_model
    from modelexport.ir.io.sidecar import sidecar_path, write_sidecar
    from modelexport.passes import PassManager, Pipeline
    from modelexport.passes.pipeline.kept import recorded_step, with_kept_options

    PassManager(with_kept_options(Pipeline.parse("htp"), recorded)).run(model)
    save_model(model, path)
    torch_nn = bool(getattr(recorded_step(recorded), "torch_nn", True))
    write_sidecar(model, sidecar_path(path), model_path=path, torch_nn=torch_nn)
