"""A loss of three classes as a table, in JavaScript.

For what cannot be translated. The table holds the loss where P is all on one class, in a chart of
the simplex that stretches its corners and edges: with y the true class and j, k those that follow
it in turn,

    u = log(q_y/(1 − q_y)),        v = log(q_j/q_k),        both from −16 to 16.

Between its points L and the components of g = ∂L/∂z are bicubic splines.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import interpolate, ndimage

# u and v are 4 sinh x with even steps of x: short ones in the middle, where losses turn, and long
# ones in the tails, where they have become exponentials
CELLS = 32
EDGE = 16.0
BEND = 4.0

DIGITS = 5


def tabulate(evaluate: Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]) -> tuple[str, float]:
    """The table of a loss, and how far it is off.

    Args:
        evaluate: the values and gradients at logits [N, 3] that sum to zero, for one P [3].

    Returns:
        A JavaScript function (z, p) => [L, g₀, g₁, g₂], which reads p by its largest entry and z
        up to a constant, and holds u and v at the edges outside of them; and the largest error of
        a component of g at the centres of the cells, over the largest norm ‖g‖ met for the same
        P. Where the loss is not finite, which does not count as an error, the table goes on with
        the nearest numbers that are.
    """
    sides = np.linspace(0, CELLS, CELLS + 1), np.linspace(0.5, CELLS - 0.5, CELLS)
    knots, centres = (np.stack(np.meshgrid(side, side, indexing="ij"), -1) for side in sides)
    places = np.concatenate([knots.reshape(-1, 2), centres.reshape(-1, 2)])
    tables: list[np.ndarray] = []
    errors = []
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        logits = _logits(places)[:, np.argsort(order)]
        values, gradients = evaluate(logits, np.eye(3)[order[0]])
        numbers = np.column_stack([values, np.asarray(gradients)[:, order]]).astype(np.float64)
        samples = _continued(numbers[: (CELLS + 1) ** 2].reshape(CELLS + 1, CELLS + 1, 4))
        table = np.vectorize(lambda x: float(f"{x:.{DIGITS}g}"))(_spline(samples))
        # a loss to which all classes are alike has one table
        table = next((other for other in tables if _is_same(other, table)), table)
        tables.append(table)
        truth = np.concatenate([samples.reshape(-1, 4), numbers[(CELLS + 1) ** 2 :]])
        errors.append(_worst_error(_interpolated(table, places), truth))
    return _printed(tables), max(errors)


def _logits(places: np.ndarray) -> np.ndarray:
    """Of y, j, k, at places that are counted in knots."""
    u, v = EDGE / BEND * np.sinh((2 * places.T / CELLS - 1) * np.arcsinh(BEND))
    logits = np.stack([u + np.logaddexp(v / 2, -v / 2), v / 2, -v / 2], -1)
    return logits - logits.mean(-1, keepdims=True)


def _continued(samples: np.ndarray) -> np.ndarray:
    missing = ~np.isfinite(samples).all(-1)
    nearest: Any = ndimage.distance_transform_edt(missing, None, False, True)
    return samples[tuple(nearest)]


def _spline(samples: np.ndarray) -> np.ndarray:
    """The coefficients of the cubic B-splines, at every knot and one beyond each end.

    The condition at an end is that there is no jump of the third derivative at the next knot.
    """
    count = len(samples) + 2
    system = (np.eye(count, k=-1) + 4 * np.eye(count) + np.eye(count, k=1)) / 6
    system[0, :5] = system[-1, -5:] = 1, -4, 6, -4, 1
    solution = np.linalg.inv(system)[:, 1:-1]
    return np.einsum("in,jm,nmc->ijc", solution, solution, samples)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, 10.0 ** (1 - DIGITS), 1e-12 * np.abs(one).max())


def _interpolated(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    knots = np.arange(-3.0, CELLS + 4)
    return interpolate.NdBSpline((knots, knots), table, 3)(places)


def _worst_error(received: np.ndarray, truth: np.ndarray) -> float:
    finite = np.isfinite(truth).all(-1)
    if not finite.any():
        return math.inf
    error = np.abs(received - truth)[finite, 1:].max()
    return float(error / np.linalg.norm(truth[finite, 1:], axis=-1).max()) if error > 0 else 0.0


def _printed(tables: Sequence[np.ndarray]) -> str:
    texts = ["[" + ",".join(f"{x:.{DIGITS}g}" for x in table.flat) + "]" for table in tables]
    distinct = list(dict.fromkeys(texts))
    numbers = ",".join(distinct).replace("nan", "NaN")
    numbers = re.sub(r"(?<![\d.])0(?=\.)|(?<=e-)0", "", numbers)
    of_class = [distinct.index(text) for text in texts]
    return _SCRIPT.replace("NUMBERS", numbers).replace("OF_CLASS", str(of_class))


_SCRIPT = re.sub(
    r"\n *",
    "",
    f"""(()=>{{
    const tables=[NUMBERS],place=x=>{{
        const s=(Math.asinh(x*{BEND / EDGE})/Math.asinh({BEND})+1)*{CELLS / 2},
        c=Math.min(Math.max(s,0),{CELLS}),n=Math.min(Math.floor(c),{CELLS - 1}),t=c-n,r=1-t;
        return[n,[r**3/6,(3*t-6)*t*t/6+2/3,(3*r-6)*r*r/6+2/3,t**3/6]]
    }};
    return(z,p)=>{{
        const y=p.indexOf(Math.max(...p)),j=(y+1)%3,k=(y+2)%3,v=z[j]-z[k],
        u=z[y]-Math.max(z[j],z[k])-Math.log1p(Math.exp(-Math.abs(v))),
        [m,a]=place(u),[n,b]=place(v),table=tables[OF_CLASS[y]],s=[0,0,0,0],g=[];
        for(let i=0;i<16;i++){{
            const w=a[i>>2]*b[i&3],at=4*((m+(i>>2))*{CELLS + 3}+n+(i&3));
            for(let c=0;c<4;c++)s[c]+=w*table[at+c]
        }}
        g[y]=s[1];g[j]=s[2];g[k]=s[3];
        return[s[0],...g]
    }}
    }})()""",
)
