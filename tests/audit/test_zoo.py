"""Every fault of the zoo is found and its module named; every right model is met with silence."""

from __future__ import annotations

import pytest
from audited import names_guilty, report_on
from zoo.fault import Fault, Right
from zoo.table import FAULTS, RIGHTS

# torch says so when its encoder takes the fast path over a padding mask.
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")

# Faults that are found, and of which another module is named than the one to repair; why stands
# beside each. At most one in twenty.
NAMED_OTHERWISE = {
    "mask of the first batch kept": "the module holds another mask when it is asked again",
    "mask accepted, not used": "what has no effect starts nowhere",
    "labels in the encoder": "no contract says what a state of the source may hold",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_and_its_module_named(fault: Fault) -> None:
    report = report_on(fault.name, "wrong")
    assert not report.ok
    assert names_guilty(report, fault.module) == (fault.name not in NAMED_OTHERWISE), [
        finding.place for finding in report.findings
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_right_twin_is_met_with_silence(fault: Fault) -> None:
    assert report_on(fault.name, "right").findings == ()


@pytest.mark.parametrize("row", RIGHTS, ids=lambda row: row.name)
def test_suspicious_models_are_met_with_silence(row: Right) -> None:
    assert report_on(row.name, "right").findings == ()


def test_nearly_all_guilty_modules_are_named() -> None:
    assert len(NAMED_OTHERWISE) <= len(FAULTS) / 20
    assert set(NAMED_OTHERWISE) <= {fault.name for fault in FAULTS}
