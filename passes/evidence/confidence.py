"""How often tags of each rule are right: the measured shares that become confidences."""

from __future__ import annotations

# One row per rule; ``passes`` look up by the rule's id only. Regenerated from the accuracy benchmark.
CONFIDENCE: dict[str, float] = {
    # scope-attribution
    "torch-name-scopes": 1.0,
    "onnxscript-name-scopes": 0.98,
    "namespace-scopes": 0.98,
    "namespace": 0.6,
    "winml-tag": 0.6,
    "node-name": 0.99,
    "node-name-table": 1.0,
    "fused-name": 0.97,
    "output-name": 0.97,
    "initializer-name": 0.97,
    "initializer-parent": 0.6,
    "table-output": 0.95,
    "owner-scope": 0.97,
    # reference-attribution
    "reference-node-name": 0.99,
    "reference-output-name": 0.97,
    "reference-prefix": 0.9,
    # context-inheritance
    "only-module": 1.0,
    "owner": 0.95,
    "caller": 0.9,
    "constant-consumers": 0.98,
    "constant-common": 0.85,
    "shape-consumers": 0.92,
    "shape-common": 0.8,
    "neighbours": 0.71,
    "norm-growth": 0.95,
    "flattened-product": 0.98,
    "bias-product": 0.99,
    "guessed-consumers": 0.65,
    "consumers": 0.55,
    "producers": 0.45,
    # parameter-attribution
    "parameter-name": 0.97,
    "weight-value": 0.975,
    "weight-rows": 0.9,
    "weight-merged": 0.8,
    "bias-of-product": 0.97,
    # value-attribution
    "twin-named": 0.999,
    "twin-same": 0.998,
    "twin-value": 0.985,
    "twin-context": 0.97,
    "twin-near": 0.9,
    "twin-tie": 0.85,
    "twin-interval": 0.95,
    "twin-border": 0.6,
    "other-named": 0.98,
    "other-same": 0.97,
    "other-value": 0.93,
    "other-context": 0.88,
    "other-near": 0.55,
    "other-tie": 0.4,
    "other-interval": 0.86,
    "other-border": 0.5,
    "event-value": 0.99,
    "event-context": 0.92,
    "event-near": 0.5,
    "event-tie": 0.35,
    "event-interval": 0.96,
    "event-border": 0.63,
    # fallback-tagging
    "nearest-ancestor": 0.3,
    "root": 0.1,
}


def confidence(rule: str) -> float:
    """The measured share of right tags of ``rule``."""
    return CONFIDENCE[rule]
