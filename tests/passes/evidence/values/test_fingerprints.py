"""Fingerprints of values: one comparison, one at a time and many at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelexport.ir.arrays import Array
from modelexport.passes.evidence.values.fingerprints import close, close_rows, fingerprint

_NUDGES = [float(np.float32(share)) for share in (0, 1e-7, 1e-4, 1e-3, 4e-3, 1e-2)]


@given(
    values=arrays(np.float32, (4, 6), elements=st.floats(-8, 8, width=32)),
    nudges=arrays(
        np.float32,
        4,
        elements=st.sampled_from(_NUDGES),
    ),
)
def test_many_rows_are_compared_as_one_is(values: Array, nudges: Array) -> None:
    base = values[0]
    rows = np.stack([fingerprint(other * (1 + nudge))[0] for other, nudge in zip(values, nudges, strict=True)])
    rows = np.concatenate([rows, [fingerprint(base * (1 + nudge))[0] for nudge in nudges], [np.full(7, np.nan)]])
    one = fingerprint(base)[0]
    assert close_rows(rows, one, 1e-3).tolist() == [close(row, one, 1e-3) for row in rows]


def test_an_order_of_elements_is_no_difference_and_another_size_is() -> None:
    base = np.arange(1, 9, dtype=np.float32) / 3
    rows = np.stack([fingerprint(form)[0] for form in (base[::-1], base[:-1], base + 0.1)])
    assert close_rows(rows, fingerprint(base)[0], 1e-3).tolist() == [True, False, False]
    assert close_rows(rows[:0], fingerprint(base)[0], 1e-3).tolist() == []
