"""What tests reach which lines of the package: for `mutation.py`."""

import ast
import json
import time
from pathlib import Path

import coverage
import pytest

LEFT_OUT = ["test_layers.py", "test_examples.py", "test_growth.py"]
"""Tests that read the source, start whole programs, or measure memory and time."""


class Measuring:
    """A pytest plugin: what lines each test reaches, and how long it takes."""

    def __init__(self, package):
        self.coverage = coverage.Coverage(data_file=None, source=[package], config_file=False)
        self.seconds, self.unfit = {}, set()

    def pytest_ignore_collect(self, collection_path):
        return True if collection_path.name in LEFT_OUT else None

    def pytest_runtest_logstart(self, nodeid):
        self.seconds[nodeid] = -time.monotonic()
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self, nodeid):
        self.seconds[nodeid] += time.monotonic()
        self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report):
        if report.failed or report.skipped:
            self.unfit.add(report.nodeid)

    def reached(self, file):
        lines = self.coverage.get_data().contexts_by_lineno(file).items()
        return {line: sorted(set(tests) - {""} - self.unfit) for line, tests in lines}


def measure(tree, tests, out):
    """Run the suite and write what it reaches. To be run in a fork."""
    plugin = Measuring(str(tree / "agents_sessions"))
    plugin.coverage.start()
    pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={tree}.tmp", *tests], plugins=[plugin])
    plugin.coverage.stop()
    files = plugin.coverage.get_data().measured_files()
    lines = {str(Path(file).relative_to(tree)): plugin.reached(file) for file in files}
    seconds = {name: spent for name, spent in plugin.seconds.items() if name not in plugin.unfit}
    out.write_text(json.dumps({"seconds": seconds, "lines": lines}))
    print("not used, since they failed or were skipped:", sorted(plugin.unfit), flush=True)


def reaching(line, source, tests_at):
    """Return the tests that reach a line; if none does, those of what is around it, or of the module."""
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    spans = [range(node.lineno, node.end_lineno + 1) for node in statements if node.lineno <= line <= node.end_lineno]
    for lines in ([line], *sorted(spans, key=len), tests_at):
        if tests := {test for place in lines for test in tests_at.get(str(place), ())}:
            return tests
    return set()
