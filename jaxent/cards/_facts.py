"""All facts of a card, by the field of `LossCard` that they fill."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxent._examples import Loss
from jaxent.cards import (
    _curvature,
    _derivatives,
    _escape,
    _invariance,
    _noise,
    _precision,
    _properness,
    _push,
    _warnings,
)
from jaxent.cards._measuring import Subject

# In the order in which they are measured. A fact may use those before it, and draws its random
# points after theirs.
MEASUREMENTS: dict[str, Callable[[Subject, Mapping[str, Any]], Any]] = {
    "invariance": _invariance.measure,
    "derivatives": _derivatives.measure,
    "properness": _properness.measure,
    "noise": _noise.measure,
    "curvature": _curvature.measure,
    "push": _push.measure,
    "escape": _escape.measure,
    "precisions": _precision.measure,
    "warnings": _warnings.measure,
}

# What a fact uses beside the invariances.
_USED = {
    "curvature": ("derivatives",),
    "push": ("noise",),
    "warnings": ("derivatives", "properness"),
}


def facts_of(loss: Loss, num_classes: int, *wanted: str) -> dict[str, Any]:
    """Some facts of a loss, and those that they use, without the time of a whole card."""
    needed = {"invariance", *wanted}.union(*(_USED.get(fact, ()) for fact in wanted))
    facts: dict[str, Any] = {}
    with jax.enable_x64(True):
        subject = Subject(loss, num_classes, seed=0)
        for fact, measure in MEASUREMENTS.items():
            if fact in needed:
                facts[fact] = measure(subject, facts)
    return facts
