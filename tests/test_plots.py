"""Pictures: the data of the artists, not the pixels; and that the text can be read."""

import subprocess
import sys
from functools import cache
from importlib.resources import files
from typing import Any

import jax.numpy as jnp
import matplotlib.style
import numpy as np
import pytest
from matplotlib.collections import TriMesh
from matplotlib.colors import LogNorm, Normalize, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxent import losses, plots
from jaxent.cards import EscapeLaw, card
from jaxent.gradients import GradientField, GradientProfile
from tests.text_overlaps import unreadable_text


@pytest.fixture(autouse=True)
def paper_style():
    with matplotlib.style.context("jaxent.paper"):
        yield


@pytest.fixture
def ax():
    return Figure(figsize=(5.0, 3.5)).add_subplot()


@pytest.fixture
def ternary_ax():
    return Figure(figsize=(3.5, 3.5)).add_subplot(projection="ternary")


def xy_of(q):
    """Where points of the simplex lie: class 0 at the top, 1 at the left, 2 at the right."""
    q = np.asarray(q)
    return np.stack([(q[..., 2] - q[..., 1]) / np.sqrt(3), q[..., 0]], axis=-1)


def a_profile(gradient_norm=(1.4, 1.0, 0.3, 0.01)):
    margin = np.linspace(9.0, -9.0, len(gradient_norm))
    p_true = 1 / (1 + np.exp(margin))
    return GradientProfile(
        p_true=p_true,
        margin=margin,
        logits=np.stack([-margin / 2, margin / 2], axis=1),
        value=-np.log(p_true),
        gradient_norm=np.array(gradient_norm),
        true_class_gradient=p_true - 1,
    )


def a_field(resolution=24):
    """q moves straight to the corner of class 0, three times as slowly as the gradient is long."""
    first, second = np.triu_indices(resolution)
    steps = np.stack([first, second - first, resolution - 1 - second], axis=1)
    q = (steps + 1 / 3) / resolution
    velocities = np.eye(3)[0] - q
    return GradientField._make([q, np.log(q), -np.log(q[:, 0]), -3 * velocities, velocities])


def an_escape(law: Any = "linear", coefficients=(0.5, 0.5, np.nan), times=None):
    margins = np.arange(1.0, 13.0)
    times = (margins + 1 - np.exp(-margins)) / 2 if times is None else times
    return EscapeLaw(law, coefficients, 1e-3, margins, np.asarray(times))


measured = cache(card)


def a_card(**changes):
    """Of the Brier score of three classes; `changes` are dictionaries of changed facts."""
    brier = measured(losses.softmax_brier_score)
    parts = {part: getattr(brier, part)._replace(**facts) for part, facts in changes.items()}
    return brier._replace(**parts)


def places_of(artist):
    """The data coordinates of a line, the points of a mesh or the tails of arrows."""
    if isinstance(artist, Line2D):
        return np.asarray(artist.get_xydata())
    if isinstance(artist, TriMesh):
        triangulation = artist._triangulation  # type: ignore[attr-defined]
        return np.stack([triangulation.x, triangulation.y], axis=1)
    return np.asarray(artist.get_offsets())


A_PATH = np.array([[0.1, 0.8, 0.1], [0.3, 0.5, 0.2], [0.6, 0.3, 0.1], [np.nan] * 3])


# Profiles


def test_profile_is_the_norm_against_the_probability_of_the_truth(ax):
    profile = a_profile()
    (line,) = plots.plot_gradient_profile(ax, profile, label="cross-entropy", color="C3")
    np.testing.assert_array_equal(line.get_xdata(), profile.p_true)
    np.testing.assert_array_equal(line.get_ydata(), profile.gradient_norm)
    assert (ax.get_xscale(), ax.get_yscale()) == ("logit", "log")
    assert (line.get_label(), line.get_color()) == ("cross-entropy", "C3")


def test_profile_against_the_margin_is_linear_in_the_margin(ax):
    profile = a_profile()
    (line,) = plots.plot_gradient_profile(ax, profile, against="margin")
    np.testing.assert_array_equal(line.get_xdata(), profile.margin)
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert "logits" in ax.get_xlabel()


def test_a_gradient_of_zero_stands_on_the_bottom_edge(ax):
    profile = a_profile([1.4, 0.0, 0.3, 0.0])
    line, zeros = plots.plot_gradient_profile(ax, profile)
    np.testing.assert_array_equal(zeros.get_xdata(), profile.p_true[[1, 3]])
    assert zeros.get_color() == line.get_color()
    ax.set_ylim(1e-3, 10)
    shown = zeros.get_transform().transform(places_of(zeros))
    heights = ax.transAxes.inverted().transform(shown)[:, 1]
    np.testing.assert_allclose(heights, 0, atol=1e-12)
    assert not zeros.get_clip_on()


def test_profile_against_anything_else_is_refused(ax):
    with pytest.raises(ValueError, match=r"against must be .* but it is 'logits'"):
        plots.plot_gradient_profile(ax, a_profile(), against="logits")  # type: ignore[arg-type]


# Histories


def test_history_is_numbered_from_the_state_before_the_first_step(ax):
    (line,) = plots.plot_history(ax, [3.0, 2.0, np.nan])
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(line.get_ydata(), [3.0, 2.0, np.nan])
    assert ax.get_xlabel() == "step"
    assert ax.get_yscale() == "linear"


def test_rows_after_a_stop_take_no_room(ax):
    plots.plot_history(ax, [3.0, 2.0, 1.0] + [np.nan] * 97)
    assert ax.dataLim.x1 == 2


def test_zeros_of_a_history_on_a_log_axis_are_shown_and_those_that_are_nan_are_not(ax):
    line, zeros = plots.plot_history(ax, [1.0, 0.0, -1e-17, np.nan, 0.1], log=True)
    np.testing.assert_array_equal(zeros.get_xdata(), [1, 2])
    np.testing.assert_array_equal(line.get_ydata(), [1.0, np.nan, np.nan, np.nan, 0.1])
    assert ax.get_yscale() == "log"


def test_history_takes_jax_arrays_of_any_precision(ax):
    (line,) = plots.plot_history(ax, jnp.array([1.0, 0.5], jnp.bfloat16), log=True)
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 0.5])


def test_history_of_many_fits_at_once_is_refused(ax):
    with pytest.raises(ValueError, match=r"must be \[steps\], but their shape is \(2, 5\)"):
        plots.plot_history(ax, np.ones((2, 5)))


# Distributions


def test_distributions_are_bars_of_q_under_outlines_of_p(ax):
    p, q = [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]
    outlines, bars = plots.plot_distributions(ax, p, q, color="C1")
    assert [bar.get_height() for bar in outlines] == p
    assert [bar.get_height() for bar in bars] == q
    for outline, bar in zip(outlines, bars, strict=True):
        assert outline.get_center()[0] == pytest.approx(bar.get_center()[0])
        assert outline.get_facecolor()[3] == 0
        assert bar.get_facecolor() == to_rgba("C1")
    assert (outlines.get_label(), bars.get_label()) == ("P", "Q")
    assert ax.get_ylim() == (0, 1)


def test_bars_of_q_have_the_first_colour_of_the_cycle(ax):
    _, bars = plots.plot_distributions(ax, [1.0, 0.0], [0.5, 0.5], label="fitted")
    assert to_hex(bars[0].get_facecolor()) == "#0072b2"
    assert bars.get_label() == "fitted"


def test_classes_have_their_names_or_their_numbers(ax):
    plots.plot_distributions(ax, [1.0, 0.0], [0.5, 0.5])
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1"]
    plots.plot_distributions(ax, [1.0, 0.0], [0.5, 0.5], class_names=["cat", "dog"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]


def test_distributions_over_different_classes_are_refused(ax):
    with pytest.raises(ValueError, match=r"shapes are \(2,\), \(3,\)"):
        plots.plot_distributions(ax, [0.5, 0.5], [0.2, 0.3, 0.5])


# Fields on the simplex


@pytest.mark.parametrize(("magnitude", "factor"), [("gradient", 3.0), ("velocity", 1.0)])
def test_colour_is_the_norm_of_what_was_asked_for_at_every_point(ternary_ax, magnitude, factor):
    field = a_field()
    colours, _ = plots.plot_simplex_field(ternary_ax, field, magnitude=magnitude)
    expected = factor * np.sqrt(np.sum(np.square(np.eye(3)[0] - field.q), axis=1))
    np.testing.assert_allclose(np.asarray(colours.get_array()), expected)
    np.testing.assert_allclose(places_of(colours), xy_of(field.q), atol=1e-12)
    assert (colours.norm.vmin, colours.norm.vmax) == (0, pytest.approx(expected.max()))
    assert colours.get_cmap().name == "cividis"


def test_rounding_along_the_edges_leaves_no_slivers_to_be_shaded(ternary_ax):
    field = a_field(120)
    colours, _ = plots.plot_simplex_field(
        ternary_ax, field._replace(q=field.q.astype(np.float32)), norm=LogNorm(0.1, 5)
    )
    triangles = colours._triangulation.get_masked_triangles()  # type: ignore[attr-defined]
    (ax, ay), (bx, by), (cx, cy) = np.moveaxis(places_of(colours)[triangles], 0, -1)
    doubled_areas = np.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))
    # The lattice has 119² triangles of the same area.
    assert len(triangles) == 119**2
    np.testing.assert_allclose(doubled_areas, doubled_areas.mean(), rtol=1e-3)


def test_panels_share_the_norm_that_they_are_given():
    norm = LogNorm(0.5, 2.0)
    figure = Figure()
    for index in (1, 2):
        ax = figure.add_subplot(1, 2, index, projection="ternary")
        colours, _ = plots.plot_simplex_field(ax, a_field(), norm=norm)
        assert colours.norm is norm
    assert (norm.vmin, norm.vmax) == (0.5, 2.0)


def test_zeros_on_a_log_norm_are_drawn_like_its_lower_end(ternary_ax):
    field = a_field()
    still = field._replace(gradients=np.where(field.q[:, :1] > 0.5, 0.0, field.gradients))
    colours, _ = plots.plot_simplex_field(ternary_ax, still, norm=LogNorm(0.1, 5.0))
    received = colours.to_rgba(np.asarray(colours.get_array()))[field.q[:, 0] > 0.5]
    np.testing.assert_allclose(received, np.tile(colours.cmap(0.0), (len(received), 1)))


def test_arrows_point_where_q_moves(ternary_ax):
    _, arrows = plots.plot_simplex_field(ternary_ax, a_field())
    shifts = np.stack([arrows.U, arrows.V], axis=1)
    # Everything moves straight towards the corner of class 0, at (0, 1).
    towards = np.array([0.0, 1.0]) - places_of(arrows)
    lengths = np.linalg.norm(shifts, axis=1, keepdims=True)
    distances = np.linalg.norm(towards, axis=1, keepdims=True)
    np.testing.assert_allclose(shifts / lengths, towards / distances, atol=1e-9)


@pytest.mark.parametrize(("resolution", "along_an_edge"), [(24, 6), (25, 12), (40, 7), (120, 12)])
def test_arrows_stand_on_a_regular_symmetric_grid_of_points_of_the_field(
    ternary_ax, resolution, along_an_edge
):
    field = a_field(resolution)
    _, arrows = plots.plot_simplex_field(ternary_ax, field, arrows=along_an_edge)
    middles = places_of(arrows) + np.stack([arrows.U, arrows.V], axis=1) / 2
    from_the_field = np.linalg.norm(middles[:, None] - xy_of(field.q), axis=-1)
    np.testing.assert_allclose(from_the_field.min(axis=1), 0, atol=1e-12)
    mirrored = np.linalg.norm(middles[:, None] * [-1, 1] - middles, axis=-1).min(axis=1)
    np.testing.assert_allclose(mirrored, 0, atol=1e-12)
    # Of a grid of equilateral triangles every point has its nearest neighbour equally far away.
    distances = np.linalg.norm(middles[:, None] - middles, axis=-1)
    nearest = np.min(distances + np.diag(np.full(len(middles), np.inf)), axis=1)
    np.testing.assert_allclose(nearest, nearest[0], rtol=1e-9)
    spacing = nearest[0] * np.sqrt(3) / 2
    assert 1 / spacing == pytest.approx(along_an_edge, rel=0.35)
    # None is so near to an edge that half of it would be cut off.
    assert field.q[from_the_field.argmin(axis=1)].min() > 0.3 * spacing


def test_arrows_are_longer_where_the_magnitude_is_larger_and_never_overlap(ternary_ax):
    norm = Normalize(0, 3 * np.sqrt(2))
    _, arrows = plots.plot_simplex_field(ternary_ax, a_field(24), norm=norm, arrows=6)
    shifts = np.stack([arrows.U, arrows.V], axis=1)
    lengths = np.linalg.norm(shifts, axis=1)
    distances = np.linalg.norm(np.array([0.0, 1.0]) - places_of(arrows) - shifts / 2, axis=1)
    assert np.all(np.diff(lengths[np.argsort(distances)]) > -1e-9)
    spacing = 2 / np.sqrt(3) / 6
    assert 0.3 * spacing <= lengths.min() < lengths.max() <= 0.9 * spacing


def test_arrows_are_white_on_dark_and_dark_on_bright(ternary_ax):
    _, arrows = plots.plot_simplex_field(ternary_ax, a_field(24), norm=Normalize(0, 3))
    nearest_to_class_0 = places_of(arrows)[:, 1].argmax()
    nearest_to_class_1 = places_of(arrows)[:, 0].argmin()
    assert to_hex(np.asarray(arrows.get_facecolor())[nearest_to_class_0]) == "#ffffff"
    assert to_hex(np.asarray(arrows.get_facecolor())[nearest_to_class_1]) == "#262626"


def test_where_q_stands_still_there_is_no_arrow(ternary_ax):
    field = a_field()
    still = field._replace(velocities=np.zeros_like(field.velocities))
    _, arrows = plots.plot_simplex_field(ternary_ax, still)
    np.testing.assert_array_equal(arrows.U, 0)
    np.testing.assert_array_equal(arrows.V, 0)


def test_an_unknown_magnitude_is_refused(ternary_ax):
    with pytest.raises(ValueError, match='"gradient" or "velocity", but it is \'loss\''):
        plots.plot_simplex_field(ternary_ax, a_field(), magnitude="loss")  # type: ignore[arg-type]


def test_field_is_white_and_without_arrows_where_the_gradient_is_not_finite(ternary_ax):
    field = a_field()
    lost = field.q[:, 0] > 0.5
    gradients = np.where(lost[:, None], np.nan, field.gradients)
    colours, arrows = plots.plot_simplex_field(ternary_ax, field._replace(gradients=gradients))
    triangles = colours._triangulation.get_masked_triangles()  # type: ignore[attr-defined]
    assert not lost[triangles].any()
    assert np.unique(triangles).size == np.count_nonzero(~lost)
    assert colours.norm.vmax == pytest.approx(np.linalg.norm(field.gradients[~lost], axis=1).max())
    middles = places_of(arrows) + np.stack([arrows.U, arrows.V], axis=1) / 2
    assert middles[:, 1].max() < 0.5


# Maps of the simplex


def test_map_is_the_number_at_every_point_on_a_scale_with_zero_in_the_middle(ternary_ax):
    field = a_field()
    values = 0.2 - field.q[:, 0]
    colours, _ = plots.plot_simplex_map(ternary_ax, field.q, values)
    np.testing.assert_array_equal(np.asarray(colours.get_array()), values)
    np.testing.assert_allclose(places_of(colours), xy_of(field.q), atol=1e-12)
    assert colours.norm.vmax == -colours.norm.vmin == pytest.approx(np.abs(values).max())  # type: ignore[operator]


def test_colours_of_a_map_are_orange_below_zero_and_purple_above(ternary_ax):
    field = a_field()
    colours, _ = plots.plot_simplex_map(ternary_ax, field.q, 0.5 - field.q[:, 0])
    below, middle, above = colours.to_rgba(np.array([-0.4, 0.0, 0.4]))[:, :3]
    assert below[0] > below[1] > below[2]
    assert above[2] > above[0] > above[1]
    assert middle.min() > 0.95


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_line_of_a_map_runs_where_the_number_has_the_value_asked_for(ternary_ax, level):
    field = a_field(60)
    _, line = plots.plot_simplex_map(
        ternary_ax, field.q, field.q[:, 0] - 0.4, contour=level, class_names=["a", "b", "c"]
    )
    assert line is not None
    (path,) = line.get_paths()
    across, up = np.asarray(path.vertices).T
    np.testing.assert_allclose(up, 0.4 + level, atol=1e-6)
    assert np.ptp(across) == pytest.approx(2 * (0.6 - level) / np.sqrt(3), abs=0.04)
    assert ternary_ax.get_tlabel() == "a"


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_map_of_one_sign_or_of_zero_but_for_rounding_has_no_line(ternary_ax, sign):
    field = a_field()
    values = sign * field.q[:, 0] + 1e-17 * np.cos(np.arange(len(field.q)))
    if sign == 0:
        values = np.zeros(len(field.q))
    assert plots.plot_simplex_map(ternary_ax, field.q, values)[1] is None


def test_line_of_a_map_is_no_edge_of_a_region_that_is_zero_but_for_rounding(ternary_ax):
    field = a_field(60)
    height = field.q[:, 0]
    flat = np.where(height > 0.5, -height, 1e-17 * np.cos(np.arange(len(height))))
    assert plots.plot_simplex_map(ternary_ax, field.q, flat)[1] is None
    _, line = plots.plot_simplex_map(ternary_ax, field.q, np.where(height < 0.2, 0, height - 0.6))
    assert line is not None
    (path,) = line.get_paths()
    np.testing.assert_allclose(np.asarray(path.vertices)[:, 1], 0.6, atol=1e-6)


def test_map_has_no_line_if_none_is_asked_for(ternary_ax):
    field = a_field()
    assert plots.plot_simplex_map(ternary_ax, field.q, field.q[:, 0] - 0.5, contour=None)[1] is None


def test_map_is_white_where_the_number_is_not_finite(ternary_ax):
    field = a_field()
    lost = field.q[:, 0] > 0.5
    colours, line = plots.plot_simplex_map(ternary_ax, field.q, np.where(lost, np.inf, -1.0))
    triangles = colours._triangulation.get_masked_triangles()  # type: ignore[attr-defined]
    assert np.unique(triangles).size == np.count_nonzero(~lost)
    assert not lost[triangles].any()
    assert colours.norm.vmin == -1
    assert line is None


def test_map_with_another_number_of_values_than_points_is_refused(ternary_ax):
    with pytest.raises(ValueError, match=r"shapes are \(300, 3\), \(299,\)"):
        plots.plot_simplex_map(ternary_ax, a_field().q, np.zeros(299))


# Paths on the simplex


def test_path_goes_from_an_open_circle_to_a_full_one_and_stops_where_the_fit_stopped(ternary_ax):
    line, start, end = plots.plot_simplex_path(ternary_ax, A_PATH, color="C2", label="fit")
    np.testing.assert_allclose(places_of(line), xy_of(A_PATH[:3]), atol=1e-12)
    np.testing.assert_allclose(places_of(start), xy_of(A_PATH[:1]), atol=1e-12)
    np.testing.assert_allclose(places_of(end), xy_of(A_PATH[2:3]), atol=1e-12)
    assert start.get_markerfacecolor() == "white"
    assert end.get_markerfacecolor() == line.get_color() == "C2"
    handles, labels = ternary_ax.get_legend_handles_labels()
    assert (handles, labels) == ([line], ["fit"])


def test_path_may_touch_the_corners(ternary_ax):
    line, _, _ = plots.plot_simplex_path(ternary_ax, np.eye(3))
    np.testing.assert_allclose(places_of(line), xy_of(np.eye(3)), atol=1e-12)
    assert not line.get_clip_on()


def test_path_of_four_classes_is_refused(ternary_ax):
    with pytest.raises(ValueError, match=r"\[steps, 3\], but its shape is \(5, 4\)"):
        plots.plot_simplex_path(ternary_ax, np.full((5, 4), 0.25))


def test_corners_keep_the_names_that_they_were_given(ternary_ax):
    plots.plot_simplex_path(ternary_ax, A_PATH)
    assert ternary_ax.get_tlabel() == "$q_0$"
    plots.plot_simplex_path(ternary_ax, A_PATH, class_names=["cat", "dog", "bird"])
    plots.plot_simplex_field(ternary_ax, a_field())
    names = [ternary_ax.get_tlabel(), ternary_ax.get_llabel(), ternary_ax.get_rlabel()]
    assert names == ["cat", "dog", "bird"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.plot_simplex_field(ax, a_field()),
        lambda ax: plots.plot_simplex_map(ax, a_field().q, a_field().values),
        lambda ax: plots.plot_simplex_path(ax, A_PATH),
    ],
)
def test_three_classes_on_cartesian_axes_are_refused(ax, draw):
    with pytest.raises(TypeError, match='projection="ternary"'):
        draw(ax)


# Escape


def test_escape_is_times_as_dots_on_the_law_as_a_line(ax):
    escape = an_escape()
    law, dots = plots.plot_escape_law(ax, escape, color="C4")
    np.testing.assert_array_equal(dots.get_xydata(), np.stack([escape.margins, escape.times], 1))
    margins, times = map(np.asarray, law.get_data())
    np.testing.assert_allclose(times, 0.5 + 0.5 * margins)
    assert (margins[0], margins[-1]) == (0, 12)
    assert law.get_color() == dots.get_color() == "C4"
    assert (dots.get_marker(), dots.get_linestyle()) == ("o", "None")
    assert ax.get_yscale() == "log"
    assert "logits" in ax.get_xlabel()
    assert "rate × steps" in ax.get_ylabel()


@pytest.mark.parametrize(
    ("law", "coefficients", "expected"),
    [
        ("constant", (2.5, np.nan, np.nan), "constant, 2.5"),
        ("logarithmic", (0.0, 0.5, np.nan), "logarithmic, 0.5 ln(1 + m)"),
        ("linear", (1 / 3, 2 / 3, np.nan), "linear, 0.667 per logit"),
        ("power", (0.0, 1.0, 1.5), "power, ∝ m¹·⁵⁰"),
        ("exponential", (3.0, 4 / 9, 0.5), "exponential, ∝ e⁰·⁵⁰ᵐ"),
        ("never", (np.nan,) * 3, "never"),
    ],
)
def test_law_is_named_in_words_unless_it_has_a_label(ax, law, coefficients, expected):
    escape = an_escape(law, coefficients)
    assert plots.plot_escape_law(ax, escape)[0].get_label() == expected
    assert plots.plot_escape_law(ax, escape, label="mine")[0].get_label() == "mine"
    ax.legend()
    assert unreadable_text(ax.figure) == []


def test_law_leaves_out_what_has_no_place_on_a_logarithmic_axis(ax):
    law, _ = plots.plot_escape_law(ax, an_escape("linear", (-3.0, 1.0, np.nan)))
    margins, times = map(np.asarray, law.get_data())
    np.testing.assert_array_equal(np.isnan(times), margins <= 3)


def test_what_is_never_unlearned_stands_on_the_top_edge(ax):
    times = np.where(np.arange(12) < 5, 1.0, np.inf)
    law, dots, never = plots.plot_escape_law(ax, an_escape("never", (np.nan,) * 3, times))
    np.testing.assert_array_equal(never.get_xdata(), np.arange(6.0, 13.0))
    assert np.isnan(np.asarray(law.get_ydata())).all()
    np.testing.assert_array_equal(np.isnan(np.asarray(dots.get_ydata())), np.isinf(times))
    ax.set_ylim(1e-3, 10)
    shown = never.get_transform().transform(places_of(never))
    np.testing.assert_allclose(ax.transAxes.inverted().transform(shown)[:, 1], 1, atol=1e-12)
    assert never.get_marker() == "^"
    assert not never.get_clip_on()


def test_times_beyond_the_limits_are_open_triangles_on_the_edge(ax):
    times = 1e-3 * 10.0 ** np.arange(12)
    times[-2:] = np.inf
    escape = an_escape("exponential", (0.0, 1e-4, np.log(10)), times)
    _, dots, never, later, earlier = plots.plot_escape_law(ax, escape, limits=(1e-2, 1e4))
    assert ax.get_ylim() == (1e-2, 1e4)
    shown = np.isfinite(np.asarray(dots.get_ydata()))
    np.testing.assert_array_equal(escape.margins[shown], np.arange(2.0, 9.0))
    np.testing.assert_array_equal(never.get_xdata(), [11, 12])
    np.testing.assert_array_equal(later.get_xdata(), [9, 10])
    np.testing.assert_array_equal(earlier.get_xdata(), [1])
    faces = [mark.get_markerfacecolor() for mark in (never, later, earlier)]
    assert faces == [never.get_color(), "white", "white"]


def test_times_as_long_as_a_float_can_be_are_drawn_within_the_axes(ax):
    times = 10.0 ** np.linspace(0, 307, 12)
    law = "exponential", (0.0, 1e-300, 300.0)
    _, dots, later = plots.plot_escape_law(ax, an_escape(*law, times))
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    heights = np.asarray(dots.get_ydata())
    assert low < np.nanmin(heights) < np.nanmax(heights) <= high < 1e300
    assert np.isnan(heights).sum() == np.size(later.get_xdata())


# Cards


def facts_of(texts):
    words = [text.get_text() for text in texts]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_card_says_its_main_numbers(ax):
    expected = {
        "proper": "strictly, q = softmax(z)",
        "L, 2/L": "0.616, 3.25",
        "least curvature": "−0.481",
        "not convex": "60 % of the simplex",
        "largest push": "0.544 at p_true = 0.333",
        "push, uniform q": "0.544, ∝ C⁻¹",
        "push, 12 behind": "1.13×10⁻⁵",
        "push fades at": "all corners, far edge",
        "escape": "exponential, ∝ e¹·⁰⁰ᵐ",
        "range": "0 to 2",
        "soft targets": "accepted",
        "derivatives": "right",
    }
    received = facts_of(plots.plot_card(ax, a_card()))
    assert {said: received[said] for said in expected} == expected
    assert not ax.axison


def test_card_says_what_is_out_of_the_ordinary(ax):
    card = a_card(
        properness={"proper": False, "worst_excess": 0.28},
        curvature={
            "least_eigenvalue": 0.0,
            "not_convex_share": 0.0,
            "smoothness": np.inf,
            "largest_step": 0.0,
        },
        push={
            "largest_at": 0.0,
            "uniform_power": -0.5,
            "mistake_norm": np.nan,
            "vanishes": ("right corner", "wrong corners", "far edge", "near edges"),
        },
        noise={"most": np.inf, "symmetric": True},
        invariance={"soft_targets": "ignored"},
        derivatives={"right": False, "finite_difference": 0.25, "precision": "float16"},
    )
    expected = {
        "proper": "no, by 0.28",
        "L, 2/L": "∞, 0",
        "least curvature": "0",
        "not convex": "nowhere",
        "largest push": "0.544 at p_true → 0",
        "push, uniform q": "0.544, ∝ C⁻⁰·⁵⁰",
        "push, 12 behind": "NaN",
        "push fades at": "all corners, all edges",
        "range": "0 to ∞, symmetric",
        "soft targets": "ignored",
        "derivatives": "WRONG by 0.25, in float16",
    }
    received = facts_of(plots.plot_card(ax, card))
    assert {said: received[said] for said in expected} == expected


def test_card_of_a_loss_that_cannot_be_called_with_many_classes_says_no_power(ax):
    received = facts_of(plots.plot_card(ax, a_card(push={"uniform_power": np.nan})))
    assert received["push, uniform q"] == "0.544"


@pytest.mark.parametrize("length", [60, 200])
def test_a_long_fact_of_a_card_stays_in_its_column(ax, length, monkeypatch):
    words = dict.fromkeys(["proper", "escape", "range"], "x" * length)
    monkeypatch.setattr(type(a_card()), "short_words", lambda card: words)
    texts = plots.plot_card(ax, a_card(), columns=2, fontsize=6)
    ax.figure.draw_without_rendering()
    assert unreadable_text(ax.figure) == []
    sizes = {text.get_fontsize() for text in texts[1::2]}
    assert sizes == {0.75 * 6}
    assert all(text.get_text().endswith("…") for text in texts[1::2])


def test_card_runs_down_its_columns_from_the_top(ax):
    texts = plots.plot_card(ax, a_card(), columns=3, fontsize=6)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts[::2]]
    lines = -(-len(boxes) // 3)
    columns = [boxes[:lines], boxes[lines : 2 * lines], boxes[2 * lines :]]
    for column in columns:
        assert np.ptp([box.x0 for box in column]) < 3
        assert np.all(np.diff([box.y1 for box in column]) < 0)
    lefts = [column[0].x0 for column in columns]
    np.testing.assert_allclose(np.diff(lefts), ax.bbox.width / 3, atol=3)
    assert all(text.get_fontsize() == 6 for text in texts[::2])
    assert all(float(text.get_fontsize()) >= 0.75 * 6 for text in texts[1::2])


# Legibility


def test_text_on_text_and_text_beyond_the_edge_are_found():
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.5, 0.5, "two")
    figure.text(0.5, 0.2, "quiet")
    figure.text(0.5, 0.2, "hidden", visible=False)
    figure.text(0.95, 0.9, "far too long for the place")
    assert unreadable_text(figure) == [
        "'far too long for the place' is cut off at the edge of the figure",
        "'one' overlaps 'two'",
    ]


def test_tick_labels_outside_the_limits_are_no_text():
    figure = Figure()
    ax = figure.add_subplot()
    ax.set_xticks([0, 0.5, 1, 1.001], ["a", "b", "c", "d"])
    ax.set_xlim(0, 1)
    assert unreadable_text(figure) == []
    ax.set_xlim(0, 1.1)
    assert unreadable_text(figure) == ["'c' overlaps 'd'"]


@pytest.mark.parametrize("against", ["p_true", "margin"])
def test_text_of_a_profile_can_be_read(ax, against):
    plots.plot_gradient_profile(ax, a_profile(), against=against, label="cross-entropy")
    ax.legend()
    assert unreadable_text(ax.figure) == []


@pytest.mark.parametrize("log", [False, True])
def test_text_of_a_history_can_be_read(ax, log):
    plots.plot_history(ax, np.exp(-np.arange(1000.0) / 10), log=log, label="cross-entropy")
    ax.legend()
    assert unreadable_text(ax.figure) == []


def test_text_of_distributions_can_be_read(ax):
    names = ["setosa", "versicolor", "virginica"]
    plots.plot_distributions(ax, [1, 0, 0], [0.7, 0.1, 0.2], class_names=names)
    ax.legend()
    assert unreadable_text(ax.figure) == []


@pytest.mark.parametrize("columns", [1, 3])
def test_text_of_a_card_can_be_read(columns):
    ax = Figure(figsize=(10, 3.5)).add_subplot()
    plots.plot_card(ax, a_card(), columns=columns)
    assert unreadable_text(ax.figure) == []  # type: ignore[arg-type]


def test_text_of_three_fields_and_paths_side_by_side_can_be_read():
    figure = Figure(figsize=(8.4, 3.2))
    norm = LogNorm(0.01, 10)
    axes = [figure.add_subplot(1, 3, k, projection="ternary") for k in (1, 2, 3)]
    meshes = []
    for ax, title in zip(axes, ("cross-entropy", "Brier score", "logits"), strict=True):
        meshes += plots.plot_simplex_field(ax, a_field(), norm=norm)[:1]
        plots.plot_simplex_path(ax, A_PATH, label="a path")
        ax.set_title(title)
    figure.colorbar(meshes[0], ax=axes, label="gradient norm ‖dL/dz‖", extend="max")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    assert unreadable_text(figure) == []


# The module


def test_importing_plots_needs_neither_pyplot_nor_a_jax_backend():
    code = (
        "import sys, jaxent.plots\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "if 'jax' in sys.modules:\n"
        "    from jax._src import xla_bridge\n"
        "    assert not xla_bridge.backends_are_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_style_lies_in_the_package_where_matplotlib_finds_it():
    style = files("jaxent").joinpath("paper.mplstyle")
    assert style.is_file()
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert cycle[:2] == ["#0072B2", "#D55E00"]
    assert matplotlib.rcParams["image.cmap"] == "cividis"
    assert matplotlib.rcParams["figure.constrained_layout.use"]
