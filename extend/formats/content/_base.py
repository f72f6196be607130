"""What is said of a file: in words, which format reads it, and what to do where none does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TREES = (
    "it has no linear last layer to widen: pass a function from inputs to its leaves or scores to extend.wrap "
    "(docs/formats.md, Other models)"
)
FLAX = "pass model= (the Flax module), classes=[...] and inputs="
ORIGINAL = "open the model that it was converted from"
TO_SKOPS = "import joblib, skops.io; model = joblib.load({path!r}); skops.io.dump(model, 'model.skops')"
TO_STATE = "import torch; net = {load}; torch.save(net.state_dict(), 'weights.pt')"
NOT_LOADED = "a pickle runs code when it is read, so it is never loaded here"


@dataclass(frozen=True)
class Content:
    """What a file is.

    Parameters
    ----------
    what
        In words, such as "a picture (PNG)".
    reader
        The package of `extend.formats` that reads it, or "flax"; "" where none does.
    advice
        What to do where it is not read, or not as it is; ``{path!r}`` in it stands for the file.
    """

    what: str
    reader: str = ""
    advice: str = ""

    def refusal(self, path: object) -> str:
        """Return the one line that says why the file is not opened as it is."""
        advice = self.advice.replace("{path!r}", repr(str(path)))
        return f"{path}: {self.what}{'' if self.reader else ', which cannot be opened'}: {advice}"


def listed(names: Iterable[str], most: int = 10) -> str:
    """Return names for a message, cut at `most`.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    "'a', 'b' and 1 more"
    """
    given = list(names)
    more = f" and {len(given) - most} more" if len(given) > most else ""
    return ", ".join(repr(name[:100]) for name in given[:most]) + more
