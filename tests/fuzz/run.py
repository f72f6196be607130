"""Open mutated files and see that only `FormatError` comes out.

    python -m tests.fuzz.run FORMAT [--count 1000] [--seed 7]
    python -m tests.fuzz.run all --seconds 60        # all formats in this time, with a new seed, which is printed

Each format has ``tests/fuzz/<format>_seed.py`` with ``write(folder) -> list[Path]`` (small valid files) and
``open(path)`` (the function under test). Without ``--seed`` the seed is that of the environment's ``EXTEND_FUZZ_SEED``;
else it is 7, or a new one where a time is given (``EXTEND_FUZZ_SECONDS`` or ``--seconds``). A worker process opens the
files under a limit of 40 seconds each, as other work may go on beside it; a crash, a hang, another exception, or more
than 1 GB beside what the libraries take is reported with the number of the mutant, which ``--first`` makes again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import queue
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

SECONDS, BYTES, START, SEED = 40, 1 << 30, 300, 7
"""For one mutant; beside what the libraries take; for the libraries to be imported; where none is given."""


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One of: flipped bits, other bytes, a cut, a doubled or removed stretch, a number made huge."""
    data = bytearray(content)
    kind = rng.integers(0, 6)
    size = len(data)
    if kind == 0:
        for place in rng.integers(0, size, rng.integers(1, 9)):
            data[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1:
        for place in rng.integers(0, size, rng.integers(1, 33)):
            data[place] = int(rng.integers(0, 256))
    elif kind == 2:
        del data[int(rng.integers(0, size)) :]
    elif kind == 3:
        start, length = int(rng.integers(0, size)), int(rng.integers(1, 65))
        data[start:start] = data[start : start + length]
    elif kind == 4:
        start, length = int(rng.integers(0, size)), int(rng.integers(1, 65))
        del data[start : start + length]
    else:
        start = int(rng.integers(0, max(size - 8, 1)))
        data[start : start + 8] = rng.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x00" * 8, b"99999999"])
    return bytes(data)


def _late(signum: int, frame: object) -> None:
    raise TimeoutError


def worker(name: str, seed: int, first: int, count: int, seconds: float) -> None:
    """Open mutants `first` to `count` while there is time; a line of JSON each, written before and after."""
    from extend.core.errors import FormatError

    made = import_module(f"tests.fuzz.{name}_seed")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        files = [(path, path.read_bytes()) for path in made.write(Path(folder))]
        for path, _ in files:
            made.open(path)  # The unchanged files open, or nothing below means anything.
        signal.signal(signal.SIGALRM, _late)
        at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        end = time.monotonic() + seconds
        for number in range(first, count):
            if time.monotonic() > end:
                break
            rng = np.random.default_rng([seed, number])
            path, content = files[number % len(files)]
            mutant = path.with_name(f"mutant-{number}{path.suffix}")
            mutant.write_bytes(mutate(content, rng) or b"\0")
            print(json.dumps([number, "started"]), flush=True)
            signal.alarm(SECONDS)
            result = "opened"
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    made.open(mutant)
            except FormatError:
                result = "FormatError"
            except TimeoutError:
                result = "hang"
            except BaseException as error:
                result = f"{type(error).__name__}: {error}"[:200]
            signal.alarm(0)
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - at_rest > BYTES:
                result = "memory"
            print(json.dumps([number, result]), flush=True)
            mutant.unlink()
            if result in ("memory", "hang"):
                return  # A new process goes on.


def fuzz(
    name: str, count: int = 1000, *, seed: int = SEED, first: int = 0, seconds: float = float("inf")
) -> tuple[Counter[str], dict[int, str]]:
    """How often what came out of mutants `first` to `count`, and what was wrong by the number of the mutant."""
    counts: Counter[str] = Counter()
    wrong: dict[int, str] = {}
    done, end = first, None
    while done < count and (end is None or time.monotonic() < end):
        left = seconds if end is None else end - time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.run", name, "--worker", "--seed", str(seed), "--first", str(done)]
        command += ["--count", str(count), "--seconds", str(left)]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            started, ended = -1, False
            for line in _lines(process):
                number, result = json.loads(line)
                end = time.monotonic() + seconds if end is None else end  # The libraries' imports do not count.
                if result == "started":
                    started = number
                    continue
                started, done, ended = -1, number + 1, True
                counts[result if result in ("opened", "FormatError", "hang", "memory") else "other"] += 1
                if result not in ("opened", "FormatError"):
                    wrong[number] = result
            late = process.poll() is None
            process.kill()
            process.wait()
            errors.seek(0)
            err = errors.read()
        if started >= 0:
            counts["hang" if late else "crash"] += 1
            wrong[started] = f"the process {'hung' if late else f'ended with {process.returncode}'}: {err[-300:]}"
            done = started + 1
        elif not ended and end is None:
            raise RuntimeError(f"the worker for {name} did not start: {err[-2000:]}")
        elif not ended:
            break
    return counts, wrong


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The results of a worker as they come, until it ends or says nothing for too long."""
    found: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("["):
                found.put(line)
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    patience = START
    with contextlib.suppress(queue.Empty):
        while (line := found.get(timeout=patience)) is not None:
            patience = 3 * SECONDS
            yield line
        process.wait(START)


def formats() -> list[str]:
    """The formats that have a fuzzer."""
    return sorted(path.name.removesuffix("_seed.py") for path in Path(__file__).parent.glob("*_seed.py"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=["all", *formats()])
    parser.add_argument("--count", type=int, default=None, help="mutants of each format (1000 where no time is given)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=os.environ.get("EXTEND_FUZZ_SECONDS"), help="for all formats")
    parser.add_argument("--first", type=int, default=0, help="the number of the first mutant")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    timed = options.seconds is not None
    count = options.count if options.count is not None else sys.maxsize if timed else 1000
    seconds = float(options.seconds) if timed else float("inf")
    given = options.seed if options.seed is not None else os.environ.get("EXTEND_FUZZ_SEED")
    seed = int(given) if given is not None else secrets.randbelow(1 << 31) if timed else SEED
    if options.worker:
        worker(options.format, seed, options.first, count, seconds)
        return 0
    names = formats() if options.format == "all" else [options.format]
    print(f"fuzz: seed {seed}", flush=True)
    failed = 0
    for name in names:
        counts, wrong = fuzz(name, count, seed=seed, first=options.first, seconds=seconds / len(names))
        print(name, dict(counts), flush=True)
        for number, what in list(wrong.items())[:20]:
            print(f"  mutant {number} (--seed {seed} --first {number} --count {number + 1}): {what}")
        failed += bool(wrong) or not counts
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
