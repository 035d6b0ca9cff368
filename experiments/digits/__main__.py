"""How many digits are right?  `python -m experiments.digits` prints the answer as Markdown.

Each number is the worst error over the rows of a region, in units in the last place of float32:
1 is as good as rounding, 8 million is not a single digit. Of a gradient they are units of its row's
largest entry. The truth is known to 50 digits (`truth.py`), the same that the tests use.
"""

import importlib.util
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.digits import truth
from jaxent import losses

TORCH = importlib.util.find_spec("torch") is not None
ALL_DIGITS = 2.0**23


def plain_cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits))


def plain_label_cross_entropy(logits, label):
    return -jax.nn.log_softmax(logits)[label]


def plain_kl_divergence(logits, targets):
    return jnp.sum(targets * (jnp.log(targets) - jax.nn.log_softmax(logits)))


def optax_kl_divergence(logits, targets):
    return optax.kl_divergence(jax.nn.log_softmax(logits), targets)


def plain_brier_score(logits, targets):
    return jnp.sum((jax.nn.softmax(logits) - targets) ** 2)


def plain_binary_cross_entropy(logits, labels):
    likely, unlikely = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return -labels * likely - (1 - labels) * unlikely


# name: (jaxent's, optax's, the formula with jax.nn), the truth
LOSSES = {
    "cross-entropy": (
        (losses.softmax_cross_entropy, optax.softmax_cross_entropy, plain_cross_entropy),
        truth.cross_entropy,
    ),
    "cross-entropy of labels": (
        (
            losses.softmax_cross_entropy_with_integer_labels,
            optax.softmax_cross_entropy_with_integer_labels,
            plain_label_cross_entropy,
        ),
        truth.cross_entropy,
    ),
    "KL divergence": (
        (losses.softmax_kl_divergence, optax_kl_divergence, plain_kl_divergence),
        truth.kl_divergence,
    ),
    "Brier score": ((losses.softmax_brier_score, None, plain_brier_score), truth.brier_score),
    "binary cross-entropy": (
        (
            losses.sigmoid_binary_cross_entropy,
            optax.sigmoid_binary_cross_entropy,
            plain_binary_cross_entropy,
        ),
        truth.binary_cross_entropy,
    ),
}


def with_jax(loss, logits, targets):
    """Values [rows] and gradients [rows, classes]."""

    def value(z, p):
        return jnp.sum(loss(z, p))  # of one element where the loss is binary

    both = jax.jit(jax.vmap(jax.value_and_grad(value)))
    return [np.asarray(x) for x in both(logits, targets)]


def with_torch(name, logits, targets):
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    z = torch.tensor(logits, requires_grad=True)
    p = torch.tensor(targets)
    if name.startswith("cross-entropy"):
        values = F.cross_entropy(z, p, reduction="none")
    elif name == "KL divergence":
        values = F.kl_div(F.log_softmax(z, -1), p, reduction="none").sum(-1)
    elif name == "Brier score":
        values = ((F.softmax(z, -1) - p) ** 2).sum(-1)
    else:
        values = F.binary_cross_entropy_with_logits(z, p, reduction="none").sum(-1)
    values.sum().backward()
    return values.detach().numpy(), z.grad.numpy()


def worst_errors(name, region, received, exactly):
    """Of the values and of the gradients of a region, in ulps."""
    exact = [exactly(z, p) for z, p in zip(region.logits, region.targets, strict=True)]
    nearly_equal = name == truth.NEARLY_EQUAL
    values, gradients = received
    value = max(
        truth.ulps([v], [x.value], np.float32, size=x.value_size if nearly_equal else None)
        for v, x in zip(values, exact, strict=True)
    )
    gradient = max(
        truth.ulps(g, x.gradient, np.float32) for g, x in zip(gradients, exact, strict=True)
    )
    return value, gradient


def cell(ulps):
    if ulps is None:
        return "—"
    if np.isinf(ulps):
        return "NaN or ∞"
    if ulps >= ALL_DIGITS / 2:
        return "no digit"
    return f"{ulps:.1f}" if ulps < 99.95 else f"{ulps:,.0f}"


def table(loss):
    (functions, exactly) = LOSSES[loss]
    libraries = ["jaxent", "optax", "jax.nn", *(["torch"] if TORCH else [])]
    headings = [f"{what}: {library}" for what in ("value", "gradient") for library in libraries]
    yield "| " + " | ".join([loss, *headings]) + " |"
    yield "|---" * (len(headings) + 1) + "|"
    binary = loss == "binary cross-entropy"
    regions = (truth.binary_regions if binary else truth.regions)(np.float32)
    for name, region in regions.items():
        if loss == "cross-entropy of labels" and region.labels is None:
            continue
        targets = region.labels if loss == "cross-entropy of labels" else region.targets
        columns = []
        for function in functions:
            if function is None:
                columns.append((None, None))
                continue
            received = with_jax(function, region.logits, targets)
            columns.append(worst_errors(name, region, received, exactly))
        if TORCH:
            received = with_torch(loss, region.logits, region.targets)
            columns.append(worst_errors(name, region, received, exactly))
        values, gradients = zip(*columns, strict=True)
        yield "| " + " | ".join([name, *map(cell, values), *map(cell, gradients)]) + " |"


def main():
    packages = ["jax", "optax", *(["torch"] if TORCH else [])]
    print(", ".join(f"{name} {version(name)}" for name in packages) + ", float32")
    for loss in LOSSES:
        print()
        print("\n".join(table(loss)))


if __name__ == "__main__":
    main()
