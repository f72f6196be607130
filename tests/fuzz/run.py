"""Open mutated files and see that only `FormatError` comes out: ``python -m tests.fuzz.run FORMAT [--count 1000]``.

Each format has ``tests/fuzz/<format>_seed.py`` with ``write(folder) -> list[Path]`` (small valid files) and
``open(path)`` (the function under test). The seed is fixed. A worker process opens the files under a limit of 10
seconds each; a crash, a hang, another exception, or more than 1 GB beside what the libraries take is reported.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np

SECONDS, BYTES = 10, 1 << 30


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


def worker(name: str, first: int, count: int) -> None:
    """Open mutants `first` to `count`; a line of JSON each, written before and after."""
    from extend.core.errors import FormatError

    seed = import_module(f"tests.fuzz.{name}_seed")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        files = [(path, path.read_bytes()) for path in seed.write(Path(folder))]
        for path, _ in files:
            seed.open(path)  # The unchanged files open, or nothing below means anything.
        signal.signal(signal.SIGALRM, _late)
        at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for number in range(first, count):
            rng = np.random.default_rng([7, number])
            path, content = files[number % len(files)]
            mutant = path.with_name(f"mutant-{number}{path.suffix}")
            mutant.write_bytes(mutate(content, rng) or b"\0")
            print(json.dumps([number, "started"]), flush=True)
            signal.alarm(SECONDS)
            result = "opened"
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    seed.open(mutant)
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


def fuzz(name: str, count: int = 1000) -> tuple[Counter[str], dict[int, str]]:
    """How often what came out, and what was wrong by the number of the mutant."""
    counts: Counter[str] = Counter()
    wrong: dict[int, str] = {}
    done = 0
    while done < count:
        command = [sys.executable, "-m", "tests.fuzz.run", name, "--worker", str(done), "--count", str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started = -1
        try:
            out, err = process.communicate(timeout=SECONDS * 120)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        for line in out.splitlines():
            if not line.startswith("["):
                continue
            number, result = json.loads(line)
            if result == "started":
                started = number
                continue
            started = -1
            done = number + 1
            counts[result if result in ("opened", "FormatError", "hang", "memory") else "other"] += 1
            if result not in ("opened", "FormatError"):
                wrong[number] = result
        if started >= 0:
            counts["crash"] += 1
            wrong[started] = f"the process ended with {process.returncode}: {err[-300:]}"
            done = started + 1
        elif not out:
            raise RuntimeError(f"the worker for {name} did not start: {err[-2000:]}")
    return counts, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options.format, options.worker, options.count)
        return 0
    counts, wrong = fuzz(options.format, options.count)
    print(options.format, dict(counts))
    for number, what in list(wrong.items())[:20]:
        print(f"  mutant {number}: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
