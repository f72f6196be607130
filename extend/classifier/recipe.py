"""What decides how a classifier goes on: the method in force, its strengths, and what was measured on the way.

The history is a log for people. Whatever an operation needs to know of earlier ones stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from extend.classifier.history import Event


@dataclass(frozen=True)
class Addition:
    """The classes that came in one step.

    Parameters
    ----------
    classes
        Their names.
    forgetting
        The share of old examples that a budget let turn wrong in this step; None without a budget.
    before
        ``method``, ``settings`` and ``chosen`` of the recipe before the step, for when it is taken back; None where
        they are not known.
    """

    classes: tuple[str, ...]
    forgetting: float | None = None
    before: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Recipe:
    """How the present head was made, and what later operations need to know of earlier ones.

    Parameters
    ----------
    method
        The name of the method that gave the present head, such as ``"lda"`` or ``"own head"``.
    settings
        The method's hyper-parameters, as JSON. Where the backbone was trained, ``settings["head"]`` names the closed
        form that was fitted afterwards, as ``{"name": ..., "settings": ...}``.
    additions
        The steps that added classes, in order.
    learnt
        For each class, the share of its held-out samples that was right when the class was learnt.
    fisher_classes
        The classes whose samples may be in the memory's Fisher diagonal; None where that is not known, which counts as
        every class.
    chosen
        What ``method="auto"`` chose last: a closed form's name and hyper-parameters, the temperature of its scores, and
        the number of classes at that time. It stands until there are twice as many; None chooses at the next addition.

    Examples
    --------
    >>> recipe = Recipe.wrapped("own head", {}, ("a", "b"), {"a": 1.0})
    >>> recipe = recipe.after_adding("lda", {"shrinkage": None}, {"cat": 0.9}, ("cat",), 0.01)
    >>> recipe.method, recipe.newest, recipe.forgetting_total, recipe.may_be_in_fisher("cat")
    ('lda', ('cat',), 0.01, False)
    >>> recipe.without("cat").newest
    ()
    """

    method: str = "unknown"
    settings: Mapping[str, Any] = field(default_factory=dict)
    additions: tuple[Addition, ...] = ()
    learnt: Mapping[str, float] = field(default_factory=dict)
    fisher_classes: tuple[str, ...] | None = None
    chosen: Mapping[str, Any] | None = None

    @classmethod
    def wrapped(
        cls,
        method: str,
        settings: Mapping[str, Any],
        classes: Sequence[str],
        learnt: Mapping[str, float],
        chosen: Mapping[str, Any] | None = None,
    ) -> Recipe:
        """Return the recipe of a classifier that was just wrapped, or whose backbone was trained on all its classes."""
        return cls(method, settings, (), dict(learnt), tuple(classes), chosen)

    @property
    def newest(self) -> tuple[str, ...]:
        """The classes of the last addition that still has some."""
        return self.additions[-1].classes if self.additions else ()

    @property
    def forgetting_total(self) -> float | None:
        """The sum of what the budgets of all additions let turn wrong; None if there never was a budget."""
        spent = [step.forgetting for step in self.additions if step.forgetting is not None]
        return sum(spent) if spent else None

    @property
    def closed_form(self) -> tuple[str, Mapping[str, Any]]:
        """The name and hyper-parameters of the method that was fitted last, a training's own head included."""
        inner = self.settings.get("head") or {"name": self.method, "settings": self.settings}
        return inner["name"], inner["settings"]

    def may_be_in_fisher(self, name: str) -> bool:
        """Whether samples of this class may be in the memory's Fisher diagonal."""
        return self.fisher_classes is None or name in self.fisher_classes

    def after_adding(
        self,
        method: str,
        settings: Mapping[str, Any],
        learnt: Mapping[str, float],
        newest: Sequence[str] = (),
        forgetting: float | None = None,
        trained_on: Sequence[str] = (),
        chosen: Mapping[str, Any] | None = None,
    ) -> Recipe:
        """Return the recipe after samples of new or present classes came.

        Parameters
        ----------
        method, settings
            The name of the method that gave the head, and its hyper-parameters.
        learnt
            Held-out accuracy of the classes that were learnt in this step.
        newest
            The classes that were added; empty where samples came to present classes only.
        forgetting
            What a budget let turn wrong in this step; None without a budget.
        trained_on
            All classes of the new classifier if this step trained the backbone, else nothing.
        chosen
            What was chosen among methods in this step; None where nothing was. A training ends an earlier choice: it
            was made by features that are no more.
        """
        known = self.fisher_classes
        before: Mapping[str, Any] | None = {
            "method": self.method,
            "settings": dict(self.settings),
            "chosen": self.chosen,
        }
        additions = self.additions
        if trained_on:  # Earlier heads were of features that are no more.
            before, additions = None, tuple(replace(step, before=None) for step in additions)
        return replace(
            self,
            method=method,
            settings=settings,
            additions=(*additions, Addition(tuple(newest), forgetting, before)) if newest else additions,
            learnt={**self.learnt, **learnt},
            fisher_classes=known if known is None else tuple(dict.fromkeys((*known, *trained_on))),
            chosen=chosen if chosen is not None or trained_on else self.chosen,
        )

    def taken_back(self, gone: Sequence[str]) -> Recipe:
        """Return the recipe after some classes went, as if they had never come where they were the last to come.

        Examples
        --------
        >>> recipe = Recipe("own head").after_adding("lda", {}, {}, ("a",)).after_adding("ridge", {}, {}, ("b",))
        >>> recipe.taken_back(("b",)).method, recipe.taken_back(("a",)).method, recipe.taken_back(("a", "b")).method
        ('lda', 'ridge', 'own head')
        """
        recipe = self
        for name in gone:
            recipe = recipe.without(name)
        for i, step in enumerate(self.additions):
            if step.before is not None and {c for later in self.additions[i:] for c in later.classes} == set(gone):
                return replace(recipe, additions=self.additions[:i], **step.before)
        return recipe

    def without(self, name: str) -> Recipe:
        """Return the recipe after a class was removed: nothing in it tells of the class any more."""
        left = (replace(step, classes=tuple(c for c in step.classes if c != name)) for step in self.additions)
        known = self.fisher_classes
        return replace(
            self,
            additions=tuple(step for step in left if step.classes),
            learnt={other: share for other, share in self.learnt.items() if other != name},
            fisher_classes=known if known is None else tuple(other for other in known if other != name),
        )

    def renamed(self, names: Mapping[str, str]) -> Recipe:
        """Return the recipe with other names for some classes; classes that get the same name become one.

        Examples
        --------
        >>> Recipe("lda", learnt={"cat": 0.9, "car": 0.8}).renamed({"cat": "pet"}).learnt
        {'pet': 0.9, 'car': 0.8}
        """

        def now(known: Sequence[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(names.get(name, name) for name in known))

        return replace(
            self,
            additions=tuple(replace(step, classes=now(step.classes)) for step in self.additions),
            learnt={names.get(name, name): share for name, share in self.learnt.items()},
            fisher_classes=None if self.fisher_classes is None else now(self.fisher_classes),
        )

    @classmethod
    def of_history(cls, history: Sequence[Event]) -> Recipe:
        """Read the recipe off a history: of a checkpoint of the first edition, or of a classifier made by hand."""
        if not history:
            return cls()
        recipe = cls(fisher_classes=())
        for event in history:
            match event.action:
                case "calibrate":
                    continue
                case "remove" | "retune":
                    known = event.action == "retune" or event.method != "dropping its column"
                    recipe = replace(recipe, method=event.method, settings=event.settings) if known else recipe
                case _:
                    trains = event.action in ("wrap", "adapt") or event.method in ("fine_tune", "joint")
                    recipe = recipe.after_adding(
                        event.method,
                        event.settings,
                        event.right,
                        event.classes if event.action == "add" else (),
                        event.risk,
                        (*_classes(history, event),) if trains else (),
                    )
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe for JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Recipe:
        """Read back what `to_dict` gave."""
        additions = tuple(
            Addition(tuple(step["classes"]), step["forgetting"], step.get("before")) for step in saved["additions"]
        )
        known = saved["fisher_classes"]
        return cls(
            saved["method"],
            saved["settings"],
            additions,
            saved["learnt"],
            known if known is None else tuple(known),
            saved.get("chosen"),
        )


UNKNOWN = Recipe()
"""Stands for a recipe that was not given."""


def _classes(history: Sequence[Event], until: Event) -> list[str]:
    """The classes that the history knows by this event; those that were removed are scrubbed from it."""
    found: dict[str, None] = {}
    for event in history:
        found.update(dict.fromkeys(event.classes))
        if event is until:
            break
    return list(found)
