"""The loss of one logit that promises digits."""

import numpy as np

from experiments.digits import truth
from jaxent import losses
from tests import digits

LOSS = digits.Loss(
    lambda s, y: losses.sigmoid_binary_cross_entropy(s, y)[0], truth.sigmoid_binary_cross_entropy
)


@digits.every_dtype
def test_value_gradient_and_hessian_diagonal_keep_their_digits(dtype):
    found = digits.errors(LOSS, dtype, truth.binary_regions(np.dtype(dtype)))
    assert digits.beyond_their_limits(LOSS, dtype, found) == {}


def test_logits_that_are_scaled_in_the_same_program_keep_their_digits():
    for value_error, gradient_error in digits.errors_of_scaled_logits(LOSS, classes=1):
        assert value_error <= 20
        assert gradient_error <= 32
