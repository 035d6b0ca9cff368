"""Pictures: the data of the artists, not the pixels; and that the text can be read."""

import subprocess
import sys
from importlib.resources import files

import matplotlib.style
import numpy as np
import pytest
from matplotlib.collections import TriMesh
from matplotlib.colors import LogNorm, Normalize, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxent import plots
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
    import jax.numpy as jnp

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
        lambda ax: plots.plot_simplex_path(ax, A_PATH),
    ],
)
def test_three_classes_on_cartesian_axes_are_refused(ax, draw):
    with pytest.raises(TypeError, match='projection="ternary"'):
        draw(ax)


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
