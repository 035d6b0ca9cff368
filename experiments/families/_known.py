"""Families of losses of which formulas give the facts.

    scaled(C)      L(s z) of each built-in loss
    clipped(C)     cross-entropy of probabilities that are clipped at ε
    composed(C)    sums, multiples, shifts and squashings of losses with a known range
    recoded(C)     losses with the targets a p + b
    judged(known)  what a card says of one of them, beside the formula

The formulas are of the margin, the probability of the truth, or the targets. No expected value is
taken from a card.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, softmax
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize_scalar

from jaxent import _catalogue as catalogue
from jaxent import losses
from jaxent._examples import Loss
from jaxent.cards._facts import facts_of

Facts = dict[str, Any]


class Fact(NamedTuple):
    """One fact of a card: its name, how to read it, and the value by a formula."""

    name: str
    read: Callable[[Facts], Any]
    expected: Any
    """The value, or a function of the facts: at the P that a card shows, for example."""
    rel: float = 0.0
    off: float = 0.0


class Known(NamedTuple):
    """A loss, and the facts of it that formulas give."""

    name: str
    loss: Loss
    num_classes: int
    facts: list[Fact]


class Judged(NamedTuple):
    """A fact beside the value that was expected."""

    fact: str
    expected: Any
    received: Any
    verdict: str
    """ "right", "wrong", or "no answer": the card says that it has found none."""


def judged(known: Known) -> list[Judged]:
    """What a card says of a loss, beside the formulas; only the facts asked for are measured."""
    wanted = {fact.name.split(".")[0] for fact in known.facts}
    facts: Facts = facts_of(known.loss, known.num_classes, *wanted)
    found = []
    for fact in known.facts:
        received = fact.read(facts)
        expected: Any = fact.expected(facts) if callable(fact.expected) else fact.expected
        if isinstance(received, (bool, str)):
            right = received == expected
        else:
            right = np.allclose(received, expected, fact.rel, fact.off)
        if isinstance(received, str):
            no_answer = fact.name == "escape.law" and received == "none"
        else:
            no_answer = bool(np.isnan(received).any())
        verdict = "right" if right else "no answer" if no_answer else "wrong"
        found.append(Judged(fact.name, expected, received, verdict))
    return found


def _fact(name: str, expected: Any, rel: float = 0.0, off: float = 0.0) -> Fact:
    """A fact by its place on the card, such as "noise.least"."""
    part, attribute = name.split(".", 1)

    def read(facts: Facts) -> Any:
        return getattr(facts[part], attribute)

    return Fact(name, read, expected, rel, off)


def _range(least: float, most: float) -> list[Fact]:
    tight = {"rel": 1e-6, "off": 1e-9}

    def is_bounded(facts: Facts) -> bool:
        """A card says so only where it has found a limit."""
        return math.isfinite(most) and not math.isnan(facts["noise"].most)

    bounded = _fact("noise.bounded", is_bounded)
    return [_fact("noise.least", least, **tight), _fact("noise.most", most, **tight), bounded]


# L(s z)

SCALES = (0.1, 0.37, 1.0, 3.3, 14.3, 47.0, 100.0)
_EXPONENTS = {
    "softmax_brier_score": 1.0,
    "softmax_mean_squared_error": 1.0,
    "softmax_mean_absolute_error": 1.0,
    "generalized_cross_entropy": 0.7,
}
_CONVEX = ("softmax_cross_entropy", "softmax_kl_divergence", "logit_squared_error", "squentropy")
_STRICT = {
    "softmax_cross_entropy": "softmax",
    "softmax_kl_divergence": "softmax",
    "softmax_brier_score": "softmax",
    "softmax_mean_squared_error": "softmax",
    "logit_squared_error": "identity",
}


def _dense() -> dict[str, Loss]:
    """The built-in losses of several logits and a P over the classes."""
    return {
        name: loss
        for name, loss in catalogue.built_in().items()
        if not catalogue.is_binary(loss) and not name.endswith("_with_integer_labels")
    }


def _slope(name: str, margin: Any, num_classes: int) -> Any:
    """dL/dm of the truth m behind all the others; m may be complex."""
    wrong = num_classes - 1
    a = np.exp(-margin) / (np.exp(-margin) + wrong)
    match name:
        case "softmax_cross_entropy" | "softmax_kl_divergence":
            return 1 - a
        case "softmax_brier_score":
            return 2 * num_classes / wrong * a * (1 - a) ** 2
        case "softmax_mean_squared_error":
            return 2 / wrong * a * (1 - a) ** 2
        case "softmax_mean_absolute_error":
            return 2 / num_classes * a * (1 - a)
        case "generalized_cross_entropy":
            return a**0.7 * (1 - a)
        case "softmax_focal_loss":
            return (1 - a) ** 2 * (1 - a - 2 * a * np.log(np.where(a == 0, 1, a)))
    raise ValueError(f"There is no formula for {name}.")


def _times(name: str, margins: np.ndarray, num_classes: int) -> np.ndarray:
    """The times to unlearn a mistake at s = 1, of ascending margins; ∞ beyond all numbers."""
    if name == "logit_squared_error":  # z′ = 2 (1 − z) from −m to 0
        return np.log1p(margins) / 2
    if name == "squentropy":
        return np.array([_time_of_squentropy(margin, num_classes) for margin in margins])
    pace = num_classes / (num_classes - 1)
    times, total, last = [], 0.0, 0.0
    for margin in margins:
        if name in _EXPONENTS and margin > 600:
            times.append(math.inf)
            continue
        panel = quad(
            lambda m: 1 / (pace * _slope(name, m, num_classes)),
            *(last, margin),
            epsabs=0.0,
            epsrel=1e-10,
            limit=500,
        )
        total, last = total + panel[0], margin
        times.append(total)
    return np.array(times)


def _time_of_squentropy(margin: float, num_classes: int) -> float:
    """The truth at x, all others at w: x′ = 1 − a, w′ = −(b + 2 w/(C − 1)), until they meet."""
    wrong = num_classes - 1

    def velocity(_: float, state: np.ndarray) -> list[float]:
        x, w = state
        a = 1 / (1 + wrong * np.exp(w - x))
        return [1 - a, -((1 - a) / wrong + 2 * w / wrong)]

    def tie(_: float, state: np.ndarray) -> float:
        return state[1] - state[0]

    tie.terminal = True  # pyright: ignore
    found: Any = solve_ivp(
        velocity, (0, 10 * margin + 10), [-margin, 0.0], "LSODA", events=tie, rtol=1e-10, atol=1e-12
    )
    return float(found.t_events[0][0])


@cache
def _smoothness(name: str, num_classes: int) -> float:
    """L at s = 1. With more classes than two it is that of two, as all curvature is in one gap."""
    if name == "logit_squared_error":
        return 2.0
    if name == "squentropy":  # J + 2/(C − 1) diag(0, 1, …, 1)
        rest = 2 / (num_classes - 1) * np.diag(np.arange(num_classes) > 0)

        def largest(q0: float) -> float:
            """The wrong classes share their probability: two of them all of it, or all alike."""
            q = np.zeros(num_classes)
            q[0], q[1:3] = q0, (1 - q0) / min(2, num_classes - 1)
            return float(np.linalg.eigvalsh(np.diag(q) - np.outer(q, q) + rest)[-1])

        inside: Any = minimize_scalar(lambda q0: -largest(q0), bounds=(0, 1), method="bounded")
        return max(largest(0.0), -inside.fun)

    def curvature(x: Any) -> Any:
        """2 |L″| of two classes by a complex step."""
        return 2 * np.abs(np.imag(_slope(name, x + 1e-30j, 2)) / 1e-30)

    x = np.linspace(-15, 15, 3001)
    near = x[curvature(x).argmax()]
    found: Any = minimize_scalar(
        lambda x: -curvature(x), bounds=(near - 0.01, near + 0.01), method="bounded"
    )
    mean = "mean" in name
    return -float(found.fun) * (2 / num_classes if mean else 1.0)


def _convexity(name: str, scale: float, num_classes: int) -> list[Fact]:
    """Whether L(s z) is convex; and of two classes, the share of the simplex where it is not."""
    convex = name in _CONVEX
    facts = [
        Fact(
            "curvature.convex",
            lambda facts: bool(facts["curvature"].least_eigenvalue >= 0),
            convex,
        ),
        Fact(
            "curvature, in words",
            lambda facts: facts["curvature"].short_words()["not convex"] == "nowhere",
            convex,
        ),
    ]
    share = float(not convex)
    if num_classes == 2 and not convex:  # each of them curves down from a certain margin on
        x = np.linspace(-5, 15, 200_001)
        down = np.imag(_slope(name, x + 1e-30j, 2)) < 0
        share = 1 / (1 + math.exp(min(x[down.argmax()] / scale, 700)))
    shows = 1 / 4096  # a share that a point of the card's can show
    of_three = name == "softmax_focal_loss" and num_classes == 3

    def shown(_: Facts) -> bool:
        return (_share_of_focal(scale) if of_three else share) > shows

    facts.append(
        Fact(
            "curvature.not_convex_share > 0",
            lambda facts: facts["curvature"].not_convex_share > 0,
            shown,
        )
    )
    return facts


@cache
def _share_of_focal(scale: float) -> float:
    """The share of a random part of the simplex where the focal loss f(a) is not convex.

    H = f″ a² r rᵀ + f′ a (r rᵀ − J) with r = e₀ − q, so vᵀH v is negative for some v ⊥ 1.
    """
    z = scale * np.log(np.random.default_rng(0).dirichlet(np.ones(3), 100_000))
    q = np.exp(z - z.max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    a, r = q[:, 0], np.eye(3)[0] - q
    # f = −(1 − a)² log a; f′ a, and f″ a²
    times_log = a * np.log(np.where(a == 0, 1, a))
    first = 2 * (1 - a) * times_log - (1 - a) ** 2
    second = -2 * a * times_log + 4 * (1 - a) * a + (1 - a) ** 2
    outer = r[:, :, None] * r[:, None, :]
    jacobian = q[:, :, None] * np.eye(3) - q[:, :, None] * q[:, None, :]
    hessian = (second + first)[:, None, None] * outer - first[:, None, None] * jacobian
    basis = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    return float((np.linalg.eigvalsh(basis @ hessian @ basis.T)[:, 0] < -1e-12).mean())


def _largest(name: str, num_classes: int) -> float:
    return {
        "softmax_brier_score": 2.0,
        "softmax_mean_squared_error": 2 / num_classes,
        "softmax_mean_absolute_error": 2 / num_classes,
        "generalized_cross_entropy": 1 / 0.7,
    }.get(name, math.inf)


def _link_of_a_scale(link: str, scale: float) -> str:
    if scale == 1:
        return link
    return "affine" if link == "identity" else f"softmax({scale:.3g} z)"


def scaled(num_classes: int) -> Iterator[Known]:
    """L(s z): T(m) = T₁(s m)/s², L = s² L₁, the same range, and the link of s z."""
    for (name, loss), scale in itertools.product(_dense().items(), SCALES):

        def of_scaled(z: Any, p: Any, loss: Loss = loss, scale: float = scale) -> Any:
            return loss(scale * z, p)

        @cache
        def expected_times(
            margins: tuple[float, ...], name: str = name, scale: float = scale
        ) -> Any:
            return _times(name, scale * np.array(margins), num_classes) / scale**2

        def times(facts: Facts, times: Any = expected_times) -> np.ndarray:
            return times(tuple(facts["escape"].margins))

        def off(facts: Facts, times: Any = times) -> float:
            """The largest relative error of the times that are known."""
            with np.errstate(invalid="ignore"):
                errors = np.abs(facts["escape"].times / times(facts) - 1)
            return float(np.nanmax(np.where(np.isfinite(times(facts)), errors, math.nan)))

        def untold(facts: Facts, times: Any = times) -> float:
            """How many times that are numbers the card does not know."""
            return float((~np.isfinite(facts["escape"].times) & (times(facts) < 1e250)).sum())

        exponent = _EXPONENTS.get(name)
        law = "exponential" if exponent else "linear"
        law = "logarithmic" if name == "logit_squared_error" else law
        facts = [
            _fact("escape.law", law),
            Fact("escape.times, relative error", off, 0.0, off=1e-6),
            Fact("escape.times, not told", untold, 0.0),
            _fact("curvature.smoothness", scale**2 * _smoothness(name, num_classes), rel=1e-3),
            *_convexity(name, scale, num_classes),
            *_range(0.0, _largest(name, num_classes)),
        ]
        if exponent:
            facts.append(_fact("escape.exponent", scale * exponent, rel=2e-3))
        if name in _STRICT:
            link = _link_of_a_scale(_STRICT[name], scale)
            facts.append(_fact("properness.link", link))
            facts.append(_fact("properness.strict", True))
        yield Known(f"{name} of {scale:g} z", of_scaled, num_classes, facts)


# Clips

CLIPS = tuple(10.0**-k for k in (3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 25, 30))
_DTYPES = ("float32", "bfloat16", "float16")


def clip_both(z: Any, p: Any, least: float) -> Any:
    return -jnp.sum(p * jnp.log(jnp.clip(softmax(z), least, 1 - least)))


def clip_below(z: Any, p: Any, least: float) -> Any:
    return -jnp.sum(p * jnp.log(jnp.maximum(softmax(z), least)))


def dead_from(loss: Loss, num_classes: int, dtype: str, farthest: float = 80.0) -> float:
    """The margin from which the gradient of a dtype is 0, by bisection; ∞ beyond the farthest.

    In 16 bits every number is tried.
    """
    gradient = jax.jit(jax.vmap(jax.grad(loss), (0, None)))

    def is_dead(margins: np.ndarray) -> np.ndarray:
        truth = jnp.eye(num_classes, dtype=dtype)[0]
        filled = jnp.asarray(np.resize(margins, 1 << 15), dtype)  # compiled once
        return np.asarray((gradient(-filled[:, None] * truth, truth) == 0).all(-1))[: len(margins)]

    grid = np.linspace(0, farthest, 1 << 15)
    if jnp.finfo(dtype).bits == 16:
        last = int(np.asarray(farthest, jnp.dtype(dtype)).view(np.uint16))
        grid = np.arange(last + 1, dtype=np.uint16).view(jnp.dtype(dtype)).astype(float)
    while True:
        alive = np.flatnonzero(~is_dead(grid))
        if not len(alive):
            return 0.0
        if alive[-1] == len(grid) - 1:
            return math.inf
        low, high = grid[alive[-1]], grid[alive[-1] + 1]
        if jnp.finfo(dtype).bits == 16 or high - low <= 1e-6:
            return float(high)
        grid = np.linspace(low, high, 1 << 10)


def clip(way: Callable[..., Any], least: float, num_classes: int, words: str = "clip") -> Known:
    """−Σ p log q, q clipped at ε: no gradient from the margin ln((1/ε − 1)/(C − 1)) on."""
    margin = math.log((1 / least - 1) / (num_classes - 1))
    loss = partial(way, least=least)
    facts = [
        _fact("escape.never_from", margin, rel=1e-5, off=1e-5),
        Fact("push.behind.start", lambda facts: facts["push"].behind.start, margin, 1e-5, 1e-5),
    ]
    for at, dtype in enumerate(_DTYPES):
        if least < float(jnp.finfo(dtype).smallest_subnormal):
            continue
        with jax.enable_x64(False):
            dead = dead_from(loss, num_classes, dtype)
        spacing = float(jnp.finfo(dtype).eps) * 2.0 ** math.floor(math.log2(margin))

        def zero_from(facts: Facts, at: int = at) -> float:
            return facts["precisions"].of[at].behind.zero_from

        facts.append(Fact(f"precisions.{dtype}", zero_from, dead, off=max(0.01, spacing)))
    return Known(f"−Σ p log {words}, ε = {least:.0e}", loss, num_classes, facts)


def clipped(num_classes: int) -> Iterator[Known]:
    """Both clips, and every ε."""
    ways = {"clip(q, ε, 1 − ε)": clip_both, "max(q, ε)": clip_below}
    for (words, way), least in itertools.product(ways.items(), CLIPS):
        yield clip(way, least, num_classes, words)


# Sums, multiples, shifts and squashings


def saturating(z: Any, p: Any) -> Any:
    return jnp.sum(jnp.abs(z - p) / (1 + jnp.abs(z - p)))


def stablemax(z: Any, p: Any) -> Any:
    s = jnp.where(z >= 0, z + 1, 1 / (1 - jnp.minimum(z, 0)))
    return -jnp.sum(p * jnp.log(s / jnp.sum(s)))


def soft_capped(z: Any, p: Any) -> Any:
    return -jnp.sum(p * log_softmax(30 * jnp.tanh(z / 30)))


_AFFINE = ((1.0, 0.0), (100.0, 0.0), (1e-3, 0.0), (1e-3, 5.0), (2.0, -3.0), (0.5, 1000.0))
_SQUASHINGS: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "L/(1 + L)": (lambda L: L / (1 + L), lambda L: 1 - 1 / (1 + L)),
    "arctan L": (jnp.arctan, math.atan),
    "tanh L": (jnp.tanh, math.tanh),
}


def composed(num_classes: int) -> Iterator[Known]:
    """a L + b, squashed L, and L + w M, where the ranges of L and M are known."""
    wrong = num_classes - 1
    of_gaps: dict[str, tuple[Loss, float]] = {
        "cross-entropy": (losses.softmax_cross_entropy, math.inf),
        "Brier": (losses.softmax_brier_score, 2.0),
        "MAE": (losses.softmax_mean_absolute_error, 2 / num_classes),
        "generalised CE": (losses.generalized_cross_entropy, 1 / 0.7),
        "stablemax": (stablemax, math.inf),
        "soft-capped": (soft_capped, 60 + math.log(wrong + math.exp(-60))),
    }
    of_logits: dict[str, tuple[Loss, float]] = {
        "squared error": (losses.logit_squared_error, math.inf),
        "Σ|d|/(1 + |d|)": (saturating, float(num_classes)),
    }
    for name, (loss, most) in (of_gaps | of_logits).items():
        for a, b in _AFFINE:
            yield Known(
                f"{a:g} L + {b:g}, L {name}",
                lambda z, p, loss=loss, a=a, b=b: a * loss(z, p) + b,
                num_classes,
                _range(b, a * most + b),
            )
        for squashed, (squash, at) in _SQUASHINGS.items():
            yield Known(
                f"{squashed}, L {name}",
                lambda z, p, loss=loss, squash=squash: squash(loss(z, p)),
                num_classes,
                _range(at(0.0), at(most)),
            )
    pairs = [*itertools.combinations(of_gaps.items(), 2), tuple(of_logits.items())]
    for ((one, (loss, most)), (two, (added, most_added))), weight in itertools.product(
        pairs, (0.01, 3.0)
    ):
        # With three classes they are largest in different corners.
        if num_classes > 2 and {one, two} == {"Brier", "soft-capped"}:
            continue
        yield Known(
            f"{one} + {weight:g} · {two}",
            lambda z, p, loss=loss, added=added, w=weight: loss(z, p) + w * added(z, p),
            num_classes,
            _range(0.0, most + weight * most_added),
        )
    for weight in (0.01, 1.0, 30.0):
        # Least at z = (1 + (C − 1) t, −t, …, −t), as ∂/∂z₀ = −(C − 1) ∂/∂zᵢ of both parts
        least: Any = minimize_scalar(
            lambda t, w=weight: (
                num_classes * wrong * t**2 + w * np.log1p(wrong * np.exp(-1 - num_classes * t))
            ),
            bracket=(0.0, 0.1),
        )
        yield Known(
            f"squared error + {weight:g} · cross-entropy",
            lambda z, p, w=weight: (
                losses.logit_squared_error(z, p) + w * losses.softmax_cross_entropy(z, p)
            ),
            num_classes,
            _range(float(least.fun), math.inf),
        )


# Targets a p + b

CODES = ((1.0, 0.0), (1.0, 0.5), (2.0, -1.0), (-2.0, 1.0), (1.0, -0.5), (0.5, 0.25), (0.9, 0.05))
_FAR_CODES = ((5.0, 0.0), (10.0, -5.0), (-3.0, 1.0), (1.0, 5.0), (30.0, 0.0), (100.0, 0.0))
_SMOOTHINGS = (0.01, 0.05, 0.1, 0.3, 0.6, 0.9)


def _minimizer(expected: Callable[[np.ndarray], np.ndarray], of: str = "minimizer") -> Fact:
    """The minimiser at the P that the card shows."""
    return _fact(f"properness.{of}", lambda facts: expected(facts["properness"].target), off=1e-4)


def recoded(num_classes: int) -> Iterator[Known]:
    """Squared error, on logits and on tanh z, and cross-entropy, with the targets a p + b."""
    one_hot = np.eye(num_classes)[0]
    for a, b in CODES + _FAR_CODES:

        def code(p: Any, a: float = a, b: float = b) -> Any:
            return a * p + b

        words = f"{a:g} p + {b:g}"
        link = "identity" if (a, b) == (1, 0) else "affine"
        yield Known(
            f"Σ(z − ({words}))²",
            lambda z, p, code=code: jnp.sum((z - code(p)) ** 2),
            num_classes,
            [
                *_range(0.0, math.inf),
                _fact("properness.strict", True),
                _fact("properness.link", link),
                _minimizer(code),
            ],
        )
        codes = code(one_hot)
        if np.abs(codes).max() > 1:
            continue
        # tanh z = 2 p − 1 is z = ½ log(p/(1 − p)). Of two classes, softmax(z) = p then.
        links = {(2.0, -1.0): "sigmoid(2 z)", (-2.0, 1.0): "sigmoid(-2 z)"}
        if num_classes == 2:
            links[2.0, -1.0] = "softmax"
        link = links.get((a, b), "another")
        yield Known(
            f"Σ(tanh z − ({words}))²",
            lambda z, p, code=code: jnp.sum((jnp.tanh(z) - code(p)) ** 2),
            num_classes,
            [
                *_range(0.0, float(np.sum((1 + np.abs(codes)) ** 2))),
                _fact("properness.strict", True),
                _fact("properness.link", link),
                _minimizer(lambda p, code=code: np.arctanh(code(p))),
            ],
        )
    smoothings = [(1 - alpha, alpha / num_classes) for alpha in _SMOOTHINGS]
    for a, b in [*smoothings, (1.0, 0.1), (3.0, 0.5), (1.1, -0.05)]:
        codes = a * one_hot + b
        total = codes.sum()
        known = _range(-math.inf, math.inf)
        if b > 0:

            def q(p: Any, a: float = a, b: float = b, total: float = total) -> Any:
                return (a * p + b) / total

            known = _range(float(-codes @ np.log(codes / total)), math.inf)
            known += [_fact("properness.strict", True), _fact("properness.link", "another")]
            known.append(_minimizer(q, "minimizer_q"))
        yield Known(
            f"−Σ ({a:g} p + {b:.3g}) log q",
            lambda z, p, a=a, b=b: losses.softmax_cross_entropy(z, a * p + b),
            num_classes,
            known,
        )
