"""One figure that shows how a loss trains.

    from jaxent import losses, portraits

    portraits.portrait(losses.softmax_cross_entropy).savefig("cross_entropy.pdf")
    portraits.portrait([losses.softmax_cross_entropy, my_loss]).savefig("side_by_side.png")

How hard it pushes at every degree of confidence, how long a confident mistake lasts, where it
pushes and how it curves all over the simplex of three classes, the ways that descent takes there,
and the facts of its card.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.style
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, SymLogNorm, is_color_like
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxent import _arguments as arguments
from jaxent import _catalogue as catalogue
from jaxent import cards, curvature, descent, gradients, plots
from jaxent._examples import Loss, jit_quickly
from jaxent._words import raised, short
from jaxent.cards import EscapeLaw, LossCard
from jaxent.gradients import GradientProfile

_RESOLUTION = 100
_STEPS = 100
# The first two are mistakes 8 logits deep, which the eye cannot tell from the corners.
_STARTS = (
    (0.0003, 0.9994, 0.0003),
    (0.0003, 0.0003, 0.9994),
    (0.02, 0.93, 0.05),
    (0.02, 0.05, 0.93),
    (0.02, 0.55, 0.43),
    (0.35, 0.6, 0.05),
    (0.3, 0.05, 0.65),
)
_STYLE = [
    "jaxent.paper",
    {"axes.labelsize": 8.5, "xtick.labelsize": 8, "ytick.labelsize": 8, "lines.markersize": 3.6},
    {"figure.facecolor": "white", "axes.facecolor": "white", "svg.fonttype": "none"},
]


class _Subject(NamedTuple):
    """What the panels of a loss are measured from, inside one compiled program."""

    loss: Loss
    target: Array
    starts: Array
    rate: Array
    profile: GradientProfile
    field: Any  # a GradientField, of three classes


class _Panel(NamedTuple):
    """One panel of a portrait: its words, what it shows of a loss, and how that is drawn."""

    name: str  # the ids of its axes begin with it
    head: str  # the words above the panel
    # Draws what is shown of one loss, in a `color`; with a scale a curve is given its `limits`, and
    # a triangle its `norm` in place of the color. A triangle is given `class_names` too.
    draw: Callable[..., Any]
    measure: Callable[[_Subject], Any] | None = None  # what is shown, in arrays; if None, the card
    # The limits of a curve's axes, or the `_Colours`, from what is shown of all losses.
    scale: Callable[[Sequence[Any]], Any] | None = None
    bar: str = ""  # the label of a colour bar, for the first artist that `draw` returns
    note: Callable[[LossCard], str] | None = None  # the words about each loss, beneath the head
    # The words at the foot that say how to read the panel, from what is shown of all losses, and
    # the scale.
    key: Callable[[Sequence[Any], Any], Sequence[str]] = lambda shown, scale: ()
    ternary: bool = False  # a triangle, which only three classes have


class _Sheet(Figure):
    """A figure that is drawn in the style that it was made in, wherever it is saved.

    Ticks are made and fonts are found when a figure is drawn, and whether the text of an SVG is
    text is no property of a figure at all.
    """

    def draw(self, renderer):
        with matplotlib.style.context(_STYLE):
            super().draw(renderer)

    def savefig(self, *args, **kwargs):
        kept: Any = {"savefig.facecolor": "auto", "savefig.edgecolor": "auto", "pdf.fonttype": 42}
        with matplotlib.rc_context(kept):
            super().savefig(*args, **kwargs)


def portrait(
    losses: Loss | Iterable[Loss] | Mapping[str, Loss],
    num_classes: int = 3,
    target: Sequence[float] | Float[ArrayLike, "3"] | None = None,
    *,
    seed: int = 0,
    colors: Sequence[str] | None = None,
    facts: Mapping[str, LossCard] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Figure:
    """One sheet that shows how a loss trains, or several losses on shared scales.

    The panels of each loss:

    - the gradient norm ‖dL/dz‖ against the probability of the truth (where it is exactly 0, a
      triangle on the bottom edge);
    - the time that gradient flow takes to unlearn a confident mistake, against its margin of up
      to 24 logits: dots as measured, the law as a line (what is never unlearned, a triangle on
      the top edge; what takes longer than the axis goes, an open one);
    - on the simplex of three classes: the gradient norm as colour, with arrows along the motion
      of q; the least eigenvalue of the Hessian, with a line where it changes sign; and the paths
      of descent from the same seven starts, each loss with its own stable step 1/L (the inverse
      of the largest gradient norm on the way to the truth for a loss that has no such step);
    - the main facts of its card, `jaxent.cards.card`.

    For several losses each has a row and a colour, the curves of the others are in grey, and all
    share their axes and the scales of the colours: linear ones, or logarithmic ones where the
    largest values of two losses differ by more than a factor of 10. Axes and scales are those of
    most of the losses: a loss that is singular somewhere goes beyond them, and the foot of the
    sheet says so.

    Args:
        losses: a loss, several, or a mapping from names: `loss(logits, targets)` of one example,
            [C] and [C], a scalar. The losses of `jaxent.losses` are taken as they are, those of
            one logit with ``num_classes=2``.
        num_classes: C, at least 2. The triangles are those of 3 classes, and for other numbers
            the sheet is without them.
        target: the P of the triangles, [3]; (1, 0, 0) if not given. The other panels are those of
            a certain truth.
        seed: of the points that the cards draw at random.
        colors: one of each loss, as matplotlib names them, in the order of the losses; those of
            the style jaxent.paper if not given.
        facts: cards that are there already, by the names of the losses; the others are measured.
        progress: is called with what comes next before it is measured.

    Returns:
        A `matplotlib.figure.Figure`, 9 to 10 inches wide, to be saved with ``figure.savefig``; it
        looks the same whatever the settings of matplotlib. The text of an SVG is text. The id
        (``gid``) of the axes of a panel is its name and the number of the loss: "profile-0",
        "escape-0", "field-0", "curvature-0", "paths-0" and "card-0" are of the first loss.

    Raises:
        TypeError: what was given is no loss.
        ValueError: two losses have the same name; the colors are not as many as the losses, or are
            none; a loss of one logit is given other than 2 classes; the target is not a
            distribution over 3 classes, is given for another number of them, or is soft where a
            loss takes no soft targets; or the loss does not return a scalar.

    Example:
        The law of escape stands above its panel. One more logit to unlearn costs cross-entropy a
        time of (C − 1)/C.

        >>> from jaxent import losses, portraits
        >>> figure = portraits.portrait(losses.softmax_cross_entropy, num_classes=10)
        >>> figure.savefig("cross_entropy.svg")  # doctest: +SKIP
        >>> print(*[text.get_text() for text in figure.texts if "logit" in text.get_text()][:1])
        linear, 0.9 per logit
    """
    by_name = catalogue.named(losses)
    for name, loss in by_name.items():
        if num_classes != 2 and catalogue.is_binary(getattr(loss, "__wrapped__", loss)):
            raise ValueError(f"{name} is a loss of two classes: num_classes must be 2.")
    p = _as_distribution(target, num_classes)
    palette = _palette(colors, len(by_name))
    tell = progress or (lambda words: None)
    facts = dict(facts or {})
    panels = [panel for panel in PANELS if num_classes == 3 or not panel.ternary]
    looks = {}
    for name, loss in by_name.items():

        def tell_of(words: str, name: str = name) -> None:
            tell(f"{name}: {words}")

        if name not in facts:
            facts[name] = cards.card(loss, num_classes, name=name, seed=seed, progress=tell_of)
        card = facts[name]
        if p.max() < 1 and card.invariance.soft_targets != "accepted":
            takes = {"ignored": "ignores", "refused": "refuses"}[card.invariance.soft_targets]
            raise ValueError(
                f"{card.name} {takes} soft targets, so target must be all on one class."
            )
        tell_of("panels")
        looks[name] = _look(loss, num_classes, panels, p, card)
    tell("drawing")
    with matplotlib.style.context(_STYLE):
        return _draw(looks, panels, num_classes, p, palette)


def _palette(colors: Sequence[str] | None, num_losses: int) -> Sequence[str]:
    if colors is None:
        with matplotlib.style.context("jaxent.paper"):
            cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        return [cycle[row % len(cycle)] for row in range(num_losses)]
    if len(colors) != num_losses:
        raise ValueError(f"colors must be one of each loss, {num_losses}, but are {len(colors)}.")
    for color in colors:
        if not is_color_like(color):
            raise ValueError(f"{color!r} is not a color that matplotlib knows.")
    return colors


def _as_distribution(target: Sequence[float] | ArrayLike | None, num_classes: int) -> np.ndarray:
    if target is None:
        return np.eye(3)[0]
    given = np.asarray(target)
    if num_classes != 3:
        raise ValueError(
            f"target is the P of the triangles, which are of 3 classes and not of {num_classes}."
        )
    if not arguments.is_distribution(given.astype(float), 3):
        raise ValueError(f"target must be 3 probabilities that sum to 1, but it is {given}.")
    return given.astype(float)


def _look(
    loss: Loss, num_classes: int, panels: Sequence[_Panel], target: np.ndarray, card: LossCard
) -> dict[str, Any]:
    """What each panel shows of a loss, and the card."""

    def measure(margins: Array, target: Array, starts: Array, rate: Array) -> dict[str, Any]:
        profile, field = gradients.gradient_profile(loss, num_classes, margin=margins), None
        if num_classes == 3:
            field = gradients.gradient_field(loss, target, resolution=_RESOLUTION)
        subject = _Subject(loss, target, starts, rate, profile, field)
        return {panel.name: panel.measure(subject) for panel in panels if panel.measure}

    with jax.enable_x64(True):
        margins = jnp.linspace(20.0, -20.0, 401) - math.log(num_classes - 1)
        measured = jit_quickly(measure)(margins, target, np.asarray(_STARTS), _step_of(card)[0])
        measured = jax.tree.map(np.asarray, measured)
    return {"card": card, **{panel.name: measured.get(panel.name, card) for panel in panels}}


# The sheet, in inches from its left and from its top

_Place = tuple[float, float, float, float]  # left, top, width, height
_Row = tuple[float, dict[str, _Place]]  # the top of the name of a loss, its panels and its card
_QUIET = "#595959"
_OTHERS: dict[str, Any] = {"color": "#c8c8c8", "linewidth": 1.0}


class _Grid(NamedTuple):
    """The columns of a sheet, for each kind of panel the left edges and the width, and its lines.

    Panels fill the columns of their kind from the left, line by line. The card comes after the
    triangles, or is above all panels if it has several columns.
    """

    width: float
    curves: tuple[tuple[float, ...], float]
    triangles: tuple[tuple[float, ...], float]
    top: float
    height: float
    pitch: float
    columns_of_card: int


_WITHOUT_TRIANGLES = _Grid(9.0, ((0.6, 3.6), 2.5), ((6.3,), 2.6), 0.95, 2.1, 3.0, 1)
_ONE_LOSS = _Grid(9.0, ((0.6,), 2.3), ((3.3, 6.25), 2.5), 0.85, 2.4, 4.65 - 0.85, 1)
_SEVERAL_LOSSES = _Grid(10.0, ((0.5, 2.5), 1.5), ((4.25, 6.17, 8.09), 1.76), 1.6, 1.7, 3.2, 3)


def _layout(grid: _Grid, losses: int, panels: Sequence[_Panel]) -> list[_Row]:
    curves = [panel.name for panel in panels if not panel.ternary]
    triangles = [panel.name for panel in panels if panel.ternary]
    if grid.columns_of_card == 1:
        triangles.append("card")
    kinds = (*grid.curves, curves), (*grid.triangles, triangles)
    lines = max(math.ceil(len(names) / len(lefts)) for lefts, _, names in kinds)
    rows = []
    for number in range(losses):
        first = grid.top + grid.pitch * lines * number
        top_of_name, places = first - 0.5, {}
        if "card" not in triangles:
            top_of_card = first - (0.95 if number else 1.2)  # the first loss has heads
            top_of_name = top_of_card - 0.1
            places["card"] = 0.15, top_of_card, grid.width - 0.2, 0.6
        for lefts, width, names in kinds:
            for index, name in enumerate(names):
                line, column = divmod(index, len(lefts))
                left = lefts[column] + (0.05 if name == "card" else 0)
                places[name] = left, first + grid.pitch * line, width, grid.height
        rows.append((top_of_name if number else 0.3, places))
    return rows


def _draw(
    looks: Mapping[str, Mapping[str, Any]],
    panels: Sequence[_Panel],
    num_classes: int,
    target: np.ndarray,
    palette: Sequence[str],
) -> Figure:
    grid = _WITHOUT_TRIANGLES
    if num_classes == 3:
        grid = _ONE_LOSS if len(looks) == 1 else _SEVERAL_LOSSES
    rows = _layout(grid, len(looks), panels)
    last, below = rows[-1][1], {panel.name: 0.9 for panel in panels if panel.bar}
    end = max(last[part][1] + grid.height + below.get(part, 0.55) for part in last)
    raw = [name for name, look in looks.items() if not look["card"].invariance.shift]
    shown = {panel.name: [look[panel.name] for look in looks.values()] for panel in panels}
    scales = {panel.name: panel.scale(shown[panel.name]) for panel in panels if panel.scale}
    keys = {panel.name: panel.key(shown[panel.name], scales.get(panel.name)) for panel in panels}
    words = _notes(panels, keys, raw, num_classes, target, several=len(looks) > 1)
    notes = textwrap.wrap(words, round(17.5 * grid.width))
    size = grid.width, end + 0.15 * len(notes)
    # said later, it would leave a placeholder, for which each file is drawn twice
    figure = _Sheet(figsize=size, dpi=150, layout="none")  # pyright: ignore
    for number, (name, colour, (top, places)) in enumerate(zip(looks, palette, rows, strict=True)):
        look, title = looks[name], name if len(name) <= 80 else f"{name[:79]}…"
        _write(figure, 0.15, top, title, color=colour, fontsize=11, weight="bold", parse_math=False)
        ax = _axes(figure, places["card"], f"card-{number}")
        plots.plot_card(ax, look["card"], columns=grid.columns_of_card, fontsize=8)
        tops_with_notes = {places[panel.name][1] for panel in panels if panel.note}
        for panel in panels:
            left, top, width, _ = places[panel.name]
            middle = left + width / 2
            if number == 0:
                lift = 0.3 if top in tops_with_notes else 0.12
                _write(figure, middle, top - lift, panel.head, ha="center", fontsize=9)
            if panel.note:
                note = panel.note(look["card"])
                _write(figure, middle, top - 0.11, note, ha="center", fontsize=8.5, color=_QUIET)
            ax = _axes(figure, places[panel.name], f"{panel.name}-{number}", ternary=panel.ternary)
            scale = scales.get(panel.name)
            if panel.ternary:
                style = {"norm": scale.norm, "rasterized": True} if scale else {"color": colour}
                drawn = _draw_triangle(ax, panel, look[panel.name], target, **style)
                if panel.bar and scale and number == 0:
                    _draw_bar(figure, last[panel.name], panel, drawn[0], scale)
                continue
            limits = {} if scale is None else {"limits": scale}
            for one in shown[panel.name][:number] + shown[panel.name][number + 1 :]:
                panel.draw(ax, one, **limits, **_OTHERS)
            panel.draw(ax, look[panel.name], **limits, color=colour)
            ax.set_ylabel("")
            if number < len(looks) - 1:
                ax.set_xlabel("")
    words = {"va": "top", "color": _QUIET, "fontsize": 7.5, "linespacing": 1.3}
    _write(figure, 0.15, end, "\n".join(notes), **words)
    return figure


def _write(figure: Figure, left: float, top: float, words: str, **kwargs: Any) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, words, **kwargs)


def _axes(figure: Figure, place: _Place, gid: str, *, ternary: bool = False) -> Axes:
    left, top, width, height = place
    if ternary:
        tall = width * math.sqrt(3) / 2
        top, height = top + height - tall, tall
    of_width, of_height = figure.get_size_inches()
    return figure.add_axes(
        (left / of_width, 1 - (top + height) / of_height, width / of_width, height / of_height),
        projection="ternary" if ternary else None,
        gid=gid,
    )


def _draw_triangle(ax: Axes, panel: _Panel, shown: Any, target: np.ndarray, **style: Any) -> Any:
    if target.max() == 1:
        names = ["truth" if p else "wrong" for p in target]
    else:
        names = [f"$p_{k}$ = {p:.3g}" for k, p in enumerate(target)]
        star = {"marker": "*", "markersize": 9, "color": "white", "markeredgecolor": "#262626"}
        ax.plot(*target[:, None], clip_on=False, zorder=5, **star)
    return panel.draw(ax, shown, class_names=names, **style)


class _Colours(NamedTuple):
    """A scale of colours, and at which ends there are numbers beyond it, as a colour bar says."""

    norm: Normalize
    extend: str


def _draw_bar(
    figure: Figure, place: _Place, panel: _Panel, mesh: ScalarMappable, colours: _Colours
) -> None:
    left, top, width, height = place
    below = left + 0.12, top + height + 0.35, width - 0.24, 0.09
    ax = _axes(figure, below, f"{panel.name}-bar")
    bar = figure.colorbar(mesh, cax=ax, orientation="horizontal", extend=colours.extend)
    bar.set_label(panel.bar)
    for part in ax.collections:
        part.set_rasterized(True)
    ticks, labels = _ticks(colours.norm, width - 0.24)
    bar.set_ticks(ticks, labels=labels)
    bar.minorticks_off()


def _ticks(norm: Normalize, width: float) -> tuple[list[float], list[str]]:
    """As many ticks as have room for their labels on a bar, whose width is in inches."""
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)  # pyright: ignore[reportArgumentType]
    choices: list[list[float]] = []
    if isinstance(norm, LogNorm | SymLogNorm):
        last = math.floor(math.log10(high))
        least = norm.linthresh if isinstance(norm, SymLogNorm) else low
        first = math.ceil(math.log10(least))
        for stride in range(1, max(last - first, 1) + 1):
            decades = [10.0**power for power in range(last, first - 1, -stride)][::-1]
            signed = [*(-x for x in decades[::-1]), 0.0, *decades]
            choices.append(signed if isinstance(norm, SymLogNorm) else decades)
        if isinstance(norm, SymLogNorm):
            choices.append([-(10.0**last), 0.0, 10.0**last])
    else:
        for count in (6, 4, 3, 2):
            found = MaxNLocator(count, steps=[1, 2, 5, 10], symmetric=low < 0).tick_values(
                low, high
            )
            choices.append([float(x) for x in found if low <= x <= high])
    ticks, labels = [], []
    for ticks in choices:
        labels = [_tick_label(x, norm) for x in ticks]
        places = width * np.ma.getdata(norm(ticks))
        wide = np.array([0.071 * len(label) for label in labels])  # of digits of 8 points
        if np.all(np.diff(places) > (wide[1:] + wide[:-1]) / 2 + 0.06):
            break
    return ticks, labels


def _tick_label(x: float, norm: Normalize) -> str:
    if x and isinstance(norm, LogNorm | SymLogNorm) and not 0.01 <= abs(x) <= 100:
        return ("−" if x < 0 else "") + "10" + raised(f"{round(math.log10(abs(x)))}")
    return short(x)


def _notes(
    panels: Sequence[_Panel],
    keys: Mapping[str, Sequence[str]],
    raw: list[str],
    num_classes: int,
    target: np.ndarray,
    *,
    several: bool,
) -> str:
    """What has to be known to read the sheet."""
    curves = ["Gradient norm, time and facts: a certain truth, the wrong classes equal"]
    curves += ["grey: the other losses"] if several else []
    curves += [key for panel in panels if not panel.ternary for key in keys[panel.name]]
    words = (
        f"{num_classes} classes; logits z, q = softmax(z); η: step of descent; L: largest "
        f"curvature at gaps of up to 300 logits. {'; '.join(curves)}."
    )
    if num_classes != 3:
        number = ("no", "one", "two", "three", "four", "five")[len(PANELS) - len(panels)]
        return f"{words} A portrait of 3 classes has {number} triangles more."
    p = ", ".join(f"{x:.3g}" for x in target)
    triangles = [f"Triangles: P = ({p}){'' if target.max() == 1 else ', at the star'}"]
    triangles += dict.fromkeys(key for panel in panels if panel.ternary for key in keys[panel.name])
    words += f" {'; '.join(triangles)}."
    if raw:
        s = "s" if len(raw) == 1 else ""
        words += f" {', '.join(raw)} read{s} raw logits: in the triangles these sum to 0."
    return words


def _decades(values: Sequence[ArrayLike], *, from_top: bool) -> tuple[float, float]:
    """Limits of a logarithmic axis: whole decades, at least two, of several losses at most eleven.

    The eleven are those that hold the largest values of most losses, or the least of most: one
    that is of another order does not press the others flat.
    """
    powers = [np.asarray(one) for one in values]
    powers = [np.log10(one[np.isfinite(one) & (one > 0)]) for one in powers]
    powers = [one for one in powers if one.size]
    if not powers:
        return 0.1, 10.0
    tops = np.array([math.floor(one.max()) + 1 for one in powers])
    bottoms = np.array([math.ceil(one.min()) - 1 for one in powers])
    if from_top:
        top = max(tops, key=lambda end: (np.sum((tops <= end) & (tops > end - 11)), end))
        bottom = max(bottoms.min(), top - 11)
    else:
        bottom = max(
            bottoms, key=lambda end: (np.sum((bottoms >= end) & (bottoms < end + 11)), -end)
        )
        top = tops.max() if len(powers) == 1 else min(tops.max(), bottom + 11)
    bottom = min(bottom, top - 2)
    return 10.0 ** max(int(bottom), -250), 10.0 ** min(int(top), 250)


def _colours(values: Sequence[np.ndarray], *, signed: bool) -> _Colours:
    """A scale of colours: linear, or logarithmic if the losses differ by more than 10.

    A loss with a few huge values counts by its 95th percentile, and one that is huge everywhere
    by a million times the least of the losses: neither makes the others white.
    """
    sizes = []
    for one in values:
        size = np.abs(one[np.isfinite(one)])
        usual = np.percentile(size, 95) if size.size else 0.0
        largest = size.max(initial=0.0)
        sizes.append(float(usual if largest > 10 * usual > 0 else largest))
    sizes = [size for size in sizes if size > 0] or [1.0]
    least = min(sizes)
    most = min(max(sizes), 1e6 * least)
    if most <= 10 * least:
        norm = Normalize(-most if signed else 0, most)
    elif signed:
        norm = SymLogNorm(min(most / 100, least / 10), vmin=-most, vmax=most)
    else:
        norm = LogNorm(min(most / 1e3, least / 10), most)
    beyond = any(bool((np.abs(one[np.isfinite(one)]) > 1.000001 * most).any()) for one in values)
    ends = [(beyond and signed) or isinstance(norm, LogNorm), beyond]
    extend = {(False, True): "max", (True, False): "min", (True, True): "both"}
    return _Colours(norm, extend.get((ends[0], ends[1]), "neither"))


def _key_of_colours(values: Sequence[np.ndarray], colours: _Colours) -> list[str]:
    words = []
    if colours.extend in ("max", "both"):
        words.append("a bar with a tip: numbers go on beyond it")
    if not all(np.isfinite(one).all() for one in values):
        words.append("white: not finite")
    return words


# The panels


def _draw_profile(
    ax: Axes, profile: GradientProfile, *, limits: tuple[float, float], **style: Any
) -> None:
    _, *zeros = plots.plot_gradient_profile(ax, profile, **style)
    for triangles in zeros:
        triangles.set_markevery(16)
    ax.set_xticks([1e-6, 0.5, 1 - 1e-6], ["10⁻⁶", "½", "1 − 10⁻⁶"])
    ax.set(xlim=(1e-9, 1 - 1e-9), ylim=limits)


def _key_of_profile(profiles: Sequence[GradientProfile], limits: Any) -> list[str]:
    zero = any((np.asarray(profile.gradient_norm) == 0).any() for profile in profiles)
    return ["▼: the gradient is exactly 0"] if zero else []


_LARGEST_MARGIN = 24.0


def _shown_of_escape(card: LossCard) -> EscapeLaw:
    shown = card.escape.margins <= _LARGEST_MARGIN
    return card.escape._replace(margins=card.escape.margins[shown], times=card.escape.times[shown])


def _draw_escape(ax: Axes, card: LossCard, *, limits: tuple[float, float], **style: Any) -> None:
    style["linewidth"] = 1.0
    plots.plot_escape_law(ax, _shown_of_escape(card), limits=limits, **style)
    ax.set_xticks(np.linspace(0, _LARGEST_MARGIN, 4))
    ax.set(xlim=(-0.5, _LARGEST_MARGIN + 0.5), xlabel="margin of the mistake, logits")


def _key_of_escape(facts: Sequence[LossCard], limits: tuple[float, float]) -> list[str]:
    words = ["the law is that of margins from 8 on"]
    times = np.concatenate([_shown_of_escape(card).times for card in facts])
    if np.isinf(times).any():
        words.append("▲: never")
    if ((times > limits[1]) & np.isfinite(times)).any():
        words.append("△: later than the axis ends")
    return words


def _norms(fields: Sequence[Any]) -> list[np.ndarray]:
    return [np.linalg.norm(field.gradients, axis=-1) for field in fields]


def _least_curvatures(subject: _Subject) -> tuple[Array, Array]:
    """The points of the field, and the least curvature at each; 0 if it is so but for rounding."""
    q, logits = subject.field.q, subject.field.logits
    targets = jnp.broadcast_to(subject.target, logits.shape)
    all_of_them = curvature.eigenvalues(subject.loss, logits, targets)
    least, sizes = all_of_them[:, 0], jnp.abs(all_of_them)
    largest = jnp.max(jnp.where(jnp.isfinite(sizes), sizes, 0.0))
    return q, jnp.where(jnp.abs(least) < 1e-9 * largest, 0.0, least)


def _step_of(card: LossCard) -> tuple[float, str]:
    """A step that descent is stable with, and where it comes from in words."""
    smoothness, push = card.curvature.smoothness, card.push.largest_norm
    if 0 < smoothness < math.inf:
        return 1 / smoothness, f"η = 1/L = {short(1 / smoothness)}"
    rate = 1 / push if 0 < push < math.inf else 1.0
    return rate, f"η = {short(rate)}, as L = {short(smoothness)}"


def _paths(subject: _Subject) -> Array:
    loss, target, sgd = subject.loss, subject.target, optax.sgd(subject.rate)

    def path(start: Array) -> Array:
        logits = jnp.log(start) - jnp.mean(jnp.log(start))
        fit = descent.fit(loss, logits, target, sgd, steps=_STEPS, record=descent.record_path)
        return jax.nn.softmax(jnp.append(fit.record, fit.params[None], axis=0))

    return jax.vmap(path)(subject.starts)


def _draw_paths(ax: Axes, paths: np.ndarray, **style: Any) -> None:
    for path in paths:
        plots.plot_simplex_path(ax, path, linewidth=1.0, marker=".", markersize=3.2, **style)


# In the order of reading: curves fill the columns on the left, triangles those on the right.
PANELS = (
    _Panel(
        name="profile",
        head="gradient norm ‖dL/dz‖",
        measure=lambda subject: subject.profile,
        draw=_draw_profile,
        scale=lambda profiles: _decades(
            [profile.gradient_norm for profile in profiles], from_top=True
        ),
        key=_key_of_profile,
    ),
    _Panel(
        name="escape",
        head="time to unlearn, η × steps",
        note=lambda card: card.escape.in_short(),
        draw=_draw_escape,
        # all times of one loss, and of several the decades where most begin
        scale=lambda facts: _decades(
            [_shown_of_escape(card).times for card in facts], from_top=False
        ),
        key=_key_of_escape,
    ),
    _Panel(
        name="field",
        head="push, and where q moves",
        measure=lambda subject: subject.field,
        draw=partial(plots.plot_simplex_field, arrows=9),
        scale=lambda fields: _colours(_norms(fields), signed=False),
        key=lambda fields, colours: _key_of_colours(_norms(fields), colours),
        bar="‖dL/dz‖",
        ternary=True,
    ),
    _Panel(
        name="curvature",
        head="least curvature",
        measure=_least_curvatures,
        draw=lambda ax, shown, **style: plots.plot_simplex_map(ax, *shown, **style),
        scale=lambda shown: _colours([curvatures for _, curvatures in shown], signed=True),
        bar="least eigenvalue of d²L/dz²",
        key=lambda shown, colours: [
            "the line is where the least curvature changes its sign",
            *_key_of_colours([curvatures for _, curvatures in shown], colours),
        ],
        ternary=True,
    ),
    _Panel(
        name="paths",
        head=f"{_STEPS} steps of descent",
        note=lambda card: _step_of(card)[1],
        measure=_paths,
        draw=_draw_paths,
        key=lambda *_: ["descent: a dot a step, open at the start, full at the end"],
        ternary=True,
    ),
)
