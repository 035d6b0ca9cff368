"""What is said to the author of a loss that is called in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxent._advice import advice

Z, P = np.array([-1.0, 0.5, 0.25]), np.array([0.0, 0.0, 1.0])


def cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits), -1)


def of_a_label(logits, label):
    return -jax.nn.log_softmax(logits)[label]


def by_name(*, logits, labels, weight=1.0):
    return weight * cross_entropy(logits, labels)


def label_by_name(*, logits, label):
    return of_a_label(logits, label)


def batch(logits, targets):
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits, axis=1), axis=1))


def batch_of_labels(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)[:, 0]


def with_metrics(logits, targets):
    return cross_entropy(logits, targets), {"accuracy": logits.argmax() == targets.argmax()}


OTHERWISE = {
    of_a_label: "takes one integer label an example, where",
    by_name: "takes its arguments by name, where",
    label_by_name: "takes one integer label an example by name, where",
    batch: "takes a batch, [B, C] and [B, C], where",
    batch_of_labels: "takes a batch, [B, C], and one integer label an example, [B], where",
    with_metrics: "returns more than a scalar: wrap",
}


@pytest.mark.parametrize("loss", OTHERWISE, ids=lambda loss: loss.__name__)
def test_a_loss_that_is_called_otherwise_is_cross_entropy_once_it_is_wrapped_as_it_is_told(loss):
    said = advice(loss, TypeError("what it raised"), 3)
    assert said.startswith(OTHERWISE[loss])
    wrapped = eval(said.partition("wrap it as ")[2], {"loss": loss, "jnp": jnp})
    np.testing.assert_allclose(wrapped(jnp.array(Z), jnp.array(P)), cross_entropy(Z, P), rtol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, b: jnp.mean(b["x"] @ p["w"]),
        lambda net, x: jnp.mean(net.apply(x)),
        lambda net, x: jnp.mean(net(x)),
    ],
)
def test_a_loss_of_training_is_told_to_take_apart_what_compares(loss):
    with pytest.raises((TypeError, AttributeError)) as raised:
        jax.jit(jax.grad(loss))(jnp.array(Z), jnp.array(P))
    said = advice(loss, raised.value, 3)
    assert "where (logits, targets) of one example, arrays of shape (3,), are wanted" in said
    assert "with the logits of your model" in said


def test_of_a_loss_that_is_called_as_it_should_be_nothing_is_said():
    assert advice(cross_entropy, ValueError("its own"), 3) == ""
    assert advice(lambda z, p: jnp.sum(z[:2] * p), TypeError("its own"), 3) == ""
