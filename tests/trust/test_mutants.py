"""The suite can fail: a few mutants here, all of them with `make mutants`."""

import pytest
from mutants import HOME, MUTANTS, judge, mutated

QUICK = ["an append is not synced", "the seal is believed without its checksum"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_not_stale(mutant):
    source = (HOME / "agents_sessions" / mutant.file).read_text()
    compile(mutated(source, mutant), mutant.file, "exec")


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.name in QUICK], ids=lambda m: m.name)
def test_a_mutant_is_caught(mutant):
    assert judge(mutant).caught_by is not None
