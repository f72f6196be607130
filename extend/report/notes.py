"""Whether training the backbone may pay: said in the report, never done unasked, as it takes minutes."""

from __future__ import annotations

from extend.classifier.evaluation import Evaluation

PASSES = 22
"""Passes forward that five epochs of fine-tuning cost: three a step, one for distillation, and two around it."""


def fine_tuning_advice(
    before: Evaluation | None, after: Evaluation | None, added: tuple[str, ...], seconds: float, everything: bool
) -> str | None:
    """A sentence, if the new classes are told apart worse on frozen features than the old ones were; else None.

    Worse beyond chance: the 95 % interval of the new classes' accuracy ends below the old classes' accuracy before.

    Args:
        before, after: the old classifier on the old classes, the new one on all.
        seconds: what one pass over the new samples took.
        everything: there are real samples of every old class.
    """
    if before is None or after is None or not after.counts(added)[1]:
        return None
    old, new = before.accuracy, after.of(added)
    if after.interval(added)[1] >= old:
        return None
    minutes = seconds * PASSES / 60
    long = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{max(60 * minutes, 1):.0f} seconds"
    text = (
        f"on frozen features the new classes reach {new:.1%}, where the old ones had {old:.1%}: training the backbone "
        f"(method='fine_tune', about {long} here) may tell them apart better, at the old ones' cost: on CIFAR-10 the "
        "class trained last gained and the accuracy on all did not rise, so compare both reports"
    )
    return text + ("; with all of old=, method='joint' did better there" if everything else "")
