"""Unit tests of passes: a model as text, one pass, and a table of what every node should be attributed to.

``check`` is the whole of it; ``checks`` explains the text and the table.
"""

if __name__ != "modelexport.passes.testing":  # the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.passes.testing, not as {__name__}")

from modelexport.passes.testing.checks import assert_attributions as assert_attributions
from modelexport.passes.testing.checks import attributions as attributions
from modelexport.passes.testing.checks import check as check
from modelexport.passes.testing.checks import make_model as make_model
from modelexport.passes.testing.checks import nodes_in_text_order as nodes_in_text_order
from modelexport.passes.testing.checks import run_pass as run_pass
