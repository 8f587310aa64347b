"""What is each heuristic worth? Right tags gained (+) or lost (-) when one is taken away, by architecture.

    python bench/accuracy/ablate.py --cache FOLDER --models bert,swin [--rules holders,width] [--json FILE]

FOLDER has the cases that ``run.py`` built. Counts are of foreign graphs as they are (*plain*) and without names. A rule
that loses nothing anywhere is worth nothing: it goes, or the model that needs it becomes a case. ``--json FILE`` keeps
the counts by architecture; models and rules that it has are not counted again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from unittest.mock import patch

import run

from modelexport.passes import context_inheritance, scope_attribution
from modelexport.passes.evidence.inference import flow
from modelexport.passes.evidence.inference.module_tree import ModuleTree
from modelexport.passes.evidence.names import anchors, parameters
from modelexport.passes.evidence.names.holders import LikeHolders
from modelexport.passes.evidence.names.scopes import ScopeWalk

SITUATIONS = ("foreign", "stripped")
FILL = context_inheritance._Fill


def without(owner: object, name: str, value: object) -> Callable[[], AbstractContextManager[object]]:
    """A context in which ``name`` of ``owner`` always gives ``value``, or is it where it is no function."""
    held = value if not callable(getattr(owner, name)) else lambda *_, **__: value
    return lambda: patch.object(owner, name, held)


def instead(*owners: object, **functions: Callable[..., object]) -> Callable[[], AbstractContextManager[object]]:
    """A context in which all ``owners`` have other functions."""

    def patched() -> AbstractContextManager[object]:
        stack = ExitStack()
        for owner in owners:
            stack.enter_context(patch.multiple(owner, **functions))
        return stack

    return patched


RULES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "like holders": without(LikeHolders, "module", None),
    "copies of scopes": without(ScopeWalk, "_is_copy", False),
    "merged scopes": without(scope_attribution, "told_apart", {}),
    "used above": without(scope_attribution, "is_used_above", False),
    "fused prefix": without(parameters, "_FUSED", re.compile("(?!)")),
    "uniform weights": without(parameters.Weights, "is_uniform", False),
    "initializer-parent": without(anchors, "_is_functional", False),
    "bias-product": without(context_inheritance, "products_before_biases", []),
    "bias-of-product": without(context_inheritance, "biases_after_products", []),
    "norm-growth": without(context_inheritance, "normalisations", []),
    "own-products": without(context_inheritance, "between_own_products", []),
    "casts like data": instead(anchors, flow, made_from=lambda node: node.inputs),
    "activation in list": instead(anchors, _following=lambda path, known: path.rpartition(".")[0]),
    "shapes of norms": without(FILL, "_is_grown", False),
    "flattened-product": without(context_inheritance, "flattened_products", []),
    "missing-number": without(context_inheritance, "missing_numbers", []),
    "next-number": without(context_inheritance, "next_numbers", []),
    "recurrent": without(FILL, "_recurrent", None),
    "joined in block": without(context_inheritance, "joined_in_block", None),
    "draw in": without(FILL, "_draw_in", None),
    "only loops": without(ModuleTree, "only_loops", False),
    "width 1": without(flow, "_WIDTH", 1),
    "readers 1": without(context_inheritance, "_READERS", 1),
    "holders 1": without(context_inheritance, "_HOLDERS", 1),
}


def right(folder: Path) -> dict[str, tuple[int, int]]:
    """Right tags and all tags of one model's cases, plain and stripped."""
    found = {}
    for wanted in SITUATIONS:
        rows: list[run.Row] = []
        for name, file, pipeline, files, stripped in run.situations(folder):
            if name in (wanted, f"{wanted} untouched", f"{wanted} optimised"):
                rows += run.score(name, file, pipeline, files, stripped)
        found[wanted] = sum(row[5] for row in rows), len(rows)
    return found


def worth(folder: Path, rules: list[str]) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """What is right without each of ``rules``; "" is with all."""
    for rule in rules:
        with RULES[rule]() if rule else nullcontext():
            yield rule, right(folder)


def table(found: dict[str, dict[str, dict[str, tuple[int, int]]]], rules: list[str]) -> Iterator[str]:
    """Markdown: one line a rule, over all architectures, and those that lose and gain most."""
    yield "| without | plain | stripped | most, plain and stripped together |"
    yield "|---|---:|---:|---|"
    for rule in rules:
        by = {
            model: [each[rule][part][0] - each[""][part][0] for part in SITUATIONS]
            for model, each in found.items()
            if rule in each
        }
        totals = [sum(part) for part in zip(*by.values(), strict=True)]
        order = sorted((sum(counts), model) for model, counts in by.items() if sum(counts))
        most = [(count, model) for count, model in order if count < 0][:4]
        most += [(count, model) for count, model in reversed(order) if count > 0][:2]
        named = ", ".join(f"{model} {count:+d}" for count, model in most)
        yield f"| {rule} | {' | '.join(f'{n:+d}' if n else '0' for n in totals)} | {named} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the cases that run.py built")
    parser.add_argument("--models", required=True, help="comma-separated")
    parser.add_argument("--rules", default="", help=f"comma-separated, of {', '.join(RULES)}; all when left out")
    parser.add_argument("--json", type=Path, help="write the counts")
    args = parser.parse_args()
    rules = args.rules.split(",") if args.rules else list(RULES)
    found: dict[str, dict[str, dict[str, tuple[int, int]]]] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    for model in args.models.split(","):
        held = found.setdefault(model, {})
        held.update(worth(args.cache / model, [rule for rule in ("", *rules) if rule not in held]))
        print(f"{model}: {held['']}", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    nodes = sum(each[""][SITUATIONS[0]][1] for each in found.values())
    print(f"{len(found)} architectures, {nodes:,} nodes plain.\n")
    print("\n".join(table(found, rules)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
