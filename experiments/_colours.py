"""One colour a loss, in every figure.

Okabe and Ito's hues, which the colour-blind can tell apart, in the order of `jaxent.paper`. What
differs only in its scale shares a hue, and a dash tells it apart: the mean squared error on the
softmax is drawn in the colour of the Brier score.
"""

CROSS_ENTROPY = "#0072B2"
SQUARED_ERROR = "#D55E00"
"""On the probabilities: Brier score, and mean squared error on the softmax."""
LOGIT_SQUARED_ERROR = "#009E73"
GENERALIZED_CROSS_ENTROPY = "#CC79A7"
"""Of exponent 0.7; where several are shown, see below."""
MILD_GENERALIZED_CROSS_ENTROPY = "#8C4A73"
"""Of an exponent of ½ or less, nearer to cross-entropy."""
ABSOLUTE_ERROR = "#E69F00"
FOCAL_LOSS = "#56B4E9"
SQUENTROPY = "#7F7F7F"
NATURAL_GRADIENT = "#000000"
BY_HAND = ("#882255", "#999933", "#44AA99")
"""Cross-entropies that were meant to be one (muted hues of Paul Tol)."""
INK = "#262626"
"""What is no loss: a truth, a bound, a note."""
