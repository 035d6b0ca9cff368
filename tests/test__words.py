"""Numbers and points in words."""

import math

import numpy as np
import pytest

from jaxent import _words as words


@pytest.mark.parametrize(
    ("number", "long", "short"),
    [
        (-0.480817, "-0.4808", "−0.481"),
        (1.128753e-5, "1.129e-05", "1.13×10⁻⁵"),
        (-0.0, "0", "0"),
        (-math.inf, "−∞", "−∞"),
        (math.nan, "unknown", "NaN"),
    ],
)
def test_a_number_has_four_digits_in_tables_and_three_in_pictures(number, long, short):
    assert words.number(number) == long
    assert words.short(number) == short


def test_a_point_of_a_table_has_four_entries_and_a_vector_has_all():
    point = np.array([1e-5, 0.12345, 1234.5, 0.5, 0.25])
    assert words.distribution(point) == "(0, 0.123, 1234, 0.5, …)"
    assert words.vector(point) == "(1e-05, 0.1235, 1234, 0.5, 0.25)"
