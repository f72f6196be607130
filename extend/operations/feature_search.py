"""Choose a feature space when the base data are there: which taps, which transform, which width.

Transform and width are chosen by the rule of `extend.methods.Auto`. Of the taps, the most that do not lose a standard
error on the base classes are taken, because it is classes yet unknown that need them. All is measured on the half of
the held-out rows that never calibrates a forgetting limit, and one pass of the backbone serves every candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from extend.backbone import Backbone, Space, Tap, Taps, Transform, Width, embed
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples
from extend.heads import class_weights, temperature
from extend.memory import Memory, choosing, held_out_rows
from extend.methods import LDA, Ridge, Score, pick
from extend.operations.adopt import Build

MOST_TAPS, MOST_FEATURES, MOST_OF_ONE = 3, 2048, 1024
"""How many layers are tapped, how many features all have together, and how many one may have on a grid of 4 x 4."""
HEADS = (LDA(), Ridge())
"""The heads that judge a feature space."""


@dataclass(frozen=True)
class Chosen:
    """A feature space that was chosen: taps, transform and width, and what was tried, in words."""

    taps: tuple[Tap, ...]
    transform: Transform | None
    width: Width | None
    tried: tuple[str, ...]


def choose(
    build: Build,
    samples: Samples,
    held: Samples | None,
    taps: Taps | Literal["auto"],
    transform: Transform | Literal["auto"] | None,
    width: int | Width | Literal["auto"] | None,
    progress: Progress | None = None,
) -> Chosen:
    """Settle every one of `taps`, `transform` and `width` that is ``"auto"``, in this order; the others stay.

    Parameters
    ----------
    build
        Makes the backbone with ``taps=``.
    samples
        The base data.
    held
        The samples to measure on; None: the hash rule takes them from `samples`.
    taps, transform, width
        As for `extend.wrap`.
    progress
        Wraps the batches.

    Raises
    ------
    ArgumentError
        ``taps="auto"`` where there is no layer to tap.
    """
    layers = _tappable(build) if taps == "auto" else tuple(taps)
    backbone = build(taps=layers)
    trial = _Trial.of(backbone, samples, held, progress)
    space = Space(backbone.space.taps if taps != "auto" else (), None, None, backbone.space.keep)
    if transform != "auto":
        space = replace(space, transform=transform)
    if width != "auto":
        space = replace(space, width=Width(width) if isinstance(width, int) else width)
    if taps == "auto":
        known = backbone.space.taps
        options = [replace(space, taps=known[i:]) for i in range(len(known) + 1)]
        space = trial.best(options, lambda s: f"taps {', '.join(t.path for t in s.taps) or 'none'}", first=True)
    if transform == "auto":
        transforms: tuple[Transform | None, ...] = (None, "sqrt", "l2")
        options = [replace(space, transform=t) for t in transforms]
        space = trial.best(options, lambda s: f"transform {s.transform or 'none'}")
    if width == "auto":
        size = int(min(2000, max(200, 4 * backbone.joined)))
        options = [replace(space, width=w) for w in (None, Width(size), Width(size, "fourier"))]
        space = trial.best(options, lambda s: f"width {s.width.size} {s.width.kind}" if s.width else "width none")
    return Chosen(space.taps, space.transform, space.width, tuple(trial.tried))


@dataclass(frozen=True, eq=False)
class _Trial:
    """The base data in joined features, and the rows that judge, with their labels; `tried` grows with each trial."""

    backbone: Backbone
    samples: Samples
    joined: Float[np.ndarray, "n joined"]
    checked: Float[np.ndarray, "m joined"]
    truth: Int[np.ndarray, " m"]
    tried: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, backbone: Backbone, samples: Samples, held: Samples | None, progress: Progress | None) -> _Trial:
        """Run the backbone, once on each sample."""
        if held is None:
            aside = held_out_rows(samples.keys, samples.labels)
            samples, held = samples.take(~aside), samples.take(aside)
        joined = embed(backbone, samples, progress=progress)
        checked = embed(backbone, held) if len(held) else np.zeros((0, backbone.joined), np.float32)
        half = choosing(held.keys)
        return cls(backbone, samples, joined, checked[half], held.labels[half])

    def best(self, options: Sequence[Space], title: Callable[[Space], str], *, first: bool = False) -> Space:
        """Return the option whose better head wins by the rule, or the first that is as good."""
        if not len(self.truth):
            self.tried.append(f"{title(options[0])}: taken untried, as there are no held-out rows")
            return options[0]
        scored, right = [], []
        for option in options:
            found = self._score(option)
            better = pick([score for score, _ in found], [hit for _, hit in found], self.truth)[0]
            scored.append(found[better][0])
            right.append(found[better][1])
            self.tried.append(f"{title(option)}: {scored[-1].accuracy:.1%}, log-loss {scored[-1].log_loss:.3f}")
        taken, near = pick(scored, right, self.truth)
        return options[near[0] if first else taken]

    def _score(self, option: Space) -> list[tuple[Score, Bool[np.ndarray, " m"]]]:
        """How well each of the heads does in a feature space, and which rows it gets right."""
        rows, checked = self._features(option)
        names = self.samples.classes
        memory = Memory.of(
            Features(rows, self.samples.labels, names, self.samples.keys), scatter="pooled", max_held_out=0
        )
        found = []
        for method in HEADS:
            scores = method.fit(memory).scores(checked)
            hit = scores.argmax(axis=1) == self.truth
            loss = temperature(scores, self.truth)[1]
            found.append((Score(method, float(class_weights(self.truth) @ hit), loss), hit))
        return found

    def _features(self, option: Space) -> tuple[np.ndarray, np.ndarray]:
        """The part of the features that a memory would describe: of the base rows, and of those that judge."""
        first, edges = self.backbone.parts[0], np.cumsum(self.backbone.parts)
        skipped = len(self.backbone.space.taps) - len(option.taps)
        columns = np.r_[0:first, edges[skipped] : edges[-1]]
        parts = (first, *self.backbone.parts[1 + skipped :])
        rows, checked = self.joined[:, columns], self.checked[:, columns]
        params = option.fit(rows, parts)
        start = option.offset(first)
        done = [np.asarray(option.map(params, jnp.asarray(part), first))[:, start:] for part in (rows, checked)]
        return done[0], done[1]


def _tappable(build: Build) -> tuple[Tap, ...]:
    """The last layers at the top of the model, in the order of their depth, that can be taps; at most three."""
    layers = build(taps=()).layers
    if not layers:
        raise ArgumentError(
            "taps='auto' found no layer to tap: a function has none, and a layer must be called once and give a batch; "
            "leave taps out, or name layers"
        )
    found: tuple[Tap, ...] = tuple(Tap(path, 4) for path in layers[-MOST_TAPS:])
    widths = build(taps=found).parts[1:]
    found = tuple(tap if w <= MOST_OF_ONE else replace(tap, grid=2) for tap, w in zip(found, widths, strict=True))
    while len(found) > 1 and build(taps=found).joined > MOST_FEATURES:
        found = found[1:]
    return found
