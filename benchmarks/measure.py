"""How time and memory are taken."""

import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A median and its quartiles."""

    median: float
    low: float
    high: float
    samples: int


def figure(samples: Sequence[float]) -> Figure:
    """Return median and quartiles."""
    if len(samples) < 2:
        return Figure(samples[0], samples[0], samples[0], len(samples))
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Figure(median, low, high, len(samples))


@dataclass(slots=True)
class Arm:
    """One thing that is timed again and again, in turn with others."""

    prepare: Callable[[], Coroutine[Any, Any, object]]
    """Makes ready, outside the clock, what is then awaited under it."""
    every: int = 1
    """Takes part in every n-th round only: for what is slow."""
    seconds: list[float] = field(default_factory=list)


async def interleave(arms: Sequence[Arm], rounds: int, *, warm_up: int = 3) -> None:
    """Time all arms round by round, so that whatever else the machine does meets them alike.

    Each round begins with another arm. Garbage is collected before each round, and the collector stays on during it,
    as in an application; results are freed outside the clock.
    """
    gc.collect()
    gc.freeze()  # what is there now is not looked at again: a collection costs only what the sample left
    for number in range(-warm_up, rounds):
        gc.collect()
        first = number % len(arms)
        for arm in [*arms[first:], *arms[:first]]:
            if number % arm.every == 0:
                seconds = await _time(arm)
                if number >= 0:
                    arm.seconds.append(seconds)
    gc.unfreeze()


async def _time(arm: Arm) -> float:
    work = arm.prepare()
    begun = perf_counter()
    result = await work
    seconds = perf_counter() - begun
    del result
    return seconds


def ask(*command: str) -> dict[str, float]:
    """Run Python in a process of its own and return the JSON that it prints."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, as the kernel names it."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [(place, kind) for place, kind in mounts if path.resolve().is_relative_to(place.replace("\\040", " "))]
    return max(holding, key=lambda mount: len(mount[0]))[1]
