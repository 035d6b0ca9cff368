"""When does squared error provably win, and when does it lose?

The examples of each class are a Gaussian cloud, the clouds differ in their means alone, and the
logits are linear in x: then everything can be computed. With two classes, y = ±1, the logits are
∓s/2, s = b + w·x, and m = y s is the margin by which an example is right. The losses are

    cross-entropy                    ln(1 + e⁻ᵐ)
    squared error on logits          ½ (1 − m)² + ½
    squared error on probabilities   2 σ(−m)²

*Few dimensions.* The means are Δ apart, the covariance is the identity. Squared error on logits is
regression on the labels ±1, and that is Fisher's linear discriminant: with d̂ the difference of the
means of the classes, S their common covariance (over n), π₁ and π₀ their shares, D² = d̂ᵀS⁻¹d̂,

    w = 2π₁π₀ S⁻¹d̂ / (1 + π₁π₀ D²),    b = ȳ − w·x̄.

The border lies where the discriminant has it but for (π₁ − π₀)/2π₁π₀ in place of ln(π₁/π₀), which
differs from it by the third power of π₁ − π₀. The discriminant uses that the clouds are Gaussian,
cross-entropy does not. Any of the losses ends, with n examples, near its best b = 0 and w = (β, 0),
and errs more than the best rule by a multiple of E[ℓ′²]/(nβ²E[ℓ″]²). Of cross-entropy, which ends
at β = Δ, this makes the discriminant's over its own, with v = q(1 − q), q = σ(s),

    (4 + Δ²) E[v] = 2(1 + Δ²/4) (2π)^{−1/2} e^{−Δ²/8} ∫ e^{−x²/2}/(e^{Δx/2} + e^{−Δx/2}) dx:

Efron's asymptotic relative efficiency ("The efficiency of logistic regression compared to normal
discriminant analysis", 1975). Cross-entropy needs 1/efficiency times the examples. Squared error on
probabilities ends at β = Δ too, with the efficiency (4 + Δ²) E[v²]²/E[v³], which by Cauchy and
Schwarz is never more.

*Many dimensions.* The means are ±μ, |μ| = r, and d/n → γ as both grow. Without intercept w is
parallel to S⁻¹ū, ū the mean of y x; S is a Wishart matrix and independent of ū, so ūᵀS⁻¹μ →
r²/(1 − γ) and |S⁻¹ū|² → (r² + γ)/(1 − γ)³, and squared error on logits errs with

    Q(r² √(1 − γ) / √(r² + γ)),    Q the Gaussian tail.

Cross-entropy has a minimum only if no hyperplane separates the examples. By Gordon's comparison one
does, as n grows, from γ = min_t E[(√(1 + t²) Z − t r)₊²] on, Z ~ N(0, 1): 0.27027 for r = 1. Past
that, descent on cross-entropy never ends, and has to be stopped.

*Three classes in a line*, their means at −δ, 0 and δ, of unit variance, one feature x. The outputs
of squared error on logits are the best lines through three indicators: 1/3 ± (δ/3) x/(2δ²/3 + 1)
for the outer classes, and 1/3 for the middle one, which never is the largest. Cross-entropy finds
Bayes' rule, for the logarithms of its odds are lines:

    squared error on logits   errs with 1/3 + (2/3) Q(δ)  → 1/3
    cross-entropy             errs with (4/3) Q(δ/2)      → 0

Measured is with 10000 examples in 4 dimensions, with 400 in many, and of three classes with all
that there could be. Error rates of a border are exact.

Predictions:

- The formula gives what Efron reports, efficiencies of 0.9949, 0.8992, 0.641 and 0.343 at Δ = 1, 2,
  3 and 4, within 0.00005; the losses' own derivatives give the formula, within 1e-9.
- Squared error on probabilities: efficiency 0.958079, 0.782864, 0.514979 and 0.261252.
- Squared error on logits is the discriminant: its b and w are those above, within 1e-9.
- Few dimensions: the ratio of the excess errors is the efficiency of cross-entropy within 0.06.
- Many, r = 1: squared error on logits errs with 0.182856, 0.231536, 0.281851, 0.337212 and 0.409273
  at γ = 0.1, 0.3, 0.5, 0.7 and 0.9, within 0.01.
- There cross-entropy, at its minimum, errs by 0.001 more at γ = 0.1 and by 0.005 more at γ = 0.2.
- It has a minimum in at least 0.8 of the draws at γ = 0.2, and in at most 0.2 of them at γ = 0.35.
- γ = 0.9: stopped after 20 steps, either loss errs less than squared error at its minimum by at
  least 0.1, and the two differ by at most 0.02.
- Three classes in a line: the errors are those above, within 1e-9: 0.3485, 0.333354 and 0.333333 at
  δ = 2, 4 and 6 by squared error, 0.211540, 0.0303335 and 0.00179986 by cross-entropy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import binomtest, norm

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Relation, Row, claim, prediction
from experiments._training import bootstrap
from jaxent import losses, theory
from jaxent._examples import Loss

SECONDS = 12

CROSS_ENTROPY = losses.softmax_cross_entropy
LOGIT_SQUARED_ERROR = losses.logit_squared_error
SQUARED_ERROR = losses.softmax_brier_score

DISTANCES = (1.0, 2.0, 3.0, 4.0)
EFRON_REPORTS = (0.9949, 0.8992, 0.6410, 0.3430)
EXAMPLES, DIMENSIONS, DRAWS = 10_000, 4, 300
NEWTON_STEPS = 7

RADIUS = 1.0
MANY_EXAMPLES, MANY_DRAWS = 400, 20
ASPECT_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
BELOW_THRESHOLD, PAST_THRESHOLD = (0.1, 0.2), 0.35
NEWTON_STEPS_TO_SEPARATE = 30
# 1/L where the largest eigenvalue of the examples' second moments is 4, as it nearly is at γ = 0.9
CROSS_ENTROPY_STEP, LOGIT_SQUARED_ERROR_STEP = 1.0, 0.25
STOP = 20

SEPARATIONS = (2.0, 4.0, 6.0)
SEED = 0
BLUE, GREEN, VERMILION = colours.CROSS_ENTROPY, colours.LOGIT_SQUARED_ERROR, colours.SQUARED_ERROR

efficiency_of_cross_entropy = jax.jit(theory.statistics.logistic_relative_efficiency)
limit_of_least_squares = jax.jit(theory.statistics.least_squares_error_rate)


# Losses of the margin, and their minima


def of_margin(loss: Loss) -> Callable[[Array], Array]:
    """ℓ(m): the loss of two logits, ∓m/2, whose second class is the truth."""
    return lambda margin: loss(jnp.stack([-margin / 2, margin / 2]), jnp.array([0.0, 1.0]))


def slopes_and_curvatures(loss: Loss) -> Callable[[Array], tuple[Array, Array]]:
    """ℓ′ and ℓ″ at each of many margins."""
    slope = jax.grad(of_margin(loss))
    return jax.vmap(lambda margin: jax.jvp(slope, (margin,), (jnp.ones_like(margin),)))


class Minimum(NamedTuple):
    """Where Newton's method ended."""

    coefficients: Array
    gradient_norm: Array
    """Before the last step."""
    separates: Array
    """Whether some step on the way had all margins positive."""


def newton(
    loss: Loss, steps: int, rows: Float[Array, "examples d"], start: Float[Array, " d"]
) -> Minimum:
    """Least mean of ℓ(rows · coefficients): a row is y x, so that the product is the margin.

    A column of zeros, a feature that is not there, keeps its coefficient.
    """
    derivatives = slopes_and_curvatures(loss)

    def step(coefficients: Array, _) -> tuple[Array, tuple[Array, Array]]:
        margins = rows @ coefficients
        slopes, curvatures = derivatives(margins)
        gradient = rows.T @ slopes
        hessian = (rows.T * curvatures) @ rows
        hessian += jnp.diag((jnp.diagonal(hessian) == 0).astype(rows.dtype))
        moved = coefficients - jnp.linalg.solve(hessian, gradient)
        return moved, (jnp.linalg.norm(gradient) / len(rows), margins.min() > 0)

    end, (norms, separates) = jax.lax.scan(step, start, None, length=steps)
    return Minimum(end, norms[-1], separates.any())


@partial(jax.jit, static_argnums=(0, 1))
def minima(
    loss: Loss, steps: int, rows: Float[Array, "draws examples d"], start: Float[Array, " d"]
) -> Minimum:
    """The minimum of each of many sets of examples."""
    return jax.lax.map(lambda examples: newton(loss, steps, examples, start), rows)


# Few dimensions


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0))
def expected_excess(loss: Loss, distance: Array) -> Float[Array, ""]:
    """E[ℓ′²]/(β E[ℓ″])² by quadrature: n times the excess error, but for what all losses share."""
    derivatives = slopes_and_curvatures(loss)
    # y x₁ ~ N(Δ/2, 1), whichever the class, and the margin is β times it
    signed = distance / 2 + jnp.arange(-12, 12, 0.02)
    weights = jax.scipy.stats.norm.pdf(signed - distance / 2)
    weights /= weights.sum()

    def step(beta: Array, _) -> tuple[Array, None]:
        slopes, curvatures = derivatives(beta * signed)
        return beta - weights @ (slopes * signed) / (weights @ (curvatures * signed**2)), None

    beta, _ = jax.lax.scan(step, distance, None, length=NEWTON_STEPS)
    slopes, curvatures = derivatives(beta * signed)
    # the intercept sees E[ℓ′²] and E[ℓ″] themselves, and so does every direction across
    return weights @ slopes**2 / (beta * (weights @ curvatures)) ** 2


def efficiencies(loss: Loss) -> Float[np.ndarray, " distances"]:
    """The excess error of squared error on logits over that of another loss, n → ∞."""
    of_squares, of_other = (
        np.asarray(expected_excess(each, np.array(DISTANCES)))
        for each in (LOGIT_SQUARED_ERROR, loss)
    )
    return of_squares / of_other


def brier_score_efficiency(distance: float) -> float:
    """(4 + Δ²) E[v²]²/E[v³]."""

    def moment(power: int) -> float:
        def integrand(x: float) -> float:
            q = 1 / (1 + math.exp(-distance * x))
            return math.exp(-((x - distance / 2) ** 2) / 2) * (q * (1 - q)) ** power

        integral, _ = quad(integrand, distance / 2 - 12, distance / 2 + 12, epsabs=1e-13, limit=200)
        return integral / math.sqrt(2 * math.pi)

    return (4 + distance**2) * moment(2) ** 2 / moment(3)


def of_theory() -> list[Row]:
    """Efron's numbers, the formula, and the derivatives of the losses."""
    formula = np.asarray(efficiency_of_cross_entropy(np.array(DISTANCES)))
    return [
        *(
            claim(
                f"efficiency of cross-entropy, Δ = {distance:g}: the formula against what Efron "
                "reports",
                predicted=reported,
                measured=value,
                tolerance=5e-5,
            )
            for distance, reported, value in zip(DISTANCES, EFRON_REPORTS, formula, strict=True)
        ),
        claim(
            "efficiency of cross-entropy, Δ = 1, 2, 3 and 4: largest difference between the "
            "losses' own derivatives and the formula",
            predicted=0,
            measured=np.abs(efficiencies(CROSS_ENTROPY) - formula).max(),
            tolerance=1e-9,
        ),
        *(
            claim(
                f"efficiency of squared error on probabilities, Δ = {distance:g}, by the losses' "
                "own derivatives",
                predicted=brier_score_efficiency(distance),
                measured=measured,
                tolerance=1e-9,
            )
            for distance, measured in zip(DISTANCES, efficiencies(SQUARED_ERROR), strict=True)
        ),
    ]


def excess_errors(coefficients: Float[np.ndarray, "draws 1+d"], distance: float) -> np.ndarray:
    """How much oftener than the best border each of these errs, exactly."""
    intercept, along = coefficients[:, 0], coefficients[:, 1] * distance / 2
    norms = np.linalg.norm(coefficients[:, 1:], axis=1)
    errors = ndtr((-along - intercept) / norms) / 2 + ndtr((-along + intercept) / norms) / 2
    return errors - ndtr(-distance / 2)


def discriminant(labels: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """b and w of Fisher's linear discriminant, in the scale of the regression on ±1."""
    classes = [examples[labels == label] for label in (-1, 1)]
    share_of_first, share_of_second = (len(members) / len(examples) for members in classes)
    product = share_of_first * share_of_second
    first, second = (np.cov(members.T, bias=True) for members in classes)
    difference = classes[1].mean(axis=0) - classes[0].mean(axis=0)
    direction = np.linalg.solve(share_of_first * first + share_of_second * second, difference)
    weights = 2 * product * direction / (1 + product * difference @ direction)
    return np.append(labels.mean() - weights @ examples.mean(axis=0), weights)


def of_few_dimensions(progress: Progress) -> list[Row]:
    """The discriminant, and the ratio of the excess errors at each distance."""
    rows = []
    formula = np.asarray(efficiency_of_cross_entropy(np.array(DISTANCES)))
    for index, distance in enumerate(DISTANCES):
        progress(f"{DRAWS} fits of each loss, Δ = {distance:g}", 0.05 + 0.13 * index)
        generator = np.random.default_rng([SEED, index])
        labels = generator.choice([-1.0, 1.0], (DRAWS, EXAMPLES))
        # y times the noise has the law of the noise
        signed = generator.standard_normal((DRAWS, EXAMPLES, 1 + DIMENSIONS))
        signed[..., 0] = labels
        signed[..., 1] += distance / 2
        start = np.zeros(1 + DIMENSIONS)
        start[1] = distance
        by_squares, by_entropy = (
            np.asarray(minima(loss, steps, signed, start).coefficients)
            for loss, steps in ((LOGIT_SQUARED_ERROR, 1), (CROSS_ENTROPY, NEWTON_STEPS))
        )
        if index == 0:
            expected = discriminant(labels[0], labels[0][:, None] * signed[0, :, 1:])
            rows.append(
                claim(
                    "squared error on logits: largest difference of b and w from those of the "
                    "linear discriminant",
                    predicted=0,
                    measured=np.abs(by_squares[0] - expected).max(),
                    tolerance=1e-9,
                )
            )
        ratio, low, high = bootstrap(
            excess_errors(by_squares, distance),
            excess_errors(by_entropy, distance),
            of_means=np.divide,
        )
        rows.append(
            prediction(
                "excess error of squared error on logits over that of cross-entropy, Δ = "
                f"{distance:g}",
                predicted=formula[index],
                measured=ratio,
                tolerance=0.06,
                interval=(low, high),
                seeds=DRAWS,
                protocol=f"each {EXAMPLES} examples in {DIMENSIONS} dimensions, fitted by both "
                "losses to the minimum; error rates exact; ratio of their means over the seeds, "
                "95 % by expanded percentiles of the paired bootstrap",
            )
        )
    return rows


# Many dimensions


def signed_examples(
    aspect_ratio: float, largest: float
) -> Float[np.ndarray, "draws examples features"]:
    """y x, one set of examples a draw; features past γn are 0, so that all γ share a program."""
    shape = MANY_DRAWS, MANY_EXAMPLES, round(largest * MANY_EXAMPLES)
    signed = np.random.default_rng([SEED, len(DISTANCES)]).standard_normal(shape)
    signed[..., 0] += RADIUS
    signed[..., round(aspect_ratio * MANY_EXAMPLES) :] = 0
    return signed


@partial(jax.jit, static_argnums=0)
def stopped(
    loss: Loss, signed: Float[Array, "draws examples d"], learning_rate: Array
) -> Float[Array, "draws d"]:
    """STOP steps of descent from 0 on the mean loss."""
    slope = jax.vmap(jax.grad(of_margin(loss)))

    def descend(rows: Array) -> Array:
        def step(coefficients: Array, _) -> tuple[Array, None]:
            gradient = rows.T @ slope(rows @ coefficients) / len(rows)
            return coefficients - learning_rate * gradient, None

        return jax.lax.scan(step, jnp.zeros(rows.shape[1], rows.dtype), None, length=STOP)[0]

    return jax.lax.map(descend, signed)


def error_rates(coefficients: Array) -> Float[np.ndarray, " draws"]:
    """Of planes through the origin, exactly; μ = (r, 0, …, 0)."""
    fits = np.asarray(coefficients)
    return ndtr(-RADIUS * fits[:, 0] / np.linalg.norm(fits, axis=1))


class ManyDimensions(NamedTuple):
    """Error rates of each draw, by γ."""

    least_squares: dict[float, np.ndarray]
    cross_entropy: dict[float, np.ndarray]
    """NaN for a draw without a minimum."""
    stopped_least_squares: dict[float, np.ndarray]
    stopped_cross_entropy: dict[float, np.ndarray]


def many_dimensions() -> ManyDimensions:
    """Fit to the minimum where there is one, and up to the stop."""
    found = ManyDimensions({}, {}, {}, {})
    for ratio in sorted({*ASPECT_RATIOS, *BELOW_THRESHOLD}):
        signed = signed_examples(ratio, max(ASPECT_RATIOS))
        minimum = minima(LOGIT_SQUARED_ERROR, 1, signed, np.zeros(signed.shape[-1]))
        found.least_squares[ratio] = error_rates(minimum.coefficients)
        found.stopped_least_squares[ratio] = error_rates(
            stopped(LOGIT_SQUARED_ERROR, signed, LOGIT_SQUARED_ERROR_STEP)
        )
        found.stopped_cross_entropy[ratio] = error_rates(
            stopped(CROSS_ENTROPY, signed, CROSS_ENTROPY_STEP)
        )
    for ratio in (*BELOW_THRESHOLD, PAST_THRESHOLD):
        signed = signed_examples(ratio, PAST_THRESHOLD)
        start = np.zeros(signed.shape[-1])
        fits = minima(CROSS_ENTROPY, NEWTON_STEPS_TO_SEPARATE, signed, start)
        # Positive weights −ℓ′ that balance the examples prove that no plane separates them.
        exists = ~np.asarray(fits.separates) & (np.asarray(fits.gradient_norm) < 1e-9)
        found.cross_entropy[ratio] = np.where(exists, error_rates(fits.coefficients), np.nan)
    return found


def mean_of_finite(errors: Float[np.ndarray, " draws"]) -> tuple[float, float, float]:
    """Mean and 95 % interval over the draws that have an error rate."""
    finite = errors[np.isfinite(errors)]
    return bootstrap(finite) if finite.size > 1 else (math.nan, math.nan, math.nan)


def threshold() -> float:
    """The d/n from which on, in the limit, a plane separates the examples."""
    t = np.linspace(0, 10, 100_001)
    scale = np.hypot(1, t)
    a = t * RADIUS / scale
    return float(np.min(scale**2 * ((1 + a**2) * norm.sf(a) - a * norm.pdf(a))))


def of_many_dimensions(found: ManyDimensions) -> list[Row]:
    """Squared error against its limit, cross-entropy beside it, and what a stop does."""
    examples = f"each {MANY_EXAMPLES} examples in γ {MANY_EXAMPLES} dimensions, r = {RADIUS:g}"
    protocol = (
        f"{examples}; error rates exact; mean over the seeds, 95 % by expanded percentiles of the "
        "bootstrap"
    )

    def row(statement: str, errors: np.ndarray, **expected: Any) -> Row:
        mean, low, high = mean_of_finite(errors)
        return prediction(
            statement,
            measured=mean,
            interval=(low, high),
            seeds=int(np.isfinite(errors).sum()),
            protocol=protocol,
            **expected,
        )

    limits = np.asarray(limit_of_least_squares(RADIUS, np.array(ASPECT_RATIOS)))
    rows = [
        row(
            f"error rate of squared error on logits, γ = {ratio}",
            found.least_squares[ratio],
            predicted=limit,
            tolerance=0.01,
        )
        for ratio, limit in zip(ASPECT_RATIOS, limits, strict=True)
    ]
    for ratio, more in zip(BELOW_THRESHOLD, (0.001, 0.005), strict=True):
        rows.append(
            row(
                f"error rate of cross-entropy less that of squared error on logits, γ = {ratio}, "
                "draws on which cross-entropy has a minimum",
                found.cross_entropy[ratio] - found.least_squares[ratio],
                predicted=more,
                relation="≥",
            )
        )
    bounds: list[tuple[float, float, Relation]] = [
        (BELOW_THRESHOLD[-1], 0.8, "≥"),
        (PAST_THRESHOLD, 0.2, "≤"),
    ]
    for ratio, share, relation in bounds:
        has_minimum = np.isfinite(found.cross_entropy[ratio])
        count = binomtest(int(has_minimum.sum()), len(has_minimum))
        rows.append(
            prediction(
                f"share of draws on which cross-entropy has a minimum, γ = {ratio}; the threshold "
                f"is {threshold():.5f}",
                predicted=share,
                relation=relation,
                measured=count.statistic,
                interval=count.proportion_ci(),
                seeds=len(has_minimum),
                protocol=f"{examples}; Newton's method ends in a zero of the gradient, or passes a "
                "plane that separates; exact binomial 95 %",
            )
        )
    ratio = ASPECT_RATIOS[-1]
    by_squares, by_entropy = found.stopped_least_squares[ratio], found.stopped_cross_entropy[ratio]
    for name, errors in (
        ("squared error on logits", by_squares),
        ("cross-entropy", by_entropy),
    ):
        rows.append(
            row(
                f"error rate of squared error on logits at its minimum less that of {name} stopped "
                f"after {STOP} steps, γ = {ratio}",
                found.least_squares[ratio] - errors,
                predicted=0.1,
                relation="≥",
            )
        )
    rows.append(
        row(
            f"error rate of cross-entropy less that of squared error on logits, both stopped after "
            f"{STOP} steps, γ = {ratio}",
            by_entropy - by_squares,
            predicted=0,
            tolerance=0.02,
        )
    )
    return rows


# Three classes in a line


@partial(jax.jit, static_argnums=0)
def fit_three_classes(loss: Loss, separation: Array) -> Float[Array, "2 classes"]:
    """Slopes and intercepts with the least expected loss, by Newton's method on a fine grid."""
    means = separation * jnp.array([-1.0, 0.0, 1.0])
    x = jnp.linspace(-9, 9, 801) * (1 + separation / 9)
    joint = jax.scipy.stats.norm.pdf(x[:, None] - means)
    joint /= joint.sum()

    def objective(lines: Array) -> Array:
        slopes, intercepts = lines.reshape(2, 3)
        logits = jnp.outer(x, slopes) + intercepts
        by_class = jax.vmap(lambda target: jax.vmap(lambda z: loss(z, target))(logits))
        return jnp.sum(joint.T * by_class(jnp.eye(3)))

    def step(lines: Array, _) -> tuple[Array, None]:
        # A common line on all logits changes no softmax: hence the pseudoinverse.
        inverse = jnp.linalg.pinv(jax.hessian(objective)(lines), hermitian=True)
        return lines - inverse @ jax.grad(objective)(lines), None

    return jax.lax.scan(step, jnp.zeros(6), None, length=20)[0].reshape(2, 3)


class Borders(NamedTuple):
    """Between which x the middle class is chosen; the same x twice if nowhere."""

    low: float
    high: float


def borders(lines: Float[np.ndarray, "2 classes"]) -> Borders:
    """Where the highest of three lines changes, their slopes being in order."""
    slopes, intercepts = np.asarray(lines)

    def crossing(first: int, second: int) -> float:
        return (intercepts[first] - intercepts[second]) / (slopes[second] - slopes[first])

    low, high = crossing(0, 1), crossing(1, 2)
    return Borders(low, high) if low < high else Borders(crossing(0, 2), crossing(0, 2))


def error_rate_of_three(lines: Float[np.ndarray, "2 classes"], separation: float) -> float:
    """Of all examples that there could be."""
    low, high = borders(lines)
    right = ndtr(low + separation) + (ndtr(high) - ndtr(low)) + ndtr(separation - high)
    return 1 - right / 3


def of_three_classes(lines: Mapping[str, Mapping[float, np.ndarray]]) -> list[Row]:
    """The error rates against their closed forms."""
    closed_forms = {
        "squared error on logits": lambda separation: 1 / 3 + 2 / 3 * norm.sf(separation),
        "cross-entropy": lambda separation: 4 / 3 * norm.sf(separation / 2),
    }
    return [
        claim(
            f"three classes in a line: error rate of {name}, δ = {separation:g}",
            predicted=closed_form(separation),
            measured=error_rate_of_three(lines[name][separation], separation),
            tolerance=1e-9,
        )
        for name, closed_form in closed_forms.items()
        for separation in SEPARATIONS
    ]


# The picture


def draw_efficiency(ax: Axes, rows: Sequence[Row]) -> None:
    """Examples that squared error on logits needs, over what others need, against the distance."""
    line = np.linspace(0.05, 4.4, 60)
    ax.axhline(1, color=GREEN)
    ax.plot(line, efficiency_of_cross_entropy(line), color=BLUE)
    ax.plot(line, [brier_score_efficiency(distance) for distance in line], color=VERMILION)
    for distance, row in zip(DISTANCES, rows, strict=True):
        low, high = row.interval or (math.nan, math.nan)
        ax.plot([distance] * 2, [low, high], color=BLUE, lw=1)
        ax.plot(distance, row.measured, "o", color=BLUE)
    ax.text(0.1, 1.02, "squared error on logits", color=GREEN, va="bottom")
    ax.text(2.75, 0.76, "cross-entropy", color=BLUE)
    ax.text(0.4, 0.55, "squared error\non probabilities", color=VERMILION)
    note = f"losses: sums over classes\nlines: n → ∞; dots: n = {EXAMPLES:,}"
    ax.text(0.1, 0.03, note, fontsize="small")
    ax.set(
        title="two clouds, few dimensions",
        xlabel="distance Δ of the means, in standard deviations",
        ylabel="efficiency",
        xlim=(0, 4.5),
        ylim=(0, 1.15),
    )


def draw_many_dimensions(ax: Axes, found: ManyDimensions) -> None:
    """Error rates against γ: dots measured, line the limit."""
    line = np.linspace(0, 0.999, 200)
    ax.plot(line, limit_of_least_squares(RADIUS, line), color=GREEN)

    def dots(errors: Mapping[float, np.ndarray], color: str, **look: Any) -> None:
        means = [mean_of_finite(rates)[0] for rates in errors.values()]
        ax.plot(list(errors), means, "o", color=color, **look)

    hollow = {"markerfacecolor": "white", "zorder": 3}
    dots({ratio: found.least_squares[ratio] for ratio in ASPECT_RATIOS}, GREEN)
    dots({ratio: found.cross_entropy[ratio] for ratio in BELOW_THRESHOLD}, BLUE)
    dots(found.stopped_least_squares, GREEN, markersize=7, **hollow)
    dots(found.stopped_cross_entropy, BLUE, **hollow)
    ax.axvspan(threshold(), 1, color=BLUE, alpha=0.08, lw=0)
    ax.text(0.98, 0.11, "here cross-entropy\nhas no minimum", color=BLUE, ha="right", va="bottom")
    ax.text(0.76, 0.39, "squared error\non logits", color=GREEN, ha="right")
    ax.text(0.02, 0.255, "cross-entropy", color=BLUE)
    rates = f"η = {CROSS_ENTROPY_STEP:g} and {LOGIT_SQUARED_ERROR_STEP:g}"
    stop = f"○ either, stopped after\n{STOP} steps, {rates}"
    ax.text(0.98, 0.175, stop, ha="right", va="bottom", fontsize="small")
    ax.set(
        title=f"two clouds, |μ| = {RADIUS:g}, many dimensions",
        xlabel=f"γ = d/n, dimensions per example; n = {MANY_EXAMPLES}",
        ylabel="error rate",
        xlim=(0, 1),
        ylim=(0.1, 0.5),
    )


def draw_three_classes(ax: Axes, name: str, lines: np.ndarray, separation: float) -> None:
    """Which class is chosen where, and some examples."""
    generator = np.random.default_rng(SEED)
    low, high = borders(lines)
    shades = matplotlib.colormaps["cividis"](np.linspace(0.1, 0.95, 3))
    edge = 2 * separation
    for start, end, shade in zip((-edge, low, high), (low, high, edge), shades, strict=True):
        ax.axvspan(start, end, color=shade, alpha=0.35, lw=0)
    for mean, shade, marker in zip((-separation, 0, separation), shades, "osD", strict=True):
        x, y = generator.standard_normal((2, 60))
        ax.plot(
            x + mean,
            y,
            marker,
            color=shade,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
    rate = error_rate_of_three(lines, separation)
    ax.set(
        title=f"{name}: errs with {rate:.3f}",
        xlabel=f"the one feature x; means {separation:g} apart",
        xlim=(-edge, edge),
        ylim=(-4, 4),
        yticks=[],
    )
    ax.grid(False)


def draw(
    rows: Sequence[Row], found: ManyDimensions, lines: Mapping[str, Mapping[float, np.ndarray]]
) -> Figure:
    """Where squared error wins, above on the left; where it loses, below."""
    figure = Figure(figsize=(7.0, 6.0))
    (left, right), below = figure.subplots(2, 2, height_ratios=[1.4, 1])
    draw_efficiency(left, rows)
    draw_many_dimensions(right, found)
    for ax, (name, by_separation) in zip(below, lines.items(), strict=True):
        draw_three_classes(ax, name, by_separation[SEPARATIONS[1]], SEPARATIONS[1])
    return figure


def run(progress: Progress) -> Finding:
    """Two clouds and many examples, many dimensions, three clouds in a line."""
    with jax.enable_x64(True):
        progress("Efron's efficiencies", 0.0)
        rows = of_theory()
        discriminant_row, *ratios = of_few_dimensions(progress)
        progress("many dimensions", 0.6)
        found = many_dimensions()
        rows += [discriminant_row, *ratios, *of_many_dimensions(found)]
        progress("three classes in a line", 0.85)
        lines = {
            name: {
                separation: np.asarray(fit_three_classes(loss, separation))
                for separation in SEPARATIONS
            }
            for name, loss in (
                ("squared error on logits", LOGIT_SQUARED_ERROR),
                ("cross-entropy", CROSS_ENTROPY),
            )
        }
        rows += of_three_classes(lines)
        figure = draw(ratios, found, lines)
    low, high = ratios[-1].interval or (math.nan, math.nan)
    masked, unmasked = (
        error_rate_of_three(by_separation[SEPARATIONS[-1]], SEPARATIONS[-1])
        for by_separation in lines.values()
    )
    return Finding(
        answer=(
            "Two Gaussian clouds that are 4 apart are told apart by squared error on logits with "
            f"{ratios[-1].measured:.2f} [{low:.2f}, {high:.2f}] of the excess error of "
            f"cross-entropy (theory: {ratios[-1].predicted:.3f}), because it is the linear "
            "discriminant, which knows that they are Gaussian. Of three clouds in a line, "
            f"{SEPARATIONS[-1]:g} apart, it never chooses the middle one and errs with "
            f"{masked:.4f} where cross-entropy errs with {unmasked:.4f}."
        ),
        rows=rows,
        pictures={
            "gaussian_classes": Picture(
                figure,
                "Above, left: how many examples squared error on logits needs for one that another "
                "loss needs. Right: with nearly as many dimensions as examples squared error on "
                "logits, fitted to its minimum, comes to chance, as its formula says; stopped "
                "early either loss does better. Below: the class chosen at each "
                "x for three clouds in a line; the best lines of squared error never choose the "
                "middle one. Losses are sums over the classes.",
            )
        },
    )
