"""Shared helpers of the tests are plain modules in tests/support, importable by their bare name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
