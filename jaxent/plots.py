"""Pictures of what the other modules measure: axes in, artists out.

Every function takes the axes first, draws arrays or a result tuple on them, labels what it knows
(axes and their units) and returns what it drew. Nothing is measured here and nothing is kept.
Figure, title, legend, colours and files are the caller's:

    import matplotlib.pyplot as plt
    from jaxent import plots

    plt.style.use("jaxent.paper")
    figure, ax = plt.subplots()
    plots.plot_history(ax, cross_entropies, log=True, label="cross-entropy")
    ax.set_ylabel("loss, nats")
    ax.legend()

Pictures of three classes want ternary axes, ``subplot_kw={"projection": "ternary"}``, which
importing this module makes known to matplotlib. Class 0 is the corner at the top, and the others
follow counter-clockwise.

What has no place on a logarithmic axis is not dropped: a value of 0 or less stands as a triangle
on the bottom edge.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import mpltern  # noqa: F401 (registers projection="ternary")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import TriMesh
from matplotlib.colors import Normalize
from matplotlib.container import BarContainer
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from matplotlib.text import Annotation, Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogitLocator, NullLocator
from matplotlib.tri import Triangulation
from mpltern.ternary import TernaryAxes
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from jaxent.cards import EscapeLaw, LossCard
    from jaxent.gradients import GradientField, GradientProfile

_MARGIN = "margin by which the truth is behind, logits"
_INK = "#262626"


def plot_gradient_profile(
    ax: Axes,
    profile: "GradientProfile",
    *,
    against: Literal["p_true", "margin"] = "p_true",
    **kwargs: Any,
) -> list[Line2D]:
    """‖dL/dz‖₂ against the probability of the truth, or against the margin it is behind.

    The norm is on a logarithmic axis. p_true is on a logit axis, ln p/(1 − p), that shows both
    ends; ``ax.set_xscale("linear")`` afterwards if those are not what you want to see. It has no
    place for a p_true that has rounded to 0 or 1: draw such a profile against the margin.

    Args:
        ax: any Cartesian axes.
        profile: of `jaxent.gradients.gradient_profile`.
        against: "p_true" or "margin" (in logits, positive where the truth is behind).
        **kwargs: of `matplotlib.axes.Axes.plot`: color, label, marker, …

    Returns:
        The curve; then, if the gradient is exactly 0 anywhere, the triangles that say so.

    Raises:
        ValueError: `against` is neither of the two.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxent import gradients, losses, plots
        >>> profile = gradients.gradient_profile(losses.softmax_brier_score, 3)
        >>> curve, *zeros = plots.plot_gradient_profile(Figure().add_subplot(), profile)
        >>> print(f"{curve.get_ydata().max():.4f}")  # at p_true = 1/3
        0.5443
    """
    if against == "p_true":
        ax.set(xscale="logit", xlabel="probability of the truth")
        ax.xaxis.set_major_locator(LogitLocator(nbins=7))
        ax.xaxis.set_minor_locator(NullLocator())
        positions = profile.p_true
    elif against == "margin":
        ax.set_xlabel(_MARGIN)
        positions = profile.margin
    else:
        raise ValueError(f'against must be "p_true" or "margin", but it is {against!r}.')
    ax.set_ylabel("gradient norm ‖dL/dz‖")
    return _plot_on_log_axis(ax, _as_floats(positions), _as_floats(profile.gradient_norm), kwargs)


def plot_history(ax: Axes, values: ArrayLike, *, log: bool = False, **kwargs: Any) -> list[Line2D]:
    """One number a step, against the step.

    Args:
        ax: any Cartesian axes.
        values: [steps]; NaN after a stop, or anywhere, leaves a gap.
        log: whether the values are on a logarithmic axis.
        **kwargs: of `matplotlib.axes.Axes.plot`: color, label, marker, …

    Returns:
        The curve; then, on a logarithmic axis, if any value is 0 or less, the triangles that say
        so.

    Raises:
        ValueError: the values are not [steps].

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxent import plots
        >>> ax = Figure().add_subplot()
        >>> curve, zeros = plots.plot_history(ax, [1.0, 0.1, 0.0, float("nan")], log=True)
        >>> print(zeros.get_xdata())
        [2.]
    """
    values = _as_floats(values)
    if values.ndim != 1:
        raise ValueError(f"values must be [steps], but their shape is {values.shape}.")
    steps = np.arange(values.size, dtype=float)
    ax.set_xlabel("step")
    if not log:
        return ax.plot(steps, values, **kwargs)
    return _plot_on_log_axis(ax, steps, values, kwargs)


def plot_distributions(
    ax: Axes, p: ArrayLike, q: ArrayLike, *, class_names: Sequence[str] | None = None, **kwargs: Any
) -> tuple[BarContainer, BarContainer]:
    """P against Q: Q as bars, P as an outline over them.

    Args:
        ax: any Cartesian axes.
        p: the target distribution, [classes].
        q: the model's distribution, [classes].
        class_names: under the bars; the numbers of the classes if not given.
        **kwargs: of the bars of Q: color, label ("Q" if not given), …

    Returns:
        The outlines of P, with the label "P", and the bars of Q.

    Raises:
        ValueError: p and q are not [classes] both.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxent import plots
        >>> outlines, bars = plots.plot_distributions(
        ...     Figure().add_subplot(), [1.0, 0.0, 0.0], [0.7, 0.1, 0.2]
        ... )
        >>> print([float(bar.get_height()) for bar in bars])
        [0.7, 0.1, 0.2]
    """
    p, q = _as_floats(p), _as_floats(q)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"p and q must be [classes], but their shapes are {p.shape}, {q.shape}.")
    classes = np.arange(p.size)
    outline = {"color": "none", "edgecolor": "black", "linewidth": 1.4, "clip_on": False}
    outlines = ax.bar(classes, p, label="P", width=0.84, zorder=3, **outline)
    bars = ax.bar(classes, q, **{"label": "Q", "width": 0.7, **kwargs})
    ax.set_xticks(classes, class_names)
    ax.grid(visible=False, axis="x")
    ax.set(xlabel="class", ylabel="probability", ylim=(0, 1))
    return outlines, bars


def plot_simplex_field(
    ax: Axes,
    field: "GradientField",
    *,
    magnitude: Literal["gradient", "velocity"] = "gradient",
    norm: Normalize | None = None,
    arrows: int = 12,
    class_names: Sequence[str] | None = None,
    **kwargs: Any,
) -> tuple[TriMesh, Quiver]:
    """Where a loss pushes Q, everywhere: colour for how hard, arrows for where to.

    An arrow points where Q moves, along −J dL/dz. Its length repeats what the colour says, on the
    same scale, but never falls below a third of the longest: the direction can be read where
    next to nothing moves. Q does not move at all where there is a dot. Where the gradient is not
    finite the simplex stays white.

    Args:
        ax: ternary axes, ``projection="ternary"``.
        field: of `jaxent.gradients.gradient_field`.
        magnitude: what colour and length show: "gradient" for ‖dL/dz‖₂, what the parameters
            feel, or "velocity" for ‖dq/dt‖₂, how fast Q moves.
        norm: the scale of the magnitude: ``LogNorm(1e-3, 1)`` where decades count, one object for
            panels that are to be compared. What lies beyond an end of it is drawn like that
            end. If not given, linear from 0 to the largest.
        arrows: about how many along an edge; they stand at points of the field.
        class_names: at the corners; "q₀", "q₁", "q₂" if not given.
        **kwargs: of `matplotlib.axes.Axes.tripcolor`: cmap, alpha, …

    Returns:
        The colours, which ``figure.colorbar`` wants, and the arrows.

    Raises:
        TypeError: the axes are not ternary.
        ValueError: `magnitude` is neither of the two.

    Example:
        >>> import jax
        >>> from matplotlib.figure import Figure
        >>> from jaxent import gradients, losses, plots
        >>> truth = jax.numpy.array([1.0, 0.0, 0.0])
        >>> field = gradients.gradient_field(losses.softmax_cross_entropy, truth)
        >>> figure = Figure()
        >>> ax = figure.add_subplot(projection="ternary")
        >>> colours, arrows = plots.plot_simplex_field(ax, field)
        >>> colour_bar = figure.colorbar(colours, label="gradient norm")
    """
    ax = _as_ternary(ax, class_names)
    if magnitude not in ("gradient", "velocity"):
        raise ValueError(f'magnitude must be "gradient" or "velocity", but it is {magnitude!r}.')
    points, velocities = _as_floats(field.q), _as_floats(field.velocities)
    vectors = _as_floats(field.gradients) if magnitude == "gradient" else velocities
    magnitudes = np.linalg.norm(vectors, axis=-1)
    finite = np.isfinite(magnitudes) & np.isfinite(velocities).all(axis=-1)
    velocities = np.where(finite[:, None], velocities, 0.0)
    norm = norm or Normalize(vmin=0.0)
    norm.autoscale_None(magnitudes[finite])
    # A LogNorm masks a zero, and what is masked is not drawn.
    magnitudes = np.clip(np.where(finite, magnitudes, 0.0), norm.vmin, norm.vmax)
    triangulation = _triangulation(ax, points, finite)
    colours = _shade(ax, triangulation, magnitudes, **{"norm": norm, **kwargs})

    chosen, spacing = _regular_choice(points, arrows)
    chosen &= finite
    speeds = np.linalg.norm(velocities[chosen], axis=-1, keepdims=True)
    directions = velocities[chosen] / np.where(speeds == 0, 1, speeds)
    lengths = spacing * (0.3 + 0.6 * norm(magnitudes[chosen]))
    shifts = lengths[:, None] * directions
    lightness = colours.to_rgba(magnitudes[chosen])[:, :3] @ (0.2126, 0.7152, 0.0722)
    colour = np.where(lightness < 0.5, "white", _INK)
    in_data: Any = {"angles": "xy", "units": "xy", "scale_units": "xy", "scale": 1}
    head: Any = {"headwidth": 4, "headlength": 4.5, "headaxislength": 4}
    tails = points[chosen] - shifts / 2
    width = 0.055 * spacing
    quiver = ax.quiver(*tails.T, *shifts.T, color=colour, width=width, **in_data, **head)
    return colours, quiver


def plot_simplex_map(
    ax: Axes,
    q: ArrayLike,
    values: ArrayLike,
    *,
    norm: Normalize | None = None,
    contour: float | None = 0.0,
    class_names: Sequence[str] | None = None,
    **kwargs: Any,
) -> tuple[TriMesh, ContourSet | None]:
    """A number of either sign at points all over the simplex, and the line where it changes sign.

    Orange is below the middle of the scale and purple above, which the colour-blind can tell
    apart. Where the number is not finite the simplex stays white.

    Args:
        ax: ternary axes, ``projection="ternary"``.
        q: the points, [N, 3], such as those of a `jaxent.gradients.GradientField`.
        values: the number at each of them, [N].
        norm: the scale, one object for panels that are to be compared. If not given, linear, as
            far below 0 as above.
        contour: the value along which a line is drawn; None for no line.
        class_names: at the corners; "q₀", "q₁", "q₂" if not given.
        **kwargs: of `matplotlib.axes.Axes.tripcolor`: cmap, alpha, …

    Returns:
        The colours, which ``figure.colorbar`` wants, and the line, or None if no values are on
        both sides of it by more than rounding, 1e-9 of the largest.

    Raises:
        TypeError: the axes are not ternary.
        ValueError: the points are not [N, 3], or the values not [N].

    Example:
        The least curvature of the Brier score is negative in most of the triangle.

        >>> import jax
        >>> from matplotlib.figure import Figure
        >>> from jaxent import curvature, gradients, losses, plots
        >>> truth = jax.numpy.array([1.0, 0.0, 0.0])
        >>> field = gradients.gradient_field(losses.softmax_brier_score, truth)
        >>> targets = jax.numpy.broadcast_to(truth, field.logits.shape)
        >>> curvatures = curvature.eigenvalues(losses.softmax_brier_score, field.logits, targets)
        >>> ax = Figure().add_subplot(projection="ternary")
        >>> colours, line = plots.plot_simplex_map(ax, field.q, curvatures[:, 0])
    """
    ax = _as_ternary(ax, class_names)
    points, values = _as_floats(q), _as_floats(values)
    if points.shape != (*values.shape, 3) or values.ndim != 1:
        raise ValueError(
            f"q must be [N, 3] and values [N], but their shapes are {points.shape}, {values.shape}."
        )
    finite = np.isfinite(values)
    largest = np.abs(values[finite]).max(initial=0.0) or 1.0
    triangulation = _triangulation(ax, points, finite)
    known = np.where(finite, values, 0.0)
    norm = norm or Normalize(-largest, largest)
    colours = _shade(ax, triangulation, known, **{"norm": norm, "cmap": "PuOr", **kwargs})
    if contour is None:
        return colours, None
    above = np.where(finite, values, contour) - contour
    signs = np.sign(np.where(np.abs(above) > 1e-9 * largest, above, 0.0))
    # The line runs where the number is above and below by more than rounding, not along the edge
    # of a region where it is 0 but for that.
    corners = signs[triangulation.triangles]
    crossed = (corners.max(axis=1) > 0) & (corners.min(axis=1) < 0)
    if triangulation.mask is not None:
        crossed &= ~triangulation.mask
    if not crossed.any():
        return colours, None
    lined = Triangulation(triangulation.x, triangulation.y, triangulation.triangles, ~crossed)
    style = {"colors": _INK, "linewidths": 1.2, "linestyles": "solid", "transform": ax.transData}
    return colours, ax.tricontour(lined, known, levels=[contour], **style)


def plot_simplex_path(
    ax: Axes, path: ArrayLike, *, class_names: Sequence[str] | None = None, **kwargs: Any
) -> list[Line2D]:
    """The path of Q on the simplex: an open circle where it starts, a full one where it ends.

    Args:
        ax: ternary axes, ``projection="ternary"``.
        path: q at each step, [steps, 3]; rows with NaN, as after a stop, are left out.
        class_names: at the corners; "q₀", "q₁", "q₂" if not given.
        **kwargs: of `matplotlib.axes.Axes.plot`: color, label, marker, …

    Returns:
        The path, the mark of its start and the mark of its end.

    Raises:
        TypeError: the axes are not ternary.
        ValueError: the path is not [steps, 3].

    Example:
        >>> import jax, optax
        >>> from matplotlib.figure import Figure
        >>> from jaxent import descent, losses, plots
        >>> start, p = jax.numpy.array([-3.0, 0.0, 1.0]), jax.numpy.array([0.7, 0.2, 0.1])
        >>> fit = descent.fit(
        ...     losses.softmax_cross_entropy, start, p, optax.sgd(1.0),
        ...     steps=50, record=descent.record_path,
        ... )
        >>> ax = Figure().add_subplot(projection="ternary")
        >>> path, begin, end = plots.plot_simplex_path(ax, jax.nn.softmax(fit.record))
    """
    ax = _as_ternary(ax, class_names)
    path = _as_floats(path)
    if path.ndim != 2 or path.shape[1] != 3:
        raise ValueError(f"path must be [steps, 3], but its shape is {path.shape}.")
    path = path[~np.isnan(path).any(axis=1)]
    (line,) = ax.plot(*path.T, **{"clip_on": False, **kwargs})
    zorder = line.get_zorder() + 0.1
    start = _mark(ax, line, *path[:1].T, marker="o", markerfacecolor="white", zorder=zorder)
    end = _mark(ax, line, *path[-1:].T, marker="o", zorder=zorder)
    return [line, start, end]


def plot_escape_law(
    ax: Axes,
    escape: "EscapeLaw",
    *,
    limits: tuple[float, float] | None = None,
    **kwargs: Any,
) -> list[Line2D]:
    """The time that a confident mistake takes to unlearn, and the law that it follows.

    The time is on a logarithmic axis, where an exponential law is straight and a linear one
    bends. What is never unlearned stands as a triangle on the top edge.

    Args:
        ax: any Cartesian axes.
        escape: of a `jaxent.cards.LossCard`.
        limits: the ends of the axis of times. A measured time beyond one of them stands as an
            open triangle on that edge. If not given, all times up to 1e250 are on the axis.
        **kwargs: of `matplotlib.axes.Axes.plot` for the law: color, label (the law in words if not
            given), …

    Returns:
        The law as a line; the measured times as dots; then, if there are any, the triangles that
        say never, the open ones for later times and the open ones for earlier times.

    Example:
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> from jaxent import plots
        >>> from jaxent.cards import EscapeLaw
        >>> margins = np.arange(1.0, 13.0)
        >>> escape = EscapeLaw(
        ...     "linear", (0.5, 0.5, np.nan), 1e-3, margins, (margins + 1 - np.exp(-margins)) / 2
        ... )
        >>> law, dots = plots.plot_escape_law(Figure().add_subplot(), escape)
        >>> print(law.get_label())
        linear, 0.5 per logit
    """
    margins, times = _as_floats(escape.margins), _as_floats(escape.times)
    ax.set(xlabel=_MARGIN, ylabel="time to the tie, learning rate × steps", yscale="log")
    along = np.linspace(0.0, margins.max(), 241)
    finite = times[np.isfinite(times) & (times > 0)]
    earliest, latest = limits or _around(finite)
    ax.set_ylim(earliest, latest)
    with np.errstate(over="ignore"):
        law = _as_floats(escape.predict(along))
    shown = np.where(np.isfinite(law) & (law > 0), law, np.nan)
    (line,) = ax.plot(along, shown, **{"label": escape.in_short(), **kwargs})
    never = np.isinf(times)
    later, earlier = (times > latest) & ~never, times < earliest
    measured = np.where(never | later | earlier, np.nan, times)
    dots = _mark(ax, line, margins, measured, marker="o", zorder=3)
    hollow = {"markerfacecolor": "white", "zorder": 3}
    return [
        line,
        dots,
        *_mark_edge(ax, line, margins[never], 1.0, marker="^", zorder=3),
        *_mark_edge(ax, line, margins[later], 1.0, marker="^", **hollow),
        *_mark_edge(ax, line, margins[earlier], 0.0, marker="v", **hollow),
    ]


def plot_card(ax: Axes, card: "LossCard", *, columns: int = 1, **kwargs: Any) -> list[Text]:
    """The main facts of a card as lines of text, from the top left corner of the axes down.

    A fact that is too long for its column is set in smaller type, or cut off with "…" where that
    could not be read.

    Args:
        ax: any axes; they are turned off.
        card: of `jaxent.cards.card`.
        columns: over how many columns of the same width the lines are spread.
        **kwargs: of `matplotlib.text.Text`: fontsize, …

    Returns:
        The texts: what is said, and the fact, of each line in turn.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxent import cards, losses, plots
        >>> card = cards.card(losses.softmax_brier_score)
        >>> texts = [text.get_text() for text in plots.plot_card(Figure().add_subplot(), card)]
        >>> print(texts[texts.index("largest push") + 1])
        0.544 at p_true = 0.333
    """
    ax.set_axis_off()
    facts = card.short_words()
    lines = math.ceil(len(facts) / columns)
    width = 72 * ax.bbox.width / ax.figure.dpi / columns  # in points
    texts = []
    for number, (said, fact) in enumerate(facts.items()):
        column, line = divmod(number, lines)
        corner = {"xy": (column / columns, 1), "xycoords": "axes fraction"}
        for text, indent, style in ((said, 0.0, {"color": "#595959"}), (fact, 9.4, {})):
            style = {"textcoords": "offset fontsize", "va": "top", **corner, **style, **kwargs}
            shown = ax.annotate(text, xytext=(indent, -1.5 * line), **style)
            if indent:
                _fit(shown, indent, width)
            texts.append(shown)
    return texts


def _fit(text: Annotation, indent: float, width: float) -> None:
    """Smaller type for a text that would end beyond the width, in points, or its end cut off.

    The indent is in sizes of the type that the text has, and stays where it is.
    """
    size = float(text.get_fontsize())

    def extent(size: float) -> float:
        path = TextPath((0, 0), text.get_text(), size, prop=text.get_fontproperties())
        return path.get_extents().width

    room = width - indent * size
    if extent(size) <= room:
        return
    smaller = max(0.75 * size, size * room / extent(size))
    across, down = text.xyann
    text.xyann = across * size / smaller, down * size / smaller
    text.set_fontsize(smaller)
    while extent(smaller) > room and len(text.get_text()) > 2:
        text.set_text(f"{text.get_text().removesuffix('…')[:-1].rstrip()}…")


def _around(times: np.ndarray) -> tuple[float, float]:
    """Limits of a logarithmic axis around positive numbers, far from the largest float."""
    if not times.size:
        return 0.1, 10.0
    low, high = np.log10(times.min()), np.log10(times.max())
    space = max(0.05 * (high - low), 0.1)
    return float(10 ** max(low - space, -250)), float(10 ** min(high + space, 250))


def _as_floats(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype=float)


def _plot_on_log_axis(
    ax: Axes, positions: np.ndarray, values: np.ndarray, kwargs: dict[str, Any]
) -> list[Line2D]:
    ax.set_yscale("log")
    positive = ~(values <= 0)
    (line,) = ax.plot(positions, np.where(positive, values, np.nan), **kwargs)
    return [line, *_mark_edge(ax, line, positions[~positive], 0.0, marker="v")]


def _mark_edge(
    ax: Axes, line: Line2D, positions: np.ndarray, height: float, **kwargs: Any
) -> list[Line2D]:
    """Marks on the bottom edge of the axes (height 0) or the top edge (1), if there are any."""
    heights, edge = np.full_like(positions, height), ax.get_xaxis_transform()
    return [_mark(ax, line, positions, heights, transform=edge, **kwargs)] if len(heights) else []


def _mark(ax: Axes, line: Line2D, *places: np.ndarray, **kwargs: Any) -> Line2D:
    """Marks in the colour of a line."""
    color = line.get_color()
    return ax.plot(*places, color=color, linestyle="none", clip_on=False, **kwargs)[0]


def _as_ternary(ax: Axes, class_names: Sequence[str] | None) -> TernaryAxes:
    """The same axes, with the corners named (once) and no numbers along the sides."""
    if not isinstance(ax, TernaryAxes):
        raise TypeError(
            'three classes are drawn on ternary axes: figure.add_subplot(projection="ternary"); '
            f"these are {type(ax).__name__}."
        )
    corners = (
        (ax.taxis, "$q_0$", "center", "bottom"),
        (ax.laxis, "$q_1$", "left", "top"),
        (ax.raxis, "$q_2$", "right", "top"),
    )
    names = class_names or [None] * 3
    for (axis, default, ha, va), name in zip(corners, names, strict=True):
        axis.set_ticks([0.25, 0.5, 0.75], ["", "", ""])
        axis.set_tick_params(length=0)
        # Beneath the triangle and not beside it, where long names would leave it no room.
        axis.set_label_rotation_mode("manual")
        label = name or axis.get_label_text() or default
        axis.set_label_text(label, rotation=0, ha=ha, va=va)
    return ax


def _shade(ax: TernaryAxes, triangles: Triangulation, values: np.ndarray, **kwargs: Any) -> TriMesh:
    style = {"shading": "gouraud", "zorder": 0.5, "transform": ax.transData, **kwargs}
    return ax.tripcolor(triangles, values, **style)


def _triangulation(ax: TernaryAxes, points: np.ndarray, shown: np.ndarray) -> Triangulation:
    """Of the points that are shown, without the slivers along the edges.

    There points are in line but for rounding, and Agg shades a triangle without area in colours
    that are not there.
    """
    places = ax.transProjection.transform(points)
    triangulation = Triangulation(*places.T)
    corners = places[triangulation.triangles]
    sides = corners - np.roll(corners, 1, axis=1)
    areas = np.abs(np.linalg.det(sides[:, :2])) / 2
    slivers = areas < 0.01 * np.square(sides).sum(axis=(1, 2))
    triangulation.set_mask(slivers | ~shown[triangulation.triangles].all(axis=1))
    return triangulation


def _regular_choice(points: np.ndarray, along_an_edge: int) -> tuple[np.ndarray, float]:
    """Which points of a field to keep for about so many along an edge, and how far they are apart.

    A field has the points q = (steps + ⅓)/resolution. Every so many steps from the left and from
    the right make a grid that is regular and symmetric; of these, one with about the right number
    of points and none of them next to an edge, where half of an arrow would be cut off.
    """
    resolution = math.isqrt(2 * len(points))

    def cost(grid: tuple[int, int]) -> float:
        stride, first = grid
        first_from_below = (resolution - 1 - 2 * first) % stride
        too_near = max(0, stride - 1 - 3 * min(first, first_from_below)) / stride
        return abs(math.log(resolution / stride / along_an_edge)) + too_near

    strides = range(max(1, resolution // (2 * along_an_edge)), 2 * resolution // along_an_edge + 2)
    stride, first = min(((s, f) for s in strides for f in range(s)), key=cost)
    steps = np.rint(points * resolution - 1 / 3).astype(int)
    chosen = np.all(steps[:, 1:] % stride == first, axis=1)
    return chosen, math.sqrt(2) * stride / resolution
