"""Independent evaluators of PMML: JPMML (reference, in a Java process of its own) and Weka 3.6 (Debian's package)."""

from __future__ import annotations

import atexit
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

WEKA = "/usr/share/java/weka.jar"


@cache
def _backend():
    from jpmml_evaluator.py4j import Py4JBackend

    backend = Py4JBackend()
    atexit.register(Py4JBackend.destroyGateway)
    return backend


def jpmml(path: Path, inputs: dict[str, list], classes: tuple[str, ...]) -> np.ndarray:
    """Probabilities ``[n, classes]`` by JPMML, taken from the file's output fields ``probability(<class>)``."""
    from jpmml_evaluator import make_evaluator
    from pandas import DataFrame

    evaluator = make_evaluator(str(path), backend=_backend()).verify()
    found = evaluator.evaluateAll(DataFrame(inputs))
    return found[[f"probability({name})" for name in classes]].to_numpy(np.float64)


@cache
def _weka_folder() -> str:
    folder = tempfile.mkdtemp(prefix="weka-score-")
    source = Path(__file__).with_name("WekaScore.java")
    subprocess.run(["javac", "-cp", WEKA, "-d", folder, str(source)], check=True, capture_output=True)
    return folder


def weka(path: Path, inputs: dict[str, list], classes: tuple[str, ...], target: str = "class") -> np.ndarray:
    """Class distributions ``[n, classes]`` by Weka 3.6, in the order of the file's data dictionary."""

    def quoted(name: str) -> str:
        return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = ["@relation rows"]
    for name, values in inputs.items():
        kinds = dict.fromkeys(quoted(v) for v in values if isinstance(v, str))
        lines.append(f"@attribute {quoted(name)} " + (f"{{{','.join(kinds)}}}" if kinds else "numeric"))
    lines += [f"@attribute {quoted(target)} {{{','.join(map(quoted, classes))}}}", "@data"]
    for row in zip(*inputs.values(), strict=True):
        lines.append(",".join(quoted(v) if isinstance(v, str) else repr(float(v)) for v in row) + ",?")
    arff = path.with_suffix(".arff")
    arff.write_text("\n".join(lines) + "\n", "utf-8")
    java = ["java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", f"{WEKA}:{_weka_folder()}"]
    done = subprocess.run([*java, "WekaScore", str(path), str(arff)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array([line.split() for line in done.stdout.splitlines()], np.float64)
