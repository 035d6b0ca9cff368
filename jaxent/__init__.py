"""jaxent: what does this loss do to my gradients?

The modules are the API, and each is loaded when it is first asked for:

    from jaxent import losses, gradients

`import jaxent` alone loads neither jax nor matplotlib.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxent import (
        cards,
        curvature,
        derivatives,
        descent,
        gradients,
        information,
        losses,
        pages,
        plots,
        portraits,
        theory,
    )

__version__ = "0.1.0"

__all__ = [
    "cards",
    "curvature",
    "derivatives",
    "descent",
    "gradients",
    "information",
    "losses",
    "pages",
    "plots",
    "portraits",
    "theory",
]


def __getattr__(name: str):
    if name in __all__:
        return importlib.import_module(f"jaxent.{name}")
    raise AttributeError(f"module 'jaxent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
