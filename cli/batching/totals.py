"""What a batch came to: how models ended, and where the tags of all their operators are from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def totals(lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the result lines of a batch (keys of ``batch_report.schema.json``).

    Models that failed count in ``by_status`` and ``failed``; operators and sources are those of models that ended well.
    """
    status: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    models: list[dict[str, Any]] = []
    total = tagged = 0
    seconds = 0.0
    failed: list[dict[str, str]] = []
    for line in lines:
        status[line["status"]] += 1
        seconds += float(line["seconds"])
        if line["status"] != "ok":
            failed.append({key: str(line.get(key, "")) for key in ("model", "output", "status", "error")})
            continue
        result = line["result"]
        own = Counter({str(source): int(count) for source, count in result.get("by_source", {}).items()})
        sources += own
        total += int(result.get("total_operations", 0))
        tagged += int(result.get("tagged_operations", 0))
        models.append(
            {
                "model": line["model"],
                "output": line["output"],
                "total_operations": int(result.get("total_operations", 0)),
                "tagged_operations": int(result.get("tagged_operations", 0)),
                "by_source": dict(own.most_common()),
            }
        )
    by_name = sorted(models, key=lambda model: (model["model"], model["output"]))
    return {
        "schema_version": "1.0",
        "models": sum(status.values()),
        "by_status": dict(sorted(status.items())),
        "total_operations": total,
        "tagged_operations": tagged,
        "coverage": round(tagged / total, 6) if total else 1.0,
        "by_source": dict(sorted(sources.items(), key=lambda item: (-item[1], item[0]))),
        "seconds": round(seconds, 3),
        "exported": by_name,
        "failed": sorted(failed, key=lambda one: (one["model"], one["output"])),
    }


def in_words(found: dict[str, Any]) -> str:
    """One line for people."""
    ended = ", ".join(f"{count} {name}" for name, count in found["by_status"].items())
    share = ", ".join(f"{name} {count}" for name, count in found["by_source"].items())
    of = f"{found['tagged_operations']} of {found['total_operations']} operators tagged"
    return f"{found['models']} models: {ended}; {of}{': ' + share if share else ''}"
