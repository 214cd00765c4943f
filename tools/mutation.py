"""Small changes of the package, one at a time: each must make a test fail.

    python tools/mutation.py [--sample N] [--only TEXT] [--tests FILE ...] [MODULE ...]

`mutants.py` makes the mistakes that someone thought of, this makes those that no one did: the operators of mutmut,
used as a library, and ours for what it has not. Its runner is not used: it leaves out constants and decorated
functions, and knows by function and not by line what a test reaches.

The suite runs once under coverage.py, which tells what lines each test reaches. For each change, the tests that reach
it run, the likeliest and fastest first, until one fails or `--budget` seconds of them have passed: each time in a
fork of a process that has imported everything but the package, in a copy of the repository.

What survives is printed as a diff. `equivalent_mutants.txt` lists what no test can tell, and why.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import takewhile
from pathlib import Path

import pytest
from mutation_changes import Mutant, difference, mutants_of
from mutation_reach import measure, reaching

HOME = Path(__file__).resolve().parents[1]
KNOWN = Path(__file__).with_name("equivalent_mutants.txt")
MODULES = ["keys", "concurrency/recent", "concurrency/fair_locks", "concurrency/settle", "concurrency/worker_threads"]
MODULES += ["model/lossless_json", "model/totals", "model/usage", "turns/lock", "stores/base"]
MODULES += [f"stores/file/format/{name}" for name in ("header", "lines", "tail", "sealed", "append", "document")]
MODULES += [f"stores/file/format/{name}" for name in ("verify", "computed", "edited", "mixed", "torn", "reading")]
MODULES += [f"stores/file/disk/{name}" for name in ("syscalls", "locks", "atomic")]
MODULES += [f"stores/file/{name}" for name in ("names", "queries", "limits", "reader", "writer", "turn_lock", "store")]
COPIED = ["agents_sessions", "tests", "examples", "docs", "conftest.py", "pyproject.toml", "README.md"]
WARM = ["agents", "respx", "httpx2", "starlette", "uvicorn", "cryptography", "multiprocessing.spawn"]
LEAST = 90
"""Per cent of each module's mutants, but for those known to be equivalent, that must be caught."""


# --- running ---


class Choosing:
    """A pytest plugin: runs some tests in a given order, bounds each, and tells how it goes."""

    def __init__(self, order, seconds, told):
        self.order, self.seconds, self.told = order, seconds, told.open("w")

    def tell(self, word, name):
        print(word, name, file=self.told, flush=True)

    def pytest_collection_modifyitems(self, items):
        by_name = {item.nodeid: item for item in items}
        items[:] = [by_name[name] for name in self.order if name in by_name]

    def pytest_runtest_logstart(self, nodeid):
        self.tell("begun", nodeid)
        faulthandler.dump_traceback_later(6 + 8 * self.seconds[nodeid], exit=True)

    def pytest_runtest_logfinish(self, nodeid):
        faulthandler.cancel_dump_traceback_later()
        self.tell("ended", nodeid)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.tell("failed", report.nodeid)


def file_of(name):
    return name.partition("::")[0]


def forked(tree, timeout, action, *arguments):
    """Run an action in a fork, inside a tree. Return its exit code, after ending all that it began."""
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            enter(tree)
            os._exit(action(tree, *arguments) or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(70)
    deadline = time.monotonic() + timeout
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode((ended if ended[0] else os.waitpid(pid, 0))[1])


def enter(tree):
    os.setsid()
    os.chdir(tree)
    tempfile.tempdir = f"{tree}.tmpdir"
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os.mkdir(tempfile.tempdir)
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": tempfile.tempdir}
    os.environ |= {"TRUST_SECONDS": "2", "TRUST_SEED": "1"}
    sys.path.insert(0, str(tree))
    log = os.open(f"{tree}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def run_tests(tree, order, seconds, told):
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    files = dict.fromkeys(map(file_of, order))
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", f"--basetemp={tree}.tmp"]
    return int(pytest.main([*options, *files], plugins=[Choosing(order, seconds, told)]))


class Judge:
    """Runs the tests of one mutant after the other, in a copy of the repository."""

    def __init__(self, whole, tree, measured, budget):
        self.whole, self.tree, self.budget = whole, tree, budget
        self.seconds, self.lines = measured["seconds"], measured["lines"]
        self.killers = defaultdict(Counter)
        shutil.copytree(whole, tree, dirs_exist_ok=True)

    def judge(self, mutant):
        file = self.tree / mutant.module
        file.write_text(mutant.text)
        try:
            outcome, by = self.outcome(self.order(mutant))
        finally:
            shutil.copy2(self.whole / mutant.module, file)  # with its time, which compiled modules are compared with
        self.killers[mutant.module, mutant.where][by] += 1
        return outcome, by

    def order(self, mutant):
        """Return the tests of a mutant: what caught its like, its module's own, a case or two of each, then others."""
        tests = reaching(mutant.line, (self.whole / mutant.module).read_text(), self.lines.get(mutant.module, {}))
        own = f"/test_{Path(mutant.module).stem}.py::"
        tests |= {name for name in self.seconds if own in name}  # what they do in other processes is not measured
        killers, cases, ranks = self.killers[mutant.module, mutant.where], Counter(), {}
        for name in sorted(tests, key=lambda name: (self.seconds[name], name)):
            cases[name.partition("[")[0]] += 1
            ranks[name] = (-killers[name], own not in name, cases[name.partition("[")[0]] > 2)
        chosen, spent = [], 0.0
        for name in sorted(ranks, key=ranks.get):
            if spent + self.seconds[name] <= self.budget or not chosen:
                chosen.append(name)
                spent += self.seconds[name]
        return chosen

    def outcome(self, order):
        """Run tests until one fails. A slow one, or one of `trust/`, which may be random, must fail twice."""
        doubted = set()
        own = list(takewhile(lambda name: file_of(name) == file_of(order[0]), order))
        for some in (own, order[len(own) :]):  # most mutants end with the first, which has one file to import
            while some:
                outcome, by = self.run(some)
                if outcome == "survived":
                    break
                if by in doubted or (outcome == "killed" and "/trust/" not in by and self.seconds.get(by, 0) < 0.5):
                    return outcome, by
                doubted.add(by)
                some = some[some.index(by) :]
        return "survived", ""

    def run(self, order):
        told = Path(f"{self.tree}.told")
        told.write_text("")
        code = forked(self.tree, 60 + 8 * sum(map(self.seconds.get, order)), run_tests, order, self.seconds, told)
        lines = [line.partition(" ")[::2] for line in told.read_text().splitlines()]
        failed = [name for word, name in lines if word == "failed"]
        if code == 0 or failed:
            return ("killed", failed[0]) if failed else ("survived", "")
        word, name = lines[-1] if lines else ("", "")
        return ("timeout", name) if word == "begun" else ("killed", "import")


def start_worker(numbers, whole, *arguments):
    global judge
    judge = Judge(whole, whole.with_name(f"tree{numbers.get()}"), *arguments).judge


def judged(mutant):
    return judge(mutant)


# --- report ---


def equivalents():
    """Return why no test can tell some mutants, by their module and difference."""
    known, module, diff = {}, "", []
    for line in KNOWN.read_text().splitlines():
        if line.startswith("why: "):
            known[module, *diff] = line.removeprefix("why: ")
            diff = []
        elif line.startswith(("-", "+")):
            diff.append(line)
        elif line and not line.startswith("#"):
            module = line
    return known


def report(outcomes, sources):
    """Print what became of all mutants; return the per cent caught, of those that can be, in the weakest module."""
    known, table = equivalents(), defaultdict(Counter)
    for mutant, (outcome, _by) in outcomes.items():
        diff = [line[0] + line[1:].strip() for line in difference(mutant, sources[mutant.module])]
        outcome = "equivalent" if outcome == "survived" and (mutant.module, *diff) in known else outcome
        if outcome == "survived":
            print(f"\n{mutant}", *difference(mutant, sources[mutant.module]), sep="\n")
        table[mutant.module][outcome] += 1
    shares = []
    print("\n| module | mutants | killed | timeout | survived | equivalent | caught |\n|---|---|---|---|---|---|---|")
    for module, count in table.items():
        some = " | ".join(str(count[name]) for name in ("killed", "timeout", "survived", "equivalent"))
        share = 100 * (count["killed"] + count["timeout"]) / max(1, count.total() - count["equivalent"])
        print(f"| {module} | {count.total()} | {some} | {share:.1f} % |")
        shares.append(share)
    return min(shares)


# --- all together ---


def warm_up(folder):
    """Import all that the tests need, but not the package: each fork begins with it."""
    sys.path[:] = [entry for entry in sys.path if not (Path(entry or ".") / "agents_sessions").is_dir()]
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    with contextlib.redirect_stdout(io.StringIO()):  # imports its plugins, which it refuses to meet imported
        pytest.main(["--collect-only", "-p", "no:cacheprovider", str(folder)])
    for name in WARM:
        importlib.import_module(name)
    from hypothesis import Phase, settings

    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("mutation", derandomize=True, database=None, deadline=None, phases=phases)
    settings.load_profile("mutation")
    assert "agents_sessions" not in sys.modules


def measured_in(whole, tests):
    """Return what the tests of a copy reach, measured unless they were before."""
    digest = hashlib.sha256(repr(tests).encode())
    for file in sorted(whole.rglob("*.py")):
        digest.update(file.read_bytes())
    cache = Path(tempfile.gettempdir(), f"agents-sessions-reach-{digest.hexdigest()[:16]}.json")
    if not cache.exists():
        print("measuring what each test reaches ...", flush=True)
        code = forked(whole, 3600, measure, tests, cache)
        print(Path(f"{whole}.log").read_text()[-2000:])
        if code:
            sys.exit("the suite could not be measured")
    return json.loads(cache.read_text())


def run(mutants, measured, given, whole):
    context = multiprocessing.get_context("fork")
    numbers, begun, outcomes = context.SimpleQueue(), time.monotonic(), {}
    for number in range(given.jobs):
        numbers.put(number)
    with ProcessPoolExecutor(given.jobs, context, start_worker, (numbers, whole, measured, given.budget)) as pool:
        for mutant, outcome in zip(mutants, pool.map(judged, mutants), strict=True):
            outcomes[mutant] = outcome
            spent = f"{time.monotonic() - begun:.0f} s"
            print(f"{len(outcomes)}/{len(mutants)} {spent}  {mutant}: {' by '.join(outcome)}", flush=True)
    return outcomes


def copy(whole):
    whole.mkdir()
    for name in COPIED:
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, whole / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(HOME / name, whole)


def wanted():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sample", type=int, help="this many mutants of each module, by chance")
    options.add_argument("--seed", type=int, default=1, help="which ones")
    options.add_argument("--only", default="", help="mutants whose `module:line function: change` has this expression")
    options.add_argument("--tests", nargs="+", default=["tests"], help="the tests to run: files or folders")
    options.add_argument("--budget", type=float, default=12, help="seconds of tests for a mutant")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("modules", nargs="*", default=MODULES, help="as in `stores/base`")
    return options.parse_args()


def main(given):
    """Judge all mutants that are wanted; return what `report` returns."""
    os.nice(10)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        copy(whole)
        warm_up(Path(folder, "empty"))
        measured = measured_in(whole, given.tests)
        sources = {name: (whole / name).read_text() for name in map("agents_sessions/{}.py".format, given.modules)}
        mutants = []
        for module, source in sources.items():
            some = mutants_of(module, source, given.sample, given.seed)
            mutants += [mutant for mutant in some if re.search(given.only, str(mutant))]
        controls = [Mutant(module, 1, "", "no change", source) for module, source in sources.items()]
        if any(outcome != "survived" for outcome, _by in run(controls, measured, given, whole).values()):
            sys.exit("tests fail without a change")
        return report(run(mutants, measured, given, whole), sources)


if __name__ == "__main__":
    sys.exit(main(wanted()) < LEAST)
