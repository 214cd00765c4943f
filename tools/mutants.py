"""Deliberate mistakes in a copy of the package: each must be caught by the tests that are named for it.

    python tools/mutants.py [WORD ...]     judge all mutants, or those whose name holds one of the words
    python tools/mutants.py --check        only see whether each can still be made: a second, no tests

It prints a line for each and fails if one survives, or if a test fails without any mistake. A mutant finds its function
by name and changes its syntax tree; one that finds nothing to change is stale, which fails too.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mutant_changes import Function
from mutant_list import MUTANTS, Mutant

HOME = Path(__file__).resolve().parents[1]
COPIED = ("agents_sessions", "tests", "docs", "conftest.py", "pyproject.toml")
TIMEOUT = 120


class Place(NamedTuple):
    """A function in a file."""

    file: Path
    name: str
    function: Function


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    caught_by: str | None
    seconds: float


# --- making a mistake ---


def mutate(root: Path, mutant: Mutant) -> tuple[Path, str]:
    """Return a file of the package below a root, and its source with the mistake in it.

    Raises:
        LookupError: There is no such function, more than one, or nothing in it to change.
    """
    place = find(root, mutant)
    source = place.file.read_text()
    lines = source.splitlines(keepends=True)
    first = min(node.lineno for node in (place.function, *place.function.decorator_list)) - 1
    last = place.function.end_lineno
    before = ast.unparse(place.function)
    mutant.change(place.function)
    after = ast.unparse(ast.fix_missing_locations(place.function))
    if after == before:
        raise LookupError(f"{mutant.function} is what it was")
    lines[first:last] = textwrap.indent(after, " " * place.function.col_offset) + "\n"
    changed = "".join(lines)
    compile(changed, str(place.file), "exec")
    return place.file, changed


def find(root: Path, mutant: Mutant) -> Place:
    """Return the one function of a package that has a name."""
    base = root.joinpath("agents_sessions", *mutant.package.split("."))
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    if not files[0].exists():
        raise LookupError(f"there is no {mutant.package}")
    places = [place for file in files for place in functions(file) if f".{place.name}".endswith(f".{mutant.function}")]
    exact = [place for place in places if place.name == mutant.function]
    found = exact if len(exact) == 1 else places
    if len(found) != 1:
        where = ", ".join(f"{place.file.stem}.{place.name}" for place in found) or "none"
        raise LookupError(f"{mutant.package} must have one {mutant.function}, and has: {where}")
    return found[0]


def functions(file: Path) -> Iterator[Place]:
    """Yield the functions and methods of a file."""

    def below(node: ast.AST, names: tuple[str, ...]) -> Iterator[Place]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield Place(file, ".".join((*names, child.name)), child)
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from below(child, (*names, child.name))
            elif isinstance(child, ast.stmt):
                yield from below(child, names)

    yield from below(ast.parse(file.read_text()), ())


def check(mutants: list[Mutant]) -> int:
    """Print the mutants that cannot be made any more, and return how many they are."""
    stale = 0
    for mutant in mutants:
        try:
            mutate(HOME, mutant)
        except LookupError as error:
            stale += 1
            print(f"stale: {mutant.name}: {error}")
        for path in mutant.tests.split():
            if path.endswith(".py") and not (HOME / path).exists():
                stale += 1
                print(f"stale: {mutant.name}: there is no {path}")
    print(f"{len(mutants)} mutants, {stale} of them stale")
    return stale


# --- catching it ---


def judge(mutant: Mutant, *, control: bool = False) -> Verdict:
    """Run a mutant's tests against a copy of the package that has the mistake; as a `control`, that has it not."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in COPIED:
            if (HOME / part).is_dir():
                shutil.copytree(HOME / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(HOME / part, copy)
        if not control:
            file, source = mutate(copy, mutant)
            file.write_text(source)
        return Verdict(mutant, caught_by(mutant, copy), time.monotonic() - started)


def caught_by(mutant: Mutant, copy: Path) -> str | None:
    """Return the name of the first test that fails, or None if all pass."""
    # The working folder comes first on the path of every process that the tests start.
    environment = {**os.environ, "PYTHONPATH": str(copy), "TRUST_SECONDS": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import agents_sessions as a, sys; sys.exit(not a.__file__.startswith(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", where, str(copy)], cwd=copy, env=environment, check=True)
    command = f"{sys.executable} -m pytest -x -rfE --tb=line -p no:cacheprovider {mutant.tests}"
    try:
        ran = subprocess.run(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "nothing ends"
    if ran.returncode == 0:
        return None
    failed = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if ran.returncode != 1 or not failed:
        raise RuntimeError(f"{mutant.name}: pytest could not run: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return failed[0].rpartition("::")[2]


def judge_all(mutants: list[Mutant]) -> int:
    """Print a line for each mutant, and return how many survive."""
    started = time.monotonic()
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        controls = {mutant.tests: mutant for mutant in mutants}.values()
        for mutant, failed, _ in pool.map(partial(judge, control=True), controls):
            if failed is not None:
                raise SystemExit(f"without any mistake, {failed} of `{mutant.tests}` fails: what would catch one?")
        for mutant, caught, seconds in pool.map(judge, mutants):
            survivors += caught is None
            print(f"{mutant.name:66} {caught or 'SURVIVED':80.80} {seconds:6.1f} s", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants caught in {time.monotonic() - started:.0f} s")
    return survivors


def main() -> int:
    """Do what the command line asks for; return how many mutants are stale or survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", nargs="*", help="judge the mutants whose name holds one of these")
    parser.add_argument("--check", action="store_true", help="only see whether each can still be made")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not given.word or any(word in mutant.name for word in given.word)]
    stale = check(chosen)
    return stale if stale or given.check else judge_all(chosen)


if __name__ == "__main__":
    sys.exit(main() > 0)
