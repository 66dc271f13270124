"""Every wrong model of the zoo really breaks its claim, and every right one really keeps it.

By a plain check that shares nothing with the audit; what the audit says stands in test_zoo.py.
"""

from __future__ import annotations

import pytest
from zoo.fault import Fault, Right
from zoo.plain_check import DRIFT, LEAK, violation
from zoo.table import FAULTS, RIGHTS

pytestmark = pytest.mark.slow  # test_zoo.py runs the same models; this proves the zoo itself


def test_the_zoo_is_large_and_its_names_differ() -> None:
    names = [row.name for row in (*FAULTS, *RIGHTS)]
    assert len(set(names)) == len(names)
    assert len(FAULTS) >= 48
    assert len(RIGHTS) >= 10


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_wrong_is_wrong_and_right_is_right(fault: Fault) -> None:
    assert violation(fault.wrong(), fault.claim, fault.inputs, fault.when) > LEAK
    assert violation(fault.right(), fault.claim, fault.inputs, fault.when) < DRIFT


@pytest.mark.parametrize("row", RIGHTS, ids=lambda row: row.name)
def test_suspicious_models_are_right(row: Right) -> None:
    assert violation(row.make(), row.claim, row.inputs, row.when) < DRIFT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_guilty_module_exists(fault: Fault) -> None:
    assert fault.module in dict(fault.wrong().named_modules())
