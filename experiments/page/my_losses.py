import jax
import jax.numpy as jnp


def tsallis(logits, targets, q=1.5):
    """Cross-entropy with the logarithm of Tsallis, (1 − p_true^(q−1))/(q − 1)."""
    p = jax.nn.softmax(logits)
    return jnp.sum(targets * (1 - p ** (q - 1))) / (q - 1)
