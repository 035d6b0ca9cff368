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
from matplotlib.collections import TriMesh
from matplotlib.colors import LogNorm, Normalize, SymLogNorm, is_color_like
from matplotlib.figure import Figure

from jaxent import _arguments as arguments
from jaxent import _catalogue as catalogue
from jaxent import cards, curvature, descent, gradients, plots
from jaxent._examples import Loss, jit_quickly
from jaxent._words import short
from jaxent.cards import LossCard
from jaxent.gradients import GradientField, GradientProfile

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
    {
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.markersize": 3.6,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "svg.fonttype": "none",
    },
]


class _Simplex(NamedTuple):
    """What a portrait shows of a loss on the simplex of three classes."""

    field: GradientField
    least_curvatures: Float[np.ndarray, " points"]
    paths: Float[np.ndarray, "starts points 3"]
    step: str


class _Look(NamedTuple):
    """What a portrait shows of a loss."""

    card: LossCard
    profile: GradientProfile
    simplex: _Simplex | None


class _Sheet(Figure):
    """A figure that is drawn in the style that it was made in, wherever it is saved.

    Ticks are made and fonts are found when a figure is drawn, and whether the text of an SVG is
    text is no property of a figure at all.
    """

    def draw(self, renderer):
        with matplotlib.style.context(_STYLE):
            super().draw(renderer)

    def savefig(self, *args, **kwargs):
        settings: Any = {
            "savefig.facecolor": "auto",
            "savefig.edgecolor": "auto",
            "pdf.fonttype": 42,
        }
        with matplotlib.rc_context(settings):
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
    - the time that gradient flow takes to unlearn a confident mistake, against its margin: dots
      as measured, the law as a line (what is never unlearned, a triangle on the top edge);
    - on the simplex of three classes: the gradient norm as colour, with arrows along the motion
      of q; the least eigenvalue of the Hessian, with a line where it changes sign; and the paths
      of descent from the same seven starts, each loss with its own stable step 1/L (the inverse
      of the largest gradient norm on the way to the truth for a loss that has no such step);
    - the main facts of its card, `jaxent.cards.card`.

    For several losses each has a row and a colour, the curves of the others are in grey, and all
    share their axes and the scales of the colours: linear ones, or logarithmic ones where the
    largest values of two losses differ by more than a factor of 10.

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
        looks the same whatever the settings of matplotlib. The text of an SVG is text.

    Raises:
        TypeError: what was given is no loss.
        ValueError: two losses have the same name; the colors are not as many as the losses, or are
            none; a loss of one logit is given other than 2
            classes; the target is not a distribution over 3 classes, is given for another number
            of them, or is soft where a loss takes no soft targets; or the loss does not return a
            scalar.

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
    looks = {}
    for name, loss in by_name.items():

        def tell_of(words: str, name: str = name) -> None:
            tell(f"{name}: {words}")

        if name not in facts:
            facts[name] = cards.card(loss, num_classes, name=name, seed=seed, progress=tell_of)
        looks[name] = _look(loss, num_classes, p, facts[name], tell_of)
    tell("drawing")
    with matplotlib.style.context(_STYLE):
        return _draw(looks, num_classes, p, palette)


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
    p = np.asarray(target, float)
    if num_classes != 3:
        raise ValueError(
            f"target is the P of the triangles, which are of 3 classes and not of {num_classes}."
        )
    if not arguments.is_distribution(p, 3):
        raise ValueError(
            f"target must be 3 probabilities that sum to 1, but it is {np.asarray(target)}."
        )
    return p


# What is measured


def _look(
    loss: Loss,
    num_classes: int,
    target: np.ndarray,
    card: LossCard,
    tell: Callable[[str], object],
) -> _Look:
    soft_targets = card.invariance.soft_targets
    if target.max() < 1 and soft_targets != "accepted":
        takes = {"ignored": "ignores", "refused": "refuses"}[soft_targets]
        raise ValueError(f"{card.name} {takes} soft targets, so target must be all on one class.")
    tell("panels")
    with jax.enable_x64(True):
        log_odds = jnp.linspace(-20.0, 20.0, 401)
        profile = jit_quickly(partial(_profile, loss, num_classes))(log_odds)
        profile = jax.tree.map(np.asarray, profile)
        if num_classes != 3:
            return _Look(card, profile, None)
        rate, step = _step_of(card)
        measured = jit_quickly(partial(_over_the_simplex, loss))(target, jnp.asarray(_STARTS), rate)
        field, least_curvatures, paths = jax.tree.map(np.asarray, measured)
        return _Look(card, profile, _Simplex(field, least_curvatures, paths, step))


def _profile(loss: Loss, num_classes: int, log_odds: Array) -> GradientProfile:
    margins = -log_odds - math.log(num_classes - 1)
    return gradients.gradient_profile(loss, num_classes, margin=margins)


def _over_the_simplex(
    loss: Loss, target: Array, starts: Array, rate: Array
) -> tuple[GradientField, Array, Array]:
    field = gradients.gradient_field(loss, target, resolution=_RESOLUTION)
    targets = jnp.broadcast_to(target, field.logits.shape)
    least_curvatures = curvature.eigenvalues(loss, field.logits, targets)[:, 0]

    def path(start: Array) -> Array:
        logits = jnp.log(start) - jnp.mean(jnp.log(start))
        sgd = optax.sgd(rate)
        fit = descent.fit(loss, logits, target, sgd, steps=_STEPS, record=descent.record_path)
        return jax.nn.softmax(jnp.append(fit.record, fit.params[None], axis=0))

    return field, least_curvatures, jax.vmap(path)(starts)


def _step_of(card: LossCard) -> tuple[float, str]:
    """A step that descent is stable with, and where it comes from in words."""
    smoothness, push = card.curvature.smoothness, card.push.largest_norm
    if 0 < smoothness < math.inf:
        return 1 / smoothness, f"η = 1/L = {short(1 / smoothness)}"
    rate = 1 / push if 0 < push < math.inf else 1.0
    return rate, f"η = {short(rate)}, as L = {short(smoothness)}"


# The sheet, in inches from its left and from its top

_Place = tuple[float, float, float, float]  # left, top, width, height
_HEADS = {
    "profile": "gradient norm ‖dL/dz‖",
    "escape": "time to unlearn, η × steps",
    "field": "push, and where q moves",
    "curvature": "least curvature",
    "paths": f"{_STEPS} steps of descent",
}
_QUIET = "#595959"
_OTHERS: dict[str, Any] = {"color": "#c8c8c8", "linewidth": 1.0}


class _Layout(NamedTuple):
    """Where everything stands; a triangle on the bottom of its place."""

    size: tuple[float, float]
    names: Sequence[tuple[float, float]]
    panels: Sequence[Mapping[str, _Place]]
    bars: Mapping[str, _Place]
    columns_of_card: int


def _layout(losses: int, triangles: bool) -> _Layout:
    if not triangles:
        height, tops = 2.1, [0.95 + 3.0 * k for k in range(losses)]
        panels = [
            {
                "profile": (0.6, top, 2.5, height),
                "escape": (3.6, top, 2.5, height),
                "card": (6.35, top, 2.6, height),
            }
            for top in tops
        ]
        names = [(0.15, 0.3), *((0.15, top - 0.5) for top in tops[1:])]
        return _Layout((9.0, tops[-1] + height + 0.55), names, panels, {}, 1)
    if losses == 1:
        height, side, upper, lower = 2.4, 2.5, 0.85, 4.65
        panels = [
            {
                "profile": (0.6, upper, 2.3, height),
                "field": (3.3, upper, side, height),
                "curvature": (6.25, upper, side, height),
                "escape": (0.6, lower, 2.3, height),
                "paths": (3.3, lower, side, height),
                "card": (6.3, lower, side, height),
            }
        ]
        names = [(0.15, 0.3)]
        size, bars_top, columns_of_card = (9.0, lower + height + 0.55), upper + height + 0.35, 1
    else:
        height, side, tops = 1.7, 1.76, [1.6 + 3.2 * k for k in range(losses)]
        facts = [tops[0] - 1.2, *(top - 0.95 for top in tops[1:])]  # the first row has heads
        panels = [
            {
                "card": (0.15, top_of_facts, 9.8, 0.6),
                "profile": (0.5, top, 1.5, height),
                "escape": (2.5, top, 1.5, height),
                "field": (4.25, top, side, height),
                "curvature": (6.17, top, side, height),
                "paths": (8.09, top, side, height),
            }
            for top_of_facts, top in zip(facts, tops, strict=True)
        ]
        names = [(0.15, top - 0.1) for top in facts]
        bottom = tops[-1] + height
        size, bars_top, columns_of_card = (10.0, bottom + 0.9), bottom + 0.35, 3
    bars = {
        panel: (panels[0][panel][0] + 0.12, bars_top, side - 0.24, 0.09)
        for panel in ("field", "curvature")
    }
    return _Layout(size, names, panels, bars, columns_of_card)


def _draw(
    looks: Mapping[str, _Look], num_classes: int, target: np.ndarray, palette: Sequence[str]
) -> Figure:
    layout = _layout(len(looks), num_classes == 3)
    notes = _notes(looks, num_classes, target, layout.size[0])
    height = layout.size[1] + 0.15 * len(notes)
    size = layout.size[0], height
    # said later, it would leave a placeholder, for which each file is drawn twice
    figure = _Sheet(figsize=size, dpi=150, layout="none")  # pyright: ignore
    scales = _scales([look.simplex for look in looks.values() if look.simplex])
    rows = zip(looks, palette, layout.names, layout.panels, strict=True)
    for number, (name, colour, name_at, places) in enumerate(rows):
        look = looks[name]
        title = name if len(name) <= 80 else f"{name[:79]}…"
        _write(figure, *name_at, title, color=colour, fontsize=11, weight="bold", parse_math=False)
        _write_heads(figure, look, places, heads=number == 0)
        axes = {panel: _axes(figure, place, panel) for panel, place in places.items()}
        _draw_curves(axes["profile"], axes["escape"], looks, name, colour)
        plots.plot_card(axes["card"], look.card, columns=layout.columns_of_card, fontsize=8)
        if number < len(looks) - 1:
            axes["profile"].set_xlabel("")
            axes["escape"].set_xlabel("")
        if look.simplex:
            meshes = _draw_triangles(axes, look.simplex, scales, target, colour)
            if number == 0:
                for panel, mesh in meshes.items():
                    _draw_bar(figure, layout.bars[panel], panel, mesh)
    top = height - 0.15 * len(notes)
    _write(
        figure, 0.15, top, "\n".join(notes), va="top", color=_QUIET, fontsize=7.5, linespacing=1.3
    )
    return figure


def _write(figure: Figure, left: float, top: float, words: str, **kwargs: Any) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, words, **kwargs)


def _axes(figure: Figure, place: _Place, panel: str) -> Axes:
    left, top, width, height = place
    projection = None
    if panel in ("field", "curvature", "paths"):
        projection, tall = "ternary", width * math.sqrt(3) / 2
        top, height = top + height - tall, tall
    of_width, of_height = figure.get_size_inches()
    return figure.add_axes(
        (left / of_width, 1 - (top + height) / of_height, width / of_width, height / of_height),
        projection=projection,
    )


def _write_heads(figure: Figure, look: _Look, places: Mapping[str, _Place], *, heads: bool) -> None:
    """What each panel shows, and beneath it what it shows of this loss."""
    notes = {"escape": look.card.escape.in_short()}
    if look.simplex:
        notes["paths"] = look.simplex.step
    tops_with_notes = {places[panel][1] for panel in notes}
    for panel, head in _HEADS.items():
        if panel not in places:
            continue
        left, top, width, _ = places[panel]
        middle = left + width / 2
        if heads:
            lift = 0.3 if top in tops_with_notes else 0.12
            _write(figure, middle, top - lift, head, ha="center", fontsize=9)
        if panel in notes:
            _write(
                figure, middle, top - 0.11, notes[panel], ha="center", fontsize=8.5, color=_QUIET
            )


def _draw_curves(
    profile: Axes, escape: Axes, looks: Mapping[str, _Look], name: str, colour: str
) -> None:
    """The two panels with curves: the others in grey, beneath that of the name."""
    for other in (*(other for other in looks if other != name), name):
        style: dict[str, Any] = {"color": colour} if other == name else _OTHERS
        _, *zeros = plots.plot_gradient_profile(profile, looks[other].profile, **style)
        for triangles in zeros:
            triangles.set_markevery(16)
        plots.plot_escape_law(escape, looks[other].card.escape, **{**style, "linewidth": 1.0})
    profile.set_xticks([1e-6, 0.5, 1 - 1e-6], ["10⁻⁶", "½", "1 − 10⁻⁶"])
    profile.set_xlim(1e-9, 1 - 1e-9)
    profile.set_ylim(_decades([look.profile.gradient_norm for look in looks.values()]))
    profile.set_xlabel("probability of the truth")
    escape.set_xticks([0, 4, 8, 12])
    escape.set_xlim(-0.5, 12.5)
    escape.set_ylim(_decades([look.card.escape.times for look in looks.values()]))
    escape.set_xlabel("margin of the mistake, logits")
    for ax in profile, escape:
        ax.set_ylabel("")


def _decades(values: Sequence[ArrayLike]) -> tuple[float, float]:
    """Limits of a logarithmic axis: whole decades, at least two and at most eleven."""
    together = np.concatenate([np.asarray(one) for one in values])
    together = together[np.isfinite(together) & (together > 0)]
    if not together.size:
        return 0.1, 10.0
    top = math.floor(math.log10(together.max())) + 1
    bottom = math.ceil(math.log10(together.min())) - 1
    return 10.0 ** min(max(bottom, top - 11), top - 2), 10.0**top


def _draw_triangles(
    axes: Mapping[str, Axes],
    simplex: _Simplex,
    scales: Mapping[str, Normalize],
    target: np.ndarray,
    colour: str,
) -> dict[str, TriMesh]:
    certain = target.max() == 1
    names = [
        ("truth" if p else "wrong") if certain else f"$p_{k}$ = {p:.3g}"
        for k, p in enumerate(target)
    ]
    push, _ = plots.plot_simplex_field(
        axes["field"],
        simplex.field,
        norm=scales["field"],
        arrows=9,
        class_names=names,
        rasterized=True,
    )
    curvatures, _ = plots.plot_simplex_map(
        axes["curvature"],
        simplex.field.q,
        simplex.least_curvatures,
        norm=scales["curvature"],
        class_names=names,
        rasterized=True,
    )
    for path in simplex.paths:
        plots.plot_simplex_path(
            axes["paths"],
            path,
            class_names=names,
            color=colour,
            linewidth=1.0,
            marker=".",
            markersize=3.2,
        )
    for panel in "field", "curvature", "paths":
        ax = axes[panel]
        if not certain:
            star = {"marker": "*", "markersize": 9, "color": "white", "markeredgecolor": "#262626"}
            ax.plot(*target[:, None], clip_on=False, zorder=5, **star)
    return {"field": push, "curvature": curvatures}


def _scales(simplices: Sequence[_Simplex]) -> dict[str, Normalize]:
    """The scales of the colours: linear, or logarithmic if the losses differ by more than 10."""
    norms = [np.linalg.norm(simplex.field.gradients, axis=-1) for simplex in simplices]
    push, linear = _largest(norms)
    scale = Normalize(0, push) if linear else LogNorm(push / 1e3, push)
    curvature, linear = _largest([np.abs(simplex.least_curvatures) for simplex in simplices])
    signed = Normalize(-curvature, curvature)
    if not linear:
        signed = SymLogNorm(curvature / 100, vmin=-curvature, vmax=curvature)
    return {"field": scale, "curvature": signed}


def _largest(sizes: Sequence[np.ndarray]) -> tuple[float, bool]:
    """The largest of all, and whether those of the losses are alike."""
    largest = [size[np.isfinite(size)].max(initial=0.0) for size in sizes]
    largest = [one for one in largest if one > 0] or [1.0]
    return float(max(largest)), max(largest) <= 10 * min(largest)


def _draw_bar(figure: Figure, place: _Place, panel: str, mesh: TriMesh) -> None:
    label = {"field": "‖dL/dz‖", "curvature": "least eigenvalue of d²L/dz²"}[panel]
    extend = "min" if isinstance(mesh.norm, LogNorm) else "neither"
    ax = _axes(figure, place, "bar")
    bar = figure.colorbar(mesh, cax=ax, orientation="horizontal", extend=extend)
    bar.set_label(label)
    for colours in ax.collections:
        colours.set_rasterized(True)
    if isinstance(mesh.norm, SymLogNorm):
        decade = 10.0 ** math.floor(math.log10(mesh.get_clim()[1]))
        ticks = [-decade, -decade / 10, 0, decade / 10, decade]
        bar.set_ticks(ticks, labels=[short(tick) for tick in ticks])
        bar.minorticks_off()


def _notes(
    looks: Mapping[str, _Look], num_classes: int, target: np.ndarray, width: float
) -> list[str]:
    """What has to be known to read the sheet, in lines that fit on it."""
    words = (
        f"{num_classes} classes; logits z, q = softmax(z); η: step of descent; L: largest "
        "curvature at gaps of up to 30 logits. Gradient norm, time and facts: a certain truth, the "
        "wrong classes equal; the law is that of margins from 8 on."
    )
    if num_classes != 3:
        words += " A portrait of 3 classes has three triangles more."
        return textwrap.wrap(words, round(17.5 * width))
    p = ", ".join(f"{x:.3g}" for x in target)
    words += (
        f" Triangles: P = ({p}){'' if target.max() == 1 else ', at the star'}; the line is where "
        "the least curvature is 0; descent: a dot a step, open at the start, full at the end."
    )
    raw = [name for name, look in looks.items() if not look.card.invariance.shift]
    if raw:
        reads = "reads" if len(raw) == 1 else "read"
        words += f" {', '.join(raw)} {reads} raw logits: in the triangles these sum to 0."
    return textwrap.wrap(words, round(17.5 * width))
