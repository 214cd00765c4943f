"""How many calls an operation may make. Unlike its time, that is the same on every machine."""

import json
import subprocess
import sys

import pytest

OF_PYTHON_3_11 = {
    "create with the first turn": (545, 630, 22),
    "append of 1": (151, 142, 14),
    "append of 4": (158, 174, 14),
    "read all": (43, 40, 8),
    "read the last 20": (41, 47, 8),
    "info": (55, 52, 7),
    "managed send, more than a run without a session": (3150, 3500, 71),
}
"""Calls of Python, of C and of the system."""

SLACK = {(3, 11): 1.0}
"""Of other versions, whose calls were not counted yet, a tenth more: they inline comprehensions, and count less."""


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    command = [sys.executable, "-m", "benchmarks.calls", "--json", "--dir", str(tmp_path_factory.mktemp("calls"))]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.parametrize("operation", OF_PYTHON_3_11)
def test_an_operation_makes_no_more_calls_than_these(costs, operation):
    slack = SLACK.get(sys.version_info[:2], 1.1)
    counted = [costs[operation][kind] for kind in ("python", "c", "system")]
    assert all(count <= bound * slack for count, bound in zip(counted, OF_PYTHON_3_11[operation], strict=True)), counted
