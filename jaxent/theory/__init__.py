"""The closed forms that measurements are held to.

How hard a loss pushes, how long it takes to unlearn a confident mistake, how it is curved, how its
flow moves the probabilities. Everything here is about one example with a one-hot target on the
class y, unless a P is named. Write a = q_y for the probability of the truth, C for the number of
classes, K = C − 1 for the wrong ones, and say that the truth stands a *margin* m behind every
wrong logit:

    z_j − z_y = m  for every j ≠ y,        a = 1/(1 + K eᵐ),        1 − a = K/(K + e⁻ᵐ).

m > 0 is a confident mistake, m = 0 a tie (a = 1/C), m < 0 a right answer. The margin is the
argument of these functions, because p_true is not enough of a number: in float32 everything
right from 1 − a = 3e-8 on is a = 1, while m still tells 1 − a = 1e-30 from 1e-31.

Wrong mass on *one* wrong class is the case ``num_classes=2`` of every formula: the other classes,
at probability 0, have no part in it. (Mean absolute error alone counts them, in its mean.)

The scales are those of `jaxent.losses`, without hidden ½. Cross-entropy in nats,
−ln q_y; Brier score Σᵢ (qᵢ − pᵢ)², a *sum* over the classes; absolute error (1/C) Σᵢ |qᵢ − pᵢ|, a
*mean*; squared error on raw logits Σᵢ (zᵢ − pᵢ)². The mean squared error on the softmax is the
Brier score over C: its gradient norms are those of the Brier score divided by C, its escape times
are multiplied by C, and a step η on it is a step η/C on the Brier score.

Results have the dtype of the first argument. In float32 what is below 1.2e-38 becomes 0, and eᵐ
overflows from m = 88.7 on.
"""

from jaxent.theory import curvature as curvature
from jaxent.theory import escape as escape
from jaxent.theory import flows as flows
from jaxent.theory import gradients as gradients
from jaxent.theory import statistics as statistics
