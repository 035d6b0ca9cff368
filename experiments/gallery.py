"""Why does your cross-entropy train like squared error?

Because it may not be the cross-entropy that you think. Written by hand it is often one of these,
with z logits of Q, q = softmax(z), and P all on the class y of the truth:

    clipped at 1e-7          −log min(max(q_y, 1e-7), 1 − 1e-7)
    softmax twice            −log softmax(q)_y: probabilities where cross-entropy wants logits
    q into sigmoids          Σᵢ BCE(qᵢ, pᵢ): probabilities where binary cross-entropy, which puts
                             a sigmoid on each of them, wants logits
    mean over the classes    −(1/C) Σᵢ pᵢ log qᵢ
    float16                  −log softmax(z)_y with z, exponentials and sums in half precision

All of them go down when a model learns. What they lose is a part of the gradient, and a portrait
shows which. Let the truth be m logits behind K = C − 1 equal wrong classes: then q_y is
a = 1/(1 + K eᵐ), cross-entropy pushes with (1 − a) √(C/K), and the loss of a q that went through
one more function f pushes with J (f(q) − p), J = diag(q) − q qᵀ: that is a factor of a(1 − a) from
the first softmax, as in squared error, which pushes with 2a (1 − a)² (C/K)^{3/2}.

The clipped loss is constant where q_y < 1e-7, that is where m > ln((10⁷ − 1)/K), and where
q_y > 1 − 1e-7, where the truth is ahead by ln(K (10⁷ − 1)). There its gradient is exactly 0.

Softmax twice: q_y ≤ 1, so softmax(q)_y ≤ e/(e + K), and the loss never falls below ln(1 + K/e).
With s = softmax(q)_y it pushes with (1 − s) a (1 − a) (C/K)^{3/2}, and s is 1/(1 + K e^{1/K}) where
a is 0: the push fades as e⁻ᵐ and the time to unlearn a mistake grows as eᵐ.

q into sigmoids: the loss is never below ln(1 + 1/e) + K ln 2, and pushes with
(σ(b) + ½) a (1 − a) √(C/K) where a is nearly 0, b = 1/K: likewise.

The mean divides the gradient by C and multiplies every time by C. That is no other loss, only
another learning rate.

In float16, numbers next above 1 are 2⁻¹⁰ apart. When the truth is ahead by g, the sum of the
exponentials, 1 + K e⁻ᵍ, is rounded to 1 from K e⁻ᵍ = 2⁻¹¹ on, that is from g = ln(2¹¹ K): the loss,
and the push on the truth, are exactly 0. A confident mistake is pushed as it should be.

Predictions:

- 12 logits behind, 3 classes, the gradient norms are 1.22474 for cross-entropy, 1.12875e-05 for
  squared error, 4.33049e-06 for softmax twice and 4.22327e-06 for q into sigmoids, within 1e-9 of
  their size; cross-entropy clipped at 1e-7 is still at 1.22474.
- Clipped, the gradient is exactly 0 from 16.1181 logits behind for 2 classes and 15.4249 for 3, and
  from 16.8112 ahead for 3 classes, within 1e-6.
- The least values, 3 classes, are 0.551445 for softmax twice and 1.69956 for q into sigmoids.
- The mean over 3 classes: a third of the gradient of cross-entropy, within 1e-12 of its size, at
  1000 random pairs P, Q.
- float16: no push on the truth from 7.62462 logits ahead for 2 classes and 8.31777 for 3, within
  0.01. Handed the same float16 logits, 9 ahead, `softmax_cross_entropy` of jaxent pushes with
  0.000246759, within 1e-6.
- Of the 7 laws of escape all are named right: linear for cross-entropy, clipped, averaged and in
  float16, exponential for squared error, softmax twice and q into sigmoids, with the exponent 1
  within 0.01.
- Cross-entropy of labels that are integers and the Kullback–Leibler divergence have the gradient
  of cross-entropy, within 1e-15, at 1000 random pairs.
"""

import math
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim
from jaxent import cards, gradients, losses, portraits, theory
from jaxent._examples import Loss
from jaxent.cards import LossCard

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
BINARY_CROSS_ENTROPY = losses.sigmoid_binary_cross_entropy

CLIP = 1e-7
BEHIND = 12.0
PAIRS = 1000
SEED = 0
SECONDS = 28
CAPTIONS = {
    "gallery": (
        "Cross-entropy and squared error on probabilities, a row each. A confident mistake: the "
        "one pushes it as hard as it can and unlearns it in a time that grows with the margin; the "
        "other fades and takes a time that grows exponentially. It curves downwards there, and "
        "descent from 8 logits behind has not left the corners after 100 steps."
    ),
    "gallery_by_hand": (
        "Cross-entropy, and three ways to lose its gradient. Clipping leaves exactly nothing where "
        "the truth is very unlikely or very likely (triangles); a softmax, or sigmoids, on top of "
        "the softmax make squared error of it."
    ),
    "gallery_of_scales": (
        "Cross-entropy, and two ways to lose a part of it. The mean over the classes is a third of "
        "everything; float16 rounds away what is left to learn near the right answer."
    ),
    "gallery_of_logarithms": (
        "The losses of jaxent with a logarithm in them, or nearly. Generalised cross-entropy alone "
        "lets go of a confident mistake; focal loss lets go of the right answer; squentropy ties "
        "the wrong logits down."
    ),
    "gallery_of_errors": (
        "The squared and absolute errors of jaxent. On probabilities they fade at a confident "
        "mistake, all alike but for a factor; on raw logits nothing fades."
    ),
    "gallery_of_two_classes": (
        "The losses of one logit, shown as losses of two logits that read the gap between them."
    ),
}
SHEETS = tuple(CAPTIONS)


def clipped(logits: Array, targets: Array) -> Array:
    """Cross-entropy of probabilities that were clipped so that their logarithm is finite."""
    return -jnp.sum(targets * jnp.log(jnp.clip(jax.nn.softmax(logits), CLIP, 1 - CLIP)))


def softmax_twice(logits: Array, targets: Array) -> Array:
    """Cross-entropy that is handed probabilities, and puts its softmax on them."""
    return CROSS_ENTROPY(jax.nn.softmax(logits), targets)


def q_into_sigmoids(logits: Array, targets: Array) -> Array:
    """Binary cross-entropies that are handed probabilities, and put their sigmoids on them."""
    return jnp.sum(BINARY_CROSS_ENTROPY(jax.nn.softmax(logits), targets))


def mean_over_classes(logits: Array, targets: Array) -> Array:
    """Cross-entropy averaged where it should be summed."""
    return CROSS_ENTROPY(logits, targets) / logits.size


def in_float16(logits: Array, targets: Array) -> Array:
    """Cross-entropy with nothing wider than 16 bits inside."""
    log_q = jax.nn.log_softmax(logits.astype(jnp.float16))
    return -jnp.sum(targets.astype(jnp.float16) * log_q).astype(logits.dtype)


def by_name() -> dict[str, Loss]:
    """The losses that are compared, as the pictures call them."""
    return {
        "cross-entropy": CROSS_ENTROPY,
        "squared error on probabilities": SQUARED_ERROR,
        "clipped at 1e-7": clipped,
        "softmax twice": softmax_twice,
        "q into sigmoids": q_into_sigmoids,
        "mean over the classes": mean_over_classes,
        "float16": in_float16,
    }


@partial(jax.jit, static_argnums=(0, 1))
def push_on_truth(loss: Loss, num_classes: int, margin: ArrayLike) -> Array:
    """−dL/dz of the truth, that many logits behind equal wrong classes."""
    profile = gradients.gradient_profile(loss, num_classes, margin=margin)
    return -jnp.asarray(profile.true_class_gradient)


def last_push(loss: Loss, num_classes: int, *, ahead: bool = False) -> float:
    """How many logits behind, or ahead, the truth is where it is pushed no more; ∞ if above 40."""

    def push(margin: float) -> float:
        return float(push_on_truth(loss, num_classes, -margin if ahead else margin))

    pushed, at_rest = 0.0, 40.0
    if push(at_rest):
        return math.inf
    while at_rest - pushed > 1e-9:
        middle = (pushed + at_rest) / 2
        pushed, at_rest = (middle, at_rest) if push(middle) else (pushed, middle)
    return pushed


def random_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of three classes."""
    random = np.random.default_rng(SEED)
    logits = 5 * random.standard_normal([PAIRS, 3])
    return logits, random.dirichlet(np.ones(3), size=PAIRS)


@partial(jax.jit, static_argnums=0)
def gradients_of(loss: Loss, logits: Array, targets: Array) -> Array:
    """dL/dz at each pair."""
    return gradients.logit_gradient(loss, logits, targets)


def mistakes(facts: Mapping[str, LossCard]) -> list[Row]:
    """How hard each loss pushes a confident mistake."""
    a = float(jax.jit(theory.gradients.true_class_probability)(BEHIND, 3))
    b = (1 - a) / 2
    s = 1 / (1 + 2 * math.exp(b - a))
    sigmoid = 1 / (1 + math.exp(-b))
    from_softmax = a * (1 - a) * 1.5**0.5
    cross_entropy = jax.jit(theory.gradients.cross_entropy_gradient_norm)(BEHIND, 3)
    squared_error = jax.jit(theory.gradients.brier_score_gradient_norm)(BEHIND, 3)
    return [
        claim(
            f"{name}: gradient norm {BEHIND:g} logits behind, 3 classes",
            predicted=predicted,
            measured=facts[name].push.mistake_norm,
            relative_tolerance=1e-9,
        )
        for name, predicted in (
            ("cross-entropy", cross_entropy),
            ("squared error on probabilities", squared_error),
            ("clipped at 1e-7", cross_entropy),
            ("softmax twice", 1.5 * (1 - s) * from_softmax),
            ("q into sigmoids", (sigmoid + 1 / (1 + math.exp(a))) * from_softmax),
        )
    ]


def dead_zones() -> list[Row]:
    """Where the gradient is not small but 0."""
    rows = [
        claim(
            f"clipped at 1e-7: logits behind from which the gradient is 0, {classes} classes",
            predicted=math.log((1 / CLIP - 1) / (classes - 1)),
            measured=last_push(by_name()["clipped at 1e-7"], classes),
            tolerance=1e-6,
        )
        for classes in (2, 3)
    ]
    rows.append(
        claim(
            "clipped at 1e-7: logits ahead from which the gradient is 0, 3 classes",
            predicted=math.log(2 * (1 / CLIP - 1)),
            measured=last_push(by_name()["clipped at 1e-7"], 3, ahead=True),
            tolerance=1e-6,
        )
    )
    rows += [
        claim(
            f"float16: logits ahead from which the truth is pushed no more, {classes} classes",
            predicted=math.log(2**11 * (classes - 1)),
            measured=last_push(by_name()["float16"], classes, ahead=True),
            tolerance=0.01,
        )
        for classes in (2, 3)
    ]

    def handed_float16(logits: Array, targets: Array) -> Array:
        half = logits.astype(jnp.float16), targets.astype(jnp.float16)
        return CROSS_ENTROPY(*half).astype(logits.dtype)

    rows.append(
        claim(
            "softmax_cross_entropy of float16 logits: push on the truth, 9 ahead, 3 classes",
            predicted=2 / (math.exp(9) + 2),
            measured=push_on_truth(handed_float16, 3, -9.0),
            tolerance=1e-6,
        )
    )
    return rows


def least_values(facts: Mapping[str, LossCard]) -> list[Row]:
    """That a q which goes through another softmax, or sigmoids, never gets to 0."""
    return [
        claim(
            f"{name}: least value, 3 classes",
            predicted=predicted,
            measured=facts[name].noise.least,
            tolerance=1e-6,
        )
        for name, predicted in (
            ("softmax twice", math.log(1 + 2 / math.e)),
            ("q into sigmoids", math.log(1 + 1 / math.e) + 2 * math.log(2)),
        )
    ]


def same_gradients() -> list[Row]:
    """The mean over the classes, and cross-entropy under other names."""
    logits, targets = random_pairs()
    labels = targets.argmax(axis=-1)
    certain = np.eye(3)[labels]
    of_labels = jax.jit(jax.vmap(jax.grad(losses.softmax_cross_entropy_with_integer_labels)))
    expected, of_mean, of_kl = (
        np.asarray(gradients_of(loss, logits, targets))
        for loss in (
            CROSS_ENTROPY,
            by_name()["mean over the classes"],
            losses.softmax_kl_divergence,
        )
    )
    differences = (
        of_kl - expected,
        np.subtract(of_labels(logits, labels), gradients_of(CROSS_ENTROPY, logits, certain)),
    )
    sizes = np.linalg.norm(expected, axis=-1)
    return [
        claim(
            "mean over the classes: largest difference from a third of the gradient of "
            f"cross-entropy, relative, {PAIRS} random pairs",
            predicted=0,
            measured=np.max(np.linalg.norm(3 * of_mean - expected, axis=-1) / sizes),
            tolerance=1e-12,
        ),
        claim(
            "cross-entropy of integer labels and KL divergence: largest difference from the "
            f"gradient of cross-entropy, {PAIRS} random pairs",
            predicted=0,
            measured=max(np.abs(difference).max() for difference in differences),
            tolerance=1e-15,
        ),
    ]


def escapes(facts: Mapping[str, LossCard]) -> list[Row]:
    """The laws of escape by name, and the exponents of those that are exponential."""
    exponential = "squared error on probabilities", "softmax twice", "q into sigmoids"
    right = [
        card.escape.law == ("exponential" if name in exponential else "linear")
        for name, card in facts.items()
    ]
    return [
        claim("laws of escape named right, of 7", predicted=7, measured=sum(right)),
        *(
            claim(
                f"{name}: exponent of the time to unlearn a mistake, per logit",
                predicted=1,
                measured=facts[name].escape.exponent,
                tolerance=0.01,
            )
            for name in exponential
        ),
    ]


def groups() -> dict[str, dict[str, tuple[Loss, str]]]:
    """The losses of each picture by name, and their colours: those compared first, then those
    written by hand, then all that jaxent has."""
    cross_entropy = {"cross-entropy": (CROSS_ENTROPY, colours.CROSS_ENTROPY)}
    return {
        "gallery": {
            "softmax_cross_entropy": (CROSS_ENTROPY, colours.CROSS_ENTROPY),
            "softmax_brier_score": (SQUARED_ERROR, colours.SQUARED_ERROR),
        },
        "gallery_by_hand": {
            **cross_entropy,
            "clipped at 1e-7": (clipped, colours.BY_HAND[0]),
            "softmax twice": (softmax_twice, colours.BY_HAND[1]),
            "q into sigmoids": (q_into_sigmoids, colours.BY_HAND[2]),
        },
        "gallery_of_scales": {
            **cross_entropy,
            "mean over the classes": (mean_over_classes, colours.BY_HAND[0]),
            "float16": (in_float16, colours.BY_HAND[1]),
        },
        "gallery_of_logarithms": {
            "softmax_cross_entropy = …_with_integer_labels = softmax_kl_divergence": (
                CROSS_ENTROPY,
                colours.CROSS_ENTROPY,
            ),
            "softmax_focal_loss(gamma=2)": (losses.softmax_focal_loss, colours.FOCAL_LOSS),
            "generalized_cross_entropy(exponent=0.7)": (
                losses.generalized_cross_entropy,
                colours.GENERALIZED_CROSS_ENTROPY,
            ),
            "squentropy": (losses.squentropy, colours.SQUENTROPY),
        },
        "gallery_of_errors": {
            "softmax_brier_score": (SQUARED_ERROR, colours.SQUARED_ERROR),
            "softmax_mean_squared_error": (
                losses.softmax_mean_squared_error,
                colours.SQUARED_ERROR,
            ),
            "softmax_mean_absolute_error": (
                losses.softmax_mean_absolute_error,
                colours.ABSOLUTE_ERROR,
            ),
            "logit_squared_error": (losses.logit_squared_error, colours.LOGIT_SQUARED_ERROR),
        },
        "gallery_of_two_classes": {
            "sigmoid_binary_cross_entropy": (BINARY_CROSS_ENTROPY, colours.CROSS_ENTROPY),
            "sigmoid_squared_error": (losses.sigmoid_squared_error, colours.SQUARED_ERROR),
        },
    }


def run(progress: Progress) -> Finding:
    """Measure the losses, hold them to their closed forms, and portray all there are."""
    facts = {}
    for name, loss in by_name().items():
        progress(name)
        facts[name] = cards.card(loss, name=name, seed=SEED)
    with jax.enable_x64(True):
        rows = [
            *mistakes(facts),
            *dead_zones(),
            *least_values(facts),
            *same_gradients(),
            *escapes(facts),
        ]
    pictures, measured = {}, {loss: facts[name] for name, loss in by_name().items()}
    for stem in SHEETS:
        entries = groups()[stem]
        group = {name: loss for name, (loss, _) in entries.items()}
        num_classes = 2 if stem == "gallery_of_two_classes" else 3
        known = {name: measured[loss] for name, loss in group.items() if loss in measured}
        figure = portraits.portrait(
            group,
            num_classes,
            seed=SEED,
            colors=[colour for _, colour in entries.values()],
            facts=known,
            progress=progress,
        )
        pictures[stem] = Picture(figure, CAPTIONS[stem], in_readme=stem == "gallery")
    entropy, squared, clip, twice, *_ = (card.push.mistake_norm for card in facts.values())
    zones = {row.statement: row.measured for row in rows}
    behind = zones["clipped at 1e-7: logits behind from which the gradient is 0, 3 classes"]
    ahead = zones["float16: logits ahead from which the truth is pushed no more, 3 classes"]
    return Finding(
        answer=(
            f"Because there is likely a softmax too many in it: {BEHIND:g} logits behind, "
            f"cross-entropy pushes with {entropy:.3g}, a second softmax leaves {twice:.1e} of it "
            f"and squared error {squared:.1e}, and both take a time to unlearn the mistake that "
            f"grows exponentially. Clipping at 1e-7 leaves {clip:.3g} there, but exactly 0 from "
            f"{behind:.2f} logits behind; float16 leaves 0 from {ahead:.2f} logits ahead, and the "
            "mean over the classes a third of everything."
        ),
        rows=rows,
        pictures=pictures,
    )
