"""What is not there is also the error that Python has for it."""

from pathlib import Path

import pytest

from modelexport.core import tag_utils
from modelexport.ir import load_model
from modelexport.ir.errors import InputError, OutputError
from modelexport.ir.io.atomic import atomic_output, check_writable
from modelexport.ir.io.trace_file import load_trace


@pytest.mark.parametrize("load", [load_model, load_trace, tag_utils.load_tags_from_onnx])
def test_a_missing_file(load, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx") as found:
        load(tmp_path / "gone.onnx")
    assert isinstance(found.value, InputError) and found.value.exit_code == 2


def test_a_missing_folder(tmp_path: Path) -> None:
    for use in (check_writable, lambda path: atomic_output(path).__enter__()):
        with pytest.raises(OSError, match=r"folder .*gone does not exist") as found:
            use(tmp_path / "gone" / "model.onnx")
        assert isinstance(found.value, OutputError)


def test_a_missing_model_is_what_consistency_speaks_of(tmp_path: Path) -> None:
    found = tag_utils.validate_tag_consistency(tmp_path / "gone.onnx")
    assert not found["consistent"] and "gone.onnx: no such file" in found["error"] and "sidecar" not in found["error"]
