"""The order in which the experiments are read, and what a teacher may do with each part."""

from typing import NamedTuple


class Chapter(NamedTuple):
    """A part of the article.

    Attributes:
        title: Its heading.
        lesson: What a class can be asked, and in how many minutes.
        names: The experiments in it, in order.
    """

    title: str
    lesson: str
    names: tuple[str, ...]


CHAPTERS = (
    Chapter(
        "What cross-entropy measures",
        "Fifteen minutes. Have the three cross-entropies of the flower worked out by hand, then "
        "ask which Q makes the number least, before anyone sees the curve.",
        ("worked_example", "fit_q_to_p"),
    ),
    Chapter(
        "Where the gradient goes",
        "Thirty minutes, the heart of the matter. Ask for a guess first: a model is sure and "
        "wrong; which loss pushes harder, and by how much? The one neuron can be done on the "
        "board; the triangle shows the same everywhere, and the clock says what it costs.",
        ("gradient_profile", "simplex_field", "escape", "many_classes"),
    ),
    Chapter(
        "Curvature, and the step that it allows",
        "For those who know eigenvalues, thirty minutes. What is the largest step that a loss "
        "stands, is it convex, and why is a skewed P slow even when nothing is badly wrong?",
        ("conditioning", "convexity", "stability"),
    ),
    Chapter(
        "It is the softmax, not the square",
        "Twenty minutes, to take apart the sentence that squared error is slow. Which changes of "
        "the rule, with the same squared error, bring the speed back?",
        ("flows", "optimizers"),
    ),
    Chapter(
        "Does it matter in practice?",
        "An afternoon, or homework. Have every group tune the step of its own loss before the "
        "race, and let the curves of the steps be compared before the results.",
        ("race", "gaussian_classes", "label_noise"),
    ),
    Chapter(
        "The classics, and what people write by hand",
        "Reading for after the lesson: what was claimed since 1988, measured again, and the ways "
        "in which a cross-entropy comes to train like squared error.",
        ("classics", "gallery"),
    ),
)
