"""constant-deduplication: equal Constants of one module become one."""

from __future__ import annotations

from modelexport.passes.testing import check, make_model, run_pass


def test_equal_constants_of_one_module_become_one() -> None:
    model = check(
        "constant-deduplication",
        """
        agraph (float[2] X) => (float[2] Y) {
            one = Constant <value_float = 1.0> ()      # scope: a
            same = Constant <value = float {1.0}> ()   # scope: a
            other = Constant <value_float = 1.0> ()    # scope: b
            whole = Constant <value_int = 1> ()        # scope: a
            p = Add (X, one)                           # scope: a
            q = Add (same, p)                          # scope: a
            r = Add (q, other)                         # scope: b
            w = Cast <to = 1> (whole)                  # scope: a
            Y = Add (r, w)                             # scope: a
        }
        """,
        """
        one     a   scope
        other   b   scope
        whole   a   scope
        p       a   scope
        q       a   scope
        r       b   scope
        w       a   scope
        Y       a   scope
        """,
    )
    assert model.main.producer("same") is None
    q = model.main.producer("q")
    assert q is not None and q.inputs == ("one", "p")


def test_what_a_body_or_an_output_reads_stays() -> None:
    model = make_model(
        """
        agraph (bool C, float X) => (float Y, float same) {
            one = Constant <value_float = 1.0> ()      # scope: a
            same = Constant <value_float = 1.0> ()     # scope: a
            inner = Constant <value_float = 1.0> ()    # scope: a
            z = Add (one, X)                           # scope: a
            b = If (C) <    # scope: a
              then_branch = t () => (float u) {
                u = Add (inner, X)                     # scope: a
              },
              else_branch = e () => (float v) {
                v = Identity (X)                       # scope: a
              }>
            Y = Add (b, z)                             # scope: a
        }
        """
    )
    assert run_pass("constant-deduplication", model).changed == 0


def test_the_bound() -> None:
    text = """
    agraph (float[3] X) => (float[3] Y) {
        one = Constant <value_floats: floats = [1.0, 1.0, 1.0]> ()     # scope: a
        same = Constant <value_floats: floats = [1.0, 1.0, 1.0]> ()    # scope: a
        p = Add (X, one)     # scope: a
        Y = Add (p, same)    # scope: a
    }
    """
    assert run_pass("constant-deduplication{max-bytes=8}", make_model(text)).changed == 0
    assert run_pass("constant-deduplication", make_model(text)).changed == 1
