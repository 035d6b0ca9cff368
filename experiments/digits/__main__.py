"""How many digits of a loss are right?  `python -m experiments.digits` prints it as Markdown.

jaxent, optax, the formulas as they stand on paper with jax.nn, and PyTorch if it is installed, over
the inputs that the tests use, against 50 digits. It needs mpmath, which the extra `test` installs.
"""

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tabulate import tabulate

from experiments.digits import truth
from jaxent import _catalogue, information, losses

TORCH = importlib.util.find_spec("torch") is not None
DTYPE = np.dtype("float32")
MANY = 100
COMPARED = {
    "softmax_cross_entropy",
    "softmax_kl_divergence",
    "softmax_brier_score",
    "sigmoid_binary_cross_entropy",
}
EXPLANATION = f"""\
Worst error of value / gradient, in units in the last place of float32: up to 1 is as good as
rounding. A gradient is measured by its row's largest entry. Where Q is next to P (`lightly
smoothed`, `P nearly Q`), the gradient of cross-entropy and KL is measured by the largest p, and KL
by its terms. From {MANY} units on it says how many digits are right, or what came instead: `0 for
2e-08` is a loss, or a gradient, that vanished."""

Function: TypeAlias = Callable[..., Any]
Evaluate: TypeAlias = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Row(NamedTuple):
    """What a loss is given, what the truth is given, and which partial derivatives are compared."""

    region: str
    given: tuple[np.ndarray, np.ndarray]
    exact_arguments: tuple[Any, ...]
    compared: np.ndarray | slice


class Column(NamedTuple):
    """A loss, evaluated for rows of its arguments: values [rows] and gradients [rows, …]."""

    heading: str
    evaluate: Evaluate
    exactly: truth.Formula
    batches: Callable[[], Iterable[list[Row]]]


class Judged(NamedTuple):
    """A value, or a gradient, and what its errors are counted against."""

    received: np.ndarray
    expected: list[truth.Number]
    size: truth.Number | None


class Verdict(NamedTuple):
    ulps: float
    text: str


# The inputs


def rows_of(regions: dict[str, Any]) -> list[Row]:
    return [
        Row(region, given, given, slice(None))
        for region, arrays in regions.items()
        for given in zip(*arrays, strict=True)
    ]


def softmax_batches() -> Iterator[list[Row]]:
    yield rows_of(truth.regions(DTYPE))
    million = truth.million_classes(DTYPE).values()
    kinds, first = truth.shuffled(next(iter(million)).counts)
    yield [Row("a million classes", (z[kinds], p[kinds]), (z, p, n), first) for z, p, n in million]


def label_batches() -> Iterator[list[Row]]:
    """The rows with one-hot targets, which become labels."""
    for batch in softmax_batches():
        yield [
            row._replace(given=(row.given[0], np.argmax(row.given[1])))
            for row in batch
            if np.count_nonzero(row.given[1]) == 1 == np.max(row.given[1])
        ]


def binary_batches() -> Iterator[list[Row]]:
    yield rows_of(truth.binary_regions(DTYPE))


def distribution_batches() -> Iterator[list[Row]]:
    yield rows_of(truth.pairs_of_distributions(DTYPE))


# The losses


def with_jax(loss: Function) -> Evaluate:
    value_and_gradient = jax.jit(jax.vmap(jax.value_and_grad(loss)))

    def evaluate(logits, targets):
        values, gradients = value_and_gradient(logits, targets)
        return np.asarray(values), np.asarray(gradients)

    return evaluate


def with_torch(loss: Function) -> Evaluate:
    import torch  # pyright: ignore[reportMissingImports]

    def evaluate(logits, targets):
        z = torch.tensor(logits, requires_grad=True)
        values = loss(z, torch.tensor(targets))
        (gradients,) = torch.autograd.grad(values.sum(), z)
        return values.detach().numpy(), gradients.numpy()

    return evaluate


def by_both(function: Function) -> Evaluate:
    """A function of P and Q, differentiated by P and then by Q."""
    value_and_gradients = jax.jit(jax.vmap(jax.value_and_grad(function, (0, 1))))

    def evaluate(p, q):
        values, gradients = value_and_gradients(p, q)
        return np.asarray(values), np.concatenate(gradients, -1)

    return evaluate


def of_one(loss: Function) -> Function:
    """A loss of binary logits, of the only one in a row."""
    return lambda logits, labels: loss(logits, labels)[0]


def optax_kl_divergence(logits, targets):
    return optax.kl_divergence(jax.nn.log_softmax(logits), targets)


def cross_entropy_on_paper(logits, targets):
    return -jnp.sum(targets * jnp.log(jax.nn.softmax(logits)))


def kl_divergence_on_paper(logits, targets):
    return jnp.sum(jax.scipy.special.rel_entr(targets, jax.nn.softmax(logits)))


def brier_score_on_paper(logits, targets):
    return jnp.sum((jax.nn.softmax(logits) - targets) ** 2)


def binary_cross_entropy_on_paper(logits, labels):
    yes = jax.nn.sigmoid(logits)
    return -labels * jnp.log(yes) - (1 - labels) * jnp.log(1 - yes)


def cross_entropy_columns() -> Iterator[Column]:
    dense = partial(Column, exactly=truth.softmax_cross_entropy, batches=softmax_batches)
    labels = partial(Column, exactly=truth.softmax_cross_entropy, batches=label_batches)
    yield dense("jaxent", with_jax(losses.softmax_cross_entropy))
    yield labels("jaxent, labels", with_jax(losses.softmax_cross_entropy_with_integer_labels))
    yield dense("optax", with_jax(optax.softmax_cross_entropy))
    yield labels("optax, labels", with_jax(optax.softmax_cross_entropy_with_integer_labels))
    yield dense("log of jax.nn.softmax", with_jax(cross_entropy_on_paper))
    if TORCH:
        from torch.nn import functional  # pyright: ignore[reportMissingImports]

        cross_entropy = with_torch(partial(functional.cross_entropy, reduction="none"))
        yield dense("torch", cross_entropy)
        yield labels("torch, labels", cross_entropy)


def other_columns() -> Iterator[Column]:
    kl = partial(Column, exactly=truth.softmax_kl_divergence, batches=softmax_batches)
    brier = partial(Column, exactly=truth.softmax_brier_score, batches=softmax_batches)
    binary = partial(Column, exactly=truth.sigmoid_binary_cross_entropy, batches=binary_batches)
    yield kl("KL: jaxent", with_jax(losses.softmax_kl_divergence))
    yield kl("optax", with_jax(optax_kl_divergence))
    yield kl("log of jax.nn.softmax", with_jax(kl_divergence_on_paper))
    yield brier("Brier: jaxent", with_jax(losses.softmax_brier_score))
    yield brier("jax.nn.softmax", with_jax(brier_score_on_paper))
    yield binary("BCE: jaxent", with_jax(of_one(losses.sigmoid_binary_cross_entropy)))
    yield binary("optax", with_jax(of_one(optax.sigmoid_binary_cross_entropy)))
    yield binary("log of jax.nn.sigmoid", with_jax(of_one(binary_cross_entropy_on_paper)))


def torch_columns() -> Iterator[Column]:
    from torch.nn import functional  # pyright: ignore[reportMissingImports]

    def summed(loss, prepare):
        return with_torch(lambda z, p: loss(prepare(z), p, reduction="none").sum(-1))

    yield Column(
        "KL: torch",
        summed(functional.kl_div, partial(functional.log_softmax, dim=-1)),
        truth.softmax_kl_divergence,
        softmax_batches,
    )
    yield Column(
        "Brier: torch",
        summed(functional.mse_loss, partial(functional.softmax, dim=-1)),
        truth.softmax_brier_score,
        softmax_batches,
    )
    yield Column(
        "BCE: torch",
        summed(functional.binary_cross_entropy_with_logits, lambda s: s),
        truth.sigmoid_binary_cross_entropy,
        binary_batches,
    )


def rarer_columns() -> Iterator[Column]:
    """The other losses of jaxent, in the order of their truths, and `jaxent.information`."""
    yield Column(
        "`information.entropy_of_logits`",
        with_jax(lambda z, p: information.entropy_of_logits(z)),
        truth.entropy_of_logits,
        softmax_batches,
    )
    built_in = _catalogue.built_in()
    for name, exactly in vars(truth).items():
        if name not in built_in or name in COMPARED:
            continue
        options = truth.options_of(exactly, DTYPE)
        loss, batches = partial(built_in[name], **options), softmax_batches
        if _catalogue.is_binary(loss):
            loss, batches = of_one(loss), binary_batches
        yield Column(f"`{name}`", with_jax(loss), partial(exactly, **options), batches)
    distributions = partial(Column, batches=distribution_batches)
    yield distributions(
        "`information.entropy`",
        with_jax(lambda p, q: information.entropy(p)),
        lambda p, q: truth.entropy(p),
    )
    for function, exactly in (
        (information.cross_entropy, truth.cross_entropy_of_probabilities),
        (information.kl_divergence, truth.kl_divergence_of_probabilities),
        (information.jensen_shannon_divergence, truth.jensen_shannon_divergence),
    ):
        yield distributions(f"`information.{function.__name__}`", by_both(function), exactly)


# The verdicts


def verdict(judged: list[Judged]) -> Verdict:
    """What is worst among them."""
    errors = [truth.ulps(*one[:2], DTYPE, one.size) for one in judged]
    worst = max(errors)
    received = np.concatenate([one.received for one in judged])
    vanished = [
        float(max(map(abs, one.expected)))
        for one, error in zip(judged, errors, strict=True)
        if MANY <= error < math.inf and not one.received.any()
    ]
    if np.isnan(received).any():
        text = "NaN"
    elif worst == math.inf:
        text = "∞" if np.isinf(received).any() else "not ∞"
    elif worst < MANY:
        text = f"{worst:.1f}"
    elif vanished:
        text = f"0 for {max(vanished):.0e}"
    else:
        digits = max(int(-math.log10(worst * float(jnp.finfo(DTYPE).eps))), 0)
        text = f"{digits} digit" + "s" * (digits != 1)
    return Verdict(worst, text)


def verdicts(column: Column) -> dict[str, tuple[Verdict, Verdict]]:
    """On value and gradient, by line: regions differ in what follows a comma share one."""
    found: dict[str, tuple[list[Judged], list[Judged]]] = {}
    for batch in column.batches():
        values, gradients = column.evaluate(
            *(np.stack(argument) for argument in zip(*(row.given for row in batch), strict=True))
        )
        for row, value, gradient in zip(batch, values, gradients, strict=True):
            exact = column.exactly(*row.exact_arguments)
            value_size, gradient_size = truth.sizes(row.region, exact)
            line = found.setdefault(row.region.split(",")[0], ([], []))
            line[0].append(Judged(value[None], [exact.value], value_size))
            line[1].append(Judged(gradient[row.compared], exact.gradient, gradient_size))
    return {line: (verdict(values), verdict(slopes)) for line, (values, slopes) in found.items()}


# The tables


def table(heading: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    return tabulate([*lines], [*heading], tablefmt="github", disable_numparse=True)


def comparison(columns: Iterable[Column]) -> str:
    """A line for every region, a column for every loss."""
    columns = list(columns)
    of_columns = [verdicts(column) for column in columns]
    names = dict.fromkeys(name for found in of_columns for name in found)
    lines = (
        [name, *(" / ".join(v.text for v in found.get(name, ())) for found in of_columns)]
        for name in names
    )
    return table(["", *(column.heading for column in columns)], lines)


def summary(columns: Iterable[Column]) -> str:
    """A line for every loss: the worst of it, and the exceptions."""

    def cell(found, which):
        of_lines = {name: both[which] for name, both in found.items()}
        usual = max(v.ulps for v in of_lines.values() if v.ulps < MANY)
        exceptions = [f"{name}: {v.text}" for name, v in of_lines.items() if v.ulps >= MANY]
        return "; ".join([f"{usual:.1f}", *exceptions])

    lines = (
        [column.heading, cell(found, 0), cell(found, 1)]
        for column in columns
        for found in [verdicts(column)]
    )
    return table(["", "value", "gradient"], lines)


def main() -> None:
    packages = ["jax", "optax", *(["torch"] if TORCH else [])]
    print(EXPLANATION, *(f"{name} {version(name)}," for name in packages), end=" ")
    print(f"on a {jax.default_backend().upper()}.\n\nCross-entropy:\n")
    print(comparison(cross_entropy_columns()))
    print("\nKL divergence, Brier score and binary cross-entropy:\n")
    print(comparison([*other_columns(), *(torch_columns() if TORCH else [])]))
    print("\nThe rest of jaxent, with the inputs on which digits are lost:\n")
    print(summary(rarer_columns()))


if __name__ == "__main__":
    main()
