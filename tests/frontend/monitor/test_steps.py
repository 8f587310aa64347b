"""What the monitor is told: steps, data, errors; and whom it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelexport.frontend.monitor import HTPExportData, HTPExportMonitor, HTPExportStep, ModuleInfo, StepAwareWriter
from modelexport.ir.errors import ConfigError, InputError, ModelExportError

Make = Callable[..., HTPExportMonitor]
Steps = dict[HTPExportStep, dict[str, Any]]


def test_the_eight_steps_in_order() -> None:
    names = ["MODEL_PREP", "INPUT_GEN", "HIERARCHY", "TRACE", "EXPORT", "NODE_TAGGING", "SAVE", "COMPLETE"]
    assert [step.name for step in HTPExportStep] == names
    assert [step.number for step in HTPExportStep] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_data_has_the_documented_fields_all_defaulted() -> None:
    documented = {
        "model_name": "",
        "model_class": "",
        "total_modules": 0,
        "total_parameters": 0,
        "output_path": "",
        "embed_hierarchy_attributes": True,
        "hierarchy": {},
        "execution_steps": 0,
        "total_nodes": 0,
        "tagged_nodes": {},
        "tagging_stats": {},
        "coverage": 0.0,
        "export_time": 0.0,
        "steps": {},
        "nodes": {},
    }
    assert vars(HTPExportData()) == documented


@pytest.mark.parametrize("form", ["data", "mapping", "keywords"])
def test_data_comes_as_dataclass_mapping_or_keywords(new_monitor: Make, form: str) -> None:
    monitor = new_monitor()
    fields: dict[str, Any] = {"model_name": "m", "total_nodes": 7}
    if form == "keywords":
        monitor.log_step(HTPExportStep.MODEL_PREP, **fields)
    else:
        monitor.log_step(HTPExportStep.MODEL_PREP, HTPExportData(**fields) if form == "data" else fields)
    assert (monitor.data.model_name, monitor.data.total_nodes) == ("m", 7)


def test_later_steps_keep_what_earlier_ones_said(new_monitor: Make) -> None:
    monitor = new_monitor(model_name="given")
    monitor.log_step(HTPExportStep.MODEL_PREP, HTPExportData(total_modules=3))
    monitor.log_step(HTPExportStep.HIERARCHY, HTPExportData(execution_steps=5))
    assert (monitor.data.model_name, monitor.data.total_modules, monitor.data.execution_steps) == ("given", 3, 5)


def test_what_is_no_field_is_step_specific_data(new_monitor: Make) -> None:
    given = {"exporter": "dynamo", "steps": {"trace": {"operators": 3}}}
    monitor = new_monitor()
    monitor.log_step(HTPExportStep.EXPORT, given, opset_version=18)
    assert monitor.data.details(HTPExportStep.EXPORT) == {"exporter": "dynamo", "opset_version": 18}
    assert monitor.data.details(HTPExportStep.TRACE) == {"operators": 3}
    assert given == {"exporter": "dynamo", "steps": {"trace": {"operators": 3}}}


def test_modules_may_come_as_mappings(new_monitor: Make) -> None:
    monitor = new_monitor()
    monitor.log_step(HTPExportStep.HIERARCHY, hierarchy={"a": {"class_name": "A", "calls": 2}})
    assert monitor.data.hierarchy == {"a": ModuleInfo("a", "A", calls=2)}


@pytest.mark.parametrize(
    "fields",
    [
        {"coverage": 98.5},
        {"total_nodes": -1},
        {"total_nodes": "many"},
        {"hierarchy": []},
        {"hierarchy": {"a": {"colour": "red"}}},
        {"model_name": 3},
        {"embed_hierarchy_attributes": "yes"},
    ],
)
def test_a_field_of_the_wrong_type_is_an_error_and_changes_nothing(new_monitor: Make, fields: dict[str, Any]) -> None:
    monitor = new_monitor()
    with pytest.raises(InputError, match=next(iter(fields))):
        monitor.log_step(HTPExportStep.MODEL_PREP, {"total_modules": 3, **fields})
    assert monitor.data.total_modules == 0
    assert monitor.outcome.step is None


def test_data_of_another_kind_and_unknown_steps_are_errors(new_monitor: Make) -> None:
    with pytest.raises(InputError, match="int"):
        new_monitor().log_step(HTPExportStep.TRACE, 42)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="MODEL_PREP"):
        new_monitor().log_step("TRACING")
    monitor = new_monitor()
    monitor.log_step("trace")
    assert monitor.outcome.step is HTPExportStep.TRACE


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max_tree_deph": 3}, "did you mean max_tree_depth"),
        ({"colour": True}, "the keys are max_tree_depth"),
        ({"max_display_nodes": -1}, "whole number"),
        ({"max_display_nodes": True}, "whole number"),
        ({"style_numbers": 1}, "true or false"),
    ],
)
def test_bad_options_are_errors(new_monitor: Make, config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        new_monitor(config=config)


class Counting(StepAwareWriter):
    """Cares about one step."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_hierarchy(self, data: HTPExportData) -> None:
        self.seen.append(len(data.hierarchy))


class Following(StepAwareWriter):
    """Cares about every step and error alike."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_step(self, step: HTPExportStep, data: HTPExportData) -> None:
        self.seen.append(step.name)

    def on_error(self, step: HTPExportStep, message: str) -> None:
        self.seen.append(f"{step.name}: {message}")


def test_a_writer_has_a_method_for_each_step_it_cares_about(monitored: Make, steps: Steps) -> None:
    counting, following = Counting(), Following()
    monitor = monitored(writers=[counting, following])
    monitor.log_error(HTPExportStep.COMPLETE, "late")
    assert counting.seen == [len(steps[HTPExportStep.HIERARCHY]["hierarchy"])]
    assert following.seen == [*HTPExportStep.__members__, "COMPLETE: late"]


class Broken(StepAwareWriter):
    def on_trace(self, data: HTPExportData) -> None:
        raise RuntimeError("no ink")

    def finish(self) -> Path | None:
        raise OSError("no paper")


def test_a_writer_that_raises_is_recorded_and_isolated(monitored: Make) -> None:
    after = Following()
    monitor = monitored(writers=[Broken(), after])
    paths = monitor.finalize()
    assert [str(error) for error in monitor.errors] == [
        "Broken failed during TRACE: RuntimeError: no ink",
        "Broken failed during finalize: OSError: no paper",
    ]
    assert after.seen == list(HTPExportStep.__members__)
    assert len(paths) == 3 and all(path.is_file() for path in paths)
    assert monitor.get_metadata()["export_context"]["writer_failures"] == [str(error) for error in monitor.errors]
    assert "no ink" in monitor.get_report()


def test_an_interrupt_is_no_failure_of_a_writer(new_monitor: Make) -> None:
    class Interrupted(StepAwareWriter):
        def on_trace(self, data: HTPExportData) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new_monitor(writers=[Interrupted()]).log_step(HTPExportStep.TRACE)


def test_an_exception_in_the_data_of_the_user_is_not_swallowed(new_monitor: Make) -> None:
    class Hostile(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise ZeroDivisionError

        def __iter__(self) -> Any:
            raise ZeroDivisionError

        def __len__(self) -> int:
            return 1

    with pytest.raises(InputError, match="data of TRACE can't be read: ZeroDivisionError") as caught:
        new_monitor().log_step(HTPExportStep.TRACE, Hostile())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_block_that_raises_is_recorded_and_goes_on_raising(new_monitor: Make) -> None:
    monitor = new_monitor()
    with pytest.raises(ModelExportError, match="out of operators"), monitor:
        monitor.log_step(HTPExportStep.MODEL_PREP)
        monitor.log_step(HTPExportStep.INPUT_GEN)
        raise ModelExportError("out of operators")
    assert monitor.outcome.status == "failed"
    assert (monitor.outcome.step, monitor.outcome.error) == (
        HTPExportStep.HIERARCHY,
        "ModelExportError: out of operators",
    )
    assert all(path.is_file() for path in monitor.finalize())


def test_outcome_follows_the_steps(new_monitor: Make) -> None:
    monitor = new_monitor()
    assert monitor.outcome.status == "incomplete"
    monitor.log_step(HTPExportStep.COMPLETE)
    assert monitor.outcome.status == "success"
    monitor.log_error(HTPExportStep.SAVE, "disk full")
    monitor.log_error(HTPExportStep.COMPLETE, "and then some")
    assert (monitor.outcome.status, monitor.outcome.step, monitor.outcome.error) == (
        "failed",
        HTPExportStep.SAVE,
        "disk full",
    )


def test_steps_are_timed_and_weighed(monitored: Make) -> None:
    steps = monitored().get_metadata()["steps"]
    assert {step["seconds"] for step in steps.values()} == {0.25}
    assert {step["memory_mb"] for step in steps.values()} == {512}


def test_a_writer_may_return_its_file_as_text(monitored: Make) -> None:
    class Texts(StepAwareWriter):
        def finish(self) -> Path | None:
            return "notes.txt"  # type: ignore[return-value]

    monitor = monitored(writers=[Texts()])
    assert Path("notes.txt") in monitor.finalize()
    assert monitor.errors == []
