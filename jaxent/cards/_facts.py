"""All facts of a card, by the field of `LossCard` that they fill."""

from collections.abc import Callable, Mapping
from typing import Any

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
