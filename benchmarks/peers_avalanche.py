"""Avalanche's strategies on a linear layer over the features (`IncrementalClassifier`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.peers_protocol import Peer, Problem

PER_CLASS = 20


@dataclass(frozen=True)
class Training:
    """How a strategy trains."""

    name: str
    rate: float
    batch: int
    epochs: int
    scaled: bool

    def __str__(self) -> str:
        scaled = "; features standardised by the base rows" if self.scaled else ""
        return f"SGD(lr={self.rate}, momentum=0.9), batch {self.batch}, {self.epochs} epochs{scaled}"


README = Training("", 0.001, 32, 2, False)
LONGER = Training(", 20 epochs", 0.01, 128, 20, True)

Build = Callable[[Any, Problem, dict[str, Any]], Any]


class Strategy:
    """An Avalanche strategy, trained on one experience an increment."""

    def __init__(self, problem: Problem, training: Training, build: Build, bytes_kept: Callable[[Any], int]) -> None:
        import torch
        from avalanche.benchmarks import nc_benchmark
        from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as dataset
        from avalanche.models import IncrementalClassifier
        from avalanche.training.plugins import EvaluationPlugin

        torch.manual_seed(problem.seed)
        torch.set_num_threads(1)  # The layer is small: on a busy machine two threads wait for each other.
        self.torch, self.step, self.bytes_kept = torch, 0, bytes_kept
        base = problem.steps[0][0]
        self.mean = base.mean(axis=0) if training.scaled else np.zeros(problem.dim, np.float32)
        spread = base.std(axis=0) if training.scaled else np.ones(problem.dim, np.float32)
        self.spread = np.where(spread > 0, spread, 1)
        x, y = (np.concatenate([step[part] for step in problem.steps]) for part in (0, 1))
        rows = dataset(self.inputs(x), torch.from_numpy(y))
        sizes = np.diff([0, *problem.known]).tolist()
        self.stream = nc_benchmark(
            rows,
            rows,
            n_experiences=len(sizes),
            task_labels=False,
            shuffle=False,
            per_exp_classes=dict(enumerate(sizes)),
        ).train_stream
        model = IncrementalClassifier(problem.dim, initial_out_features=problem.known[0])
        options = {
            "train_mb_size": training.batch,
            "train_epochs": training.epochs,
            "eval_mb_size": 1024,
            "evaluator": EvaluationPlugin(loggers=[]),
        }
        optimizer = torch.optim.SGD(model.parameters(), lr=training.rate, momentum=0.9)
        self.strategy = build(model, problem, options | {"optimizer": optimizer})

    def inputs(self, x: np.ndarray) -> Any:
        return self.torch.from_numpy(((x - self.mean) / self.spread).astype(np.float32))

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        self.known = known
        self.strategy.train(self.stream[self.step])
        self.step += 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        with self.torch.no_grad():
            model, rows = self.strategy.model.eval(), self.inputs(x)
            scores = self.strategy.predict(rows) if hasattr(self.strategy, "predict") else model(rows)
            return scores[:, : self.known].argmax(dim=1).numpy()

    def kept(self) -> int:
        return self.bytes_kept(self.strategy)


def _naive(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
    from avalanche.training.supervised import Naive

    return Naive(model=model, **options)


def _replay(size: int | None) -> Build:
    def build(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
        from avalanche.training.supervised import Replay
        from torch.nn import CrossEntropyLoss

        rows = PER_CLASS * problem.classes if size is None else size
        return Replay(model=model, criterion=CrossEntropyLoss(), mem_size=rows, **options)

    return build


def _ewc(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
    from avalanche.training.supervised import EWC
    from torch.nn import CrossEntropyLoss

    return EWC(model=model, criterion=CrossEntropyLoss(), ewc_lambda=0.4, **options)


def _lwf(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
    from avalanche.training.supervised import LwF
    from torch.nn import CrossEntropyLoss

    return LwF(model=model, criterion=CrossEntropyLoss(), alpha=1, temperature=2, **options)


def _slda(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
    from avalanche.training.supervised import StreamingLDA
    from torch.nn import CrossEntropyLoss, Identity

    options = {name: value for name, value in options.items() if name != "optimizer"}
    return StreamingLDA(
        slda_model=Identity(),
        criterion=CrossEntropyLoss(),
        input_size=problem.dim,
        num_classes=problem.classes,
        **options,
    )


def _icarl(model: Any, problem: Problem, options: dict[str, Any]) -> Any:
    from avalanche.training.supervised import ICaRL
    from torch.nn import Identity, Linear
    from torch.optim import SGD

    # Its loss cannot follow a layer that grows: a size mismatch in load_state_dict. So all columns are there at once.
    layer = Linear(problem.dim, problem.classes)
    return ICaRL(
        feature_extractor=Identity(),
        classifier=layer,
        memory_size=PER_CLASS * problem.classes,
        buffer_transform=None,
        fixed_memory=True,
        **options | {"optimizer": SGD(layer.parameters(), lr=README.rate, momentum=0.9)},
    )


def _nothing(strategy: Any) -> int:
    return 0


def _plugin(strategy: Any, name: str) -> Any:
    return next(plugin for plugin in strategy.plugins if type(plugin).__name__ == name)


def _replayed(strategy: Any) -> int:
    buffer = _plugin(strategy, "ReplayPlugin").storage_policy.buffer
    return len(buffer) * _bytes(buffer[0][0])


def _consolidated(strategy: Any) -> int:
    plugin = _plugin(strategy, "EWCPlugin")
    saved = [part for kept in (plugin.importances, plugin.saved_params) for part in kept.values()]
    return sum(_bytes(parameter.data) for part in saved for parameter in part.values())


def _distilled(strategy: Any) -> int:
    return sum(map(_bytes, _plugin(strategy, "LwFPlugin").lwf.prev_model.parameters()))


def _statistics(strategy: Any) -> int:
    return sum(map(_bytes, (strategy.Sigma, strategy.muK, strategy.cK)))


def _herded(strategy: Any) -> int:
    return sum(map(_bytes, _plugin(strategy, "_ICaRLPlugin").x_memory))


def _bytes(tensor: Any) -> int:
    return tensor.numel() * tensor.element_size()


def _peer(
    name: str,
    build: Build,
    bytes_kept: Callable[[Any], int],
    training: Training,
    settings: str = "",
    keeps: str = "none",
) -> Peer:
    def make(problem: Problem) -> Strategy:
        return Strategy(problem, training, build, bytes_kept)

    settings = "; ".join(part for part in (settings, str(training)) if part)
    return Peer(f"Avalanche {name}{training.name}", "avalanche-lib", settings, keeps, make, slow=True)


def _streaming() -> Peer:
    training = Training("", 0.0, 4096, 1, False)
    peer = _peer("StreamingLDA", _slda, _statistics, training)
    settings = "shrinkage 1e-4, one sample at a time, features fetched 4096 at a time; no score for unseen classes"
    return replace(peer, settings=settings, slow=False)


EACH = f"{PER_CLASS} rows a class in all"

PEERS = (
    _peer("Naive", _naive, _nothing, README),
    _peer("Replay", _replay(200), _replayed, README, "mem_size=200 (default)", "exemplars"),
    _peer("EWC", _ewc, _consolidated, README, "ewc_lambda=0.4 (its example's), mode 'separate'"),
    _peer("LwF", _lwf, _distilled, README, "alpha=1, temperature=2 (the plugin's defaults)"),
    _peer("Naive", _naive, _nothing, LONGER),
    _peer("Replay", _replay(None), _replayed, LONGER, f"mem_size: {EACH}", "exemplars"),
    _peer("EWC", _ewc, _consolidated, LONGER, "ewc_lambda=0.4 (its example's), mode 'separate'"),
    _peer("LwF", _lwf, _distilled, LONGER, "alpha=1, temperature=2 (the plugin's defaults)"),
    _streaming(),
    _peer(
        "ICaRL",
        _icarl,
        _herded,
        README,
        f"memory_size: {EACH}, fixed_memory; predicts by the nearest mean of its exemplars; all columns from the start",
        "exemplars",
    ),
)
