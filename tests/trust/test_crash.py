"""Kill a process at any moment: what it has acknowledged is there, and nothing is there in part.

`TRUST_SEED` repeats the choices of a run; what a child gets done before a kill at a moment still varies, and with it
what later children meet. `TRUST_KILLS` makes it longer: `make soak` kills 5,000 times.
"""

import asyncio
import os
import time

from crash import Nursery, Watch, rounds
from seeds import SEED

KILLS = int(os.environ.get("TRUST_KILLS", "200"))


def test_a_process_killed_at_any_moment_loses_nothing_acknowledged_and_leaves_no_half(tmp_path, caplog):
    caplog.set_level("CRITICAL")
    print(f"\nTRUST_SEED={SEED}")
    watch = Watch(tmp_path / "sessions", SEED)
    nursery = Nursery()
    begun = time.monotonic()
    try:
        with asyncio.Runner() as loop:
            for round_ in rounds(watch.root, SEED, KILLS):
                loop.run(watch.play(nursery, round_))
    except AssertionError as error:
        raise AssertionError(f"TRUST_SEED={SEED}, {round_}: {error}") from error
    finally:
        nursery.close()
    watch.figures["torn appends repaired"] = len(watch.repaired)
    for name, count in sorted(watch.figures.items()):
        print(f"{count:8} {name}")
    print(f"{time.monotonic() - begun:8.1f} seconds")
    assert watch.figures["kills"] == KILLS
    assert watch.figures["acknowledged operations"] > KILLS
