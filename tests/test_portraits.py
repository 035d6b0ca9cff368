"""Portraits: what each panel shows, what the panels share, and that all of it can be read."""

import io
import re
from functools import cache, partial
from itertools import combinations

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.collections import TriMesh
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text

from jaxent import cards, losses, portraits
from tests.text_overlaps import unreadable_text

BLUE, VERMILION = "#0072B2", "#D55E00"
STEPS = 100


def hinge(logits, targets):
    label = jnp.argmax(targets)
    others = jnp.where(jnp.arange(logits.size) == label, -jnp.inf, logits)
    return jnp.maximum(0.0, 1 + jnp.max(others) - logits[label])


def clipped(logits, targets):
    return -jnp.sum(targets * jnp.log(jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)))


def linear(logits, targets):
    return -jnp.sum(targets * logits)


def constant(logits, targets):
    return 0.0 * jnp.sum(logits * targets)


def one_hot_only(logits, targets):
    certain = jnp.any(targets == 1)
    return jnp.where(certain, losses.softmax_cross_entropy(logits, targets), jnp.nan)


def ordinal(logits, targets):
    edges = jnp.array([-jnp.inf, -1.0, 1.0, jnp.inf]) - logits[0]
    shares = jax.nn.sigmoid(edges[1:]) - jax.nn.sigmoid(edges[:-1])
    return -jnp.sum(targets * jnp.log(shares + 1e-12))


def sharp(logits, targets):
    return jnp.sum((jax.nn.softmax(10 * logits) - targets) ** 2)


def singular(logits, targets):
    return jnp.sum(targets / jnp.maximum(jax.nn.softmax(logits), 1e-9) ** 3)


CASES = {
    "cross-entropy": {"losses": losses.softmax_cross_entropy},
    "Brier score": {"losses": losses.softmax_brier_score},
    "two": {"losses": [losses.softmax_cross_entropy, losses.softmax_brier_score]},
    "soft target": {"losses": losses.softmax_brier_score, "target": (0.6, 0.3, 0.1)},
    "raw logits": {"losses": losses.logit_squared_error},
    "hinge": {"losses": hinge},
    "clipped": {"losses": clipped},
    "without curvature": {"losses": [linear, constant], "target": (0, 1, 0)},
    "one latent number": {"losses": ordinal},
    "sharp": {"losses": [losses.softmax_cross_entropy, sharp]},
    "sharp alone": {"losses": sharp},
    "singular": {"losses": [losses.softmax_cross_entropy, losses.softmax_brier_score, singular]},
    "options": {"losses": partial(losses.generalized_cross_entropy, exponent=0.5)},
    "five classes": {"losses": losses.softmax_focal_loss, "num_classes": 5},
    "two of five classes": {
        "losses": [losses.softmax_cross_entropy, losses.softmax_brier_score],
        "num_classes": 5,
    },
    "binary": {
        "losses": [losses.sigmoid_binary_cross_entropy, losses.sigmoid_squared_error],
        "num_classes": 2,
    },
    "four of different scales": {
        "losses": {
            "cross-entropy": losses.softmax_cross_entropy,
            "absolute error, mean over the classes": losses.softmax_mean_absolute_error,
            "squared error of raw logits": losses.logit_squared_error,
            "$ a loss with an uncommonly long_name that goes on " * 3: hinge,
        }
    },
}


@pytest.fixture(autouse=True, scope="module")
def _each_card_measured_once():
    """Half of the time of a portrait is its card, and several show the same losses."""
    measured = cache(cards.card)

    def card(loss, num_classes, *, name, seed, progress):
        progress("a part of the card")
        return measured(loss, num_classes, seed=seed)._replace(name=name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "card", card)
        yield


@cache
def sheet(case) -> Figure:
    return portraits.portrait(**CASES[case])


def text_of(figure):
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def panels(figure):
    """The axes of each loss, by the names of their panels."""
    rows = {}
    for ax in figure.axes:
        panel, _, number = ax.get_gid().rpartition("-")
        rows.setdefault(number, {})[panel] = ax
    rows.pop("bar", None)
    return list(rows.values())


def mesh_of(ax):
    (mesh,) = (one for one in ax.collections if isinstance(one, TriMesh))
    return mesh


def q_at(places):
    """The probabilities at points (x, y) of a triangle of height 1 with its top at (0, 1)."""
    x, y = np.asarray(places).T
    return np.stack([y, (1 - y - np.sqrt(3) * x) / 2, (1 - y + np.sqrt(3) * x) / 2], axis=-1)


def q_and_values_of(mesh):
    triangulation = mesh._triangulation
    return q_at(np.stack([triangulation.x, triangulation.y], axis=-1)), np.asarray(mesh.get_array())


def paths_of(ax) -> list[np.ndarray]:
    return [q_at(line.get_xydata()) for line in ax.lines if len(line.get_xydata()) > 1]


def hessians_of_brier_score(q, p):
    """Σₖ 2 qₖ dₖ wₖ wₖᵀ with wₖ = eₖ − q and dₖ = 2qₖ − pₖ − q·(q − p)."""
    d = 2 * q - p - np.sum(q * (q - p), axis=-1, keepdims=True)
    w = np.eye(3) - q[:, None, :]
    return 2 * np.einsum("nk,nki,nkj->nij", q * d, w, w)


def least_eigenvalues(hessians):
    basis = np.array([[1, -1, 0], [1, 1, -2]]).T / np.sqrt([2, 6])
    return np.linalg.eigvalsh(basis.T @ hessians @ basis)[:, 0]


# What the panels show


@pytest.mark.parametrize(
    ("case", "target"), [("Brier score", (1, 0, 0)), ("soft target", (0.6, 0.3, 0.1))]
)
def test_field_and_map_are_those_of_the_closed_forms(case, target):
    (row,) = panels(sheet(case))
    q, norms = q_and_values_of(mesh_of(row["field"]))
    p = np.array(target)
    jacobian = q[:, :, None] * np.eye(3) - q[:, :, None] * q[:, None, :]
    expected = np.linalg.norm(2 * jacobian @ (q - p)[:, :, None], axis=1)[:, 0]
    np.testing.assert_allclose(norms, expected, atol=1e-12)
    q, curvatures = q_and_values_of(mesh_of(row["curvature"]))
    expected = least_eigenvalues(hessians_of_brier_score(q, p))
    np.testing.assert_allclose(curvatures, expected, atol=1e-12)


def test_line_of_the_map_is_where_the_least_curvature_of_the_brier_score_is_zero():
    (row,) = panels(sheet("Brier score"))
    (line,) = (one for one in row["curvature"].collections if not isinstance(one, TriMesh))
    q = q_at(line.get_paths()[0].vertices)
    received = least_eigenvalues(hessians_of_brier_score(q, np.eye(3)[0]))
    np.testing.assert_allclose(received, 0, atol=1e-3)
    # convex where the truth has a half or more, never where it has less than a third
    assert q[:, 0].min() == pytest.approx(1 / 3, abs=1e-3)
    assert q[:, 0].max() == pytest.approx(1 / 2, abs=0.02)


def test_convex_loss_has_no_line_on_its_map():
    (row,) = panels(sheet("cross-entropy"))
    assert [type(one) for one in row["curvature"].collections] == [TriMesh]


def test_curvature_that_is_zero_but_for_rounding_is_drawn_as_zero_and_without_a_line():
    (row,) = panels(sheet("one latent number"))
    assert [type(one) for one in row["curvature"].collections] == [TriMesh]
    assert np.all(q_and_values_of(mesh_of(row["curvature"]))[1] == 0)


@pytest.mark.parametrize("case", ["sharp", "sharp alone", "clipped", "singular"])
def test_all_times_stand_within_their_panel(case):
    for row in panels(sheet(case)):
        ax = row["escape"]
        for line in ax.lines:
            if line.get_marker() != "None":
                places = line.get_transform().transform(line.get_xydata())
                x, y = ax.transAxes.inverted().transform(places[~np.isnan(places).any(1)]).T
                assert np.all((x >= 0) & (x <= 1) & (y >= -1e-9) & (y <= 1 + 1e-9))


def test_margins_are_shown_up_to_24():
    card = cards.card(losses.softmax_cross_entropy, 3, name="", seed=0, progress=str)
    margins = np.array([*range(1, 25), 40.0, 80.0])
    times = np.array([*np.exp(margins[:-2]), 1e300, np.inf])
    card = card._replace(escape=card.escape._replace(margins=margins, times=times))
    figure = portraits.portrait({"one": losses.softmax_cross_entropy}, facts={"one": card})
    (row,) = panels(figure)
    assert row["escape"].get_xlim() == (-0.5, 24.5)
    _, dots = row["escape"].lines
    np.testing.assert_array_equal(dots.get_xydata(), np.stack([margins, times], -1)[:-2])
    assert unreadable_text(figure) == []


def test_profile_is_the_gradient_norm_by_its_closed_form():
    (row,) = panels(sheet("five classes"))
    p_true, received = map(np.asarray, row["profile"].lines[0].get_data())
    # the weight of the focal loss times ‖q − e‖ = √(5/4), all in terms of the true probability
    a, odds = p_true, (1 - p_true)
    expected = odds**2 * (odds - 2 * a * np.log(a)) * np.sqrt(5 / 4)
    inside = (p_true > 1e-6) & (p_true < 0.999)
    np.testing.assert_allclose(received[inside], expected[inside], rtol=1e-9)
    assert p_true[0] < 1e-8
    assert p_true[-1] > 1 - 1e-8


def test_escape_is_the_time_by_its_closed_form_with_its_law_in_words():
    (row,) = panels(sheet("Brier score"))
    _, dots = row["escape"].lines
    m, times = map(np.asarray, dots.get_data())
    expected = (0.5 * (1 - np.exp(-2 * m)) + 6 * (1 - np.exp(-m)) + 12 * m + 8 * np.expm1(m)) / 18
    np.testing.assert_allclose(times, expected, rtol=1e-3)
    assert "exponential, ∝ e¹·⁰⁰ᵐ" in text_of(sheet("Brier score"))


def test_paths_are_those_of_descent_with_the_step_one_over_smoothness():
    (row,) = panels(sheet("cross-entropy"))
    paths = paths_of(row["paths"])
    assert len(paths) == 7
    for path in paths:
        assert len(path) == STEPS + 1
        z = np.log(path[0])
        for received in path[:5]:
            np.testing.assert_allclose(received, np.exp(z) / np.exp(z).sum(), atol=1e-9)
            z = z - 2 * (np.exp(z) / np.exp(z).sum() - np.eye(3)[0])
    assert "η = 1/L = 2" in text_of(sheet("cross-entropy"))
    assert f"{STEPS} steps of descent" in text_of(sheet("cross-entropy"))


def test_brier_score_leaves_the_confident_mistakes_where_they_are_and_cross_entropy_does_not():
    cross_entropy, brier = panels(sheet("two"))
    ends = {
        loss: [path[-1, 0] for path in paths_of(row["paths"]) if path[0, 0] < 1e-3]
        for loss, row in (("cross-entropy", cross_entropy), ("Brier score", brier))
    }
    assert [len(two) for two in ends.values()] == [2, 2]
    assert min(ends["cross-entropy"]) > 0.99
    assert max(ends["Brier score"]) < 1e-3


@pytest.mark.parametrize(
    ("case", "number", "push", "rate", "said"),
    [
        ("hinge", 0, (1, -1, 0), np.sqrt(2 / 3), "η = 0.816, as L = ∞"),
        ("without curvature", 0, (0, 1, 0), 1.0, "η = 1, as L = 0"),
        ("without curvature", 1, (0, 0, 0), 1.0, "η = 1, as L = 0"),
    ],
)
def test_step_without_a_finite_smoothness_is_one_over_the_largest_push(
    case, number, push, rate, said
):
    assert said in text_of(sheet(case))
    path = paths_of(panels(sheet(case))[number]["paths"])[0]  # from the corner of class 1
    z = np.log(path[0]) + rate * np.array(push)
    np.testing.assert_allclose(path[1], np.exp(z) / np.exp(z).sum(), rtol=1e-6)


def test_gradient_that_is_exactly_zero_and_mistake_that_is_never_unlearned_are_shown():
    (row,) = panels(sheet("clipped"))
    _, zeros = row["profile"].lines
    p_true = np.asarray(zeros.get_xdata())
    assert np.all((p_true < 1e-4) | (p_true > 1 - 1e-4))
    assert zeros.get_marker() == "v"
    triangles = row["escape"].lines[-1]
    assert triangles.get_marker() == "^"
    # three classes: the gradient is 0 where p_true = 1/(1 + 2 eᵐ) < 1e-4, past m = 8.52
    assert np.asarray(triangles.get_xdata()).min() == 9
    assert "never" in text_of(sheet("clipped"))


def test_soft_target_is_marked_and_named_at_the_corners():
    (row,) = panels(sheet("soft target"))
    for panel in "field", "curvature", "paths":
        (star,) = (line for line in row[panel].lines if line.get_marker() == "*")
        np.testing.assert_allclose(q_at(star.get_xydata())[0], (0.6, 0.3, 0.1))
        assert row[panel].get_tlabel() == "$p_0$ = 0.6"
    assert "P = (0.6, 0.3, 0.1), at the star" in text_of(sheet("soft target")).replace("\n", " ")


def test_corners_of_a_certain_target_say_which_is_the_truth():
    row, _ = panels(sheet("without curvature"))
    ax = row["field"]
    assert (ax.get_tlabel(), ax.get_llabel(), ax.get_rlabel()) == ("wrong", "truth", "wrong")
    for path in paths_of(row["paths"]):
        assert path[-1, 1] > 0.99


def test_picture_of_raw_logits_says_where_they_are():
    said = text_of(sheet("raw logits")).replace("\n", " ")
    assert "logit_squared_error reads raw logits: in the triangles these sum to 0" in said
    assert "raw logits" not in text_of(sheet("cross-entropy"))


def test_other_numbers_of_classes_have_no_triangles_and_say_so():
    (row,), (complete,) = panels(sheet("five classes")), panels(sheet("cross-entropy"))
    triangles = complete.keys() - row.keys()
    assert triangles >= {"field", "curvature", "paths"}
    said = text_of(sheet("five classes")).replace("\n", " ")
    assert "5 classes; " in said
    assert f"3 classes has {['three', 'four', 'five'][len(triangles) - 3]} triangles more" in said


# What the rows share


def test_each_loss_has_one_colour_in_the_order_of_the_cycle():
    for row, colour in zip(panels(sheet("two")), (BLUE, VERMILION), strict=True):
        drawn = [*row["paths"].lines, row["profile"].lines[-1], *row["escape"].lines[-2:]]
        assert {line.get_color() for line in drawn} == {colour}
    names = ("softmax_cross_entropy", BLUE), ("softmax_brier_score", VERMILION)
    titles = {text.get_text(): text.get_color() for text in sheet("two").texts}
    assert set(names) <= set(titles.items())


def test_colours_can_be_chosen():
    (row,) = panels(portraits.portrait({"known": constant}, colors=["#123456"]))
    assert {line.get_color() for line in row["paths"].lines} == {"#123456"}


@pytest.mark.parametrize(
    ("colors", "reason"),
    [
        (["red", "blue"], "one of each loss, 1, but are 2"),
        (["reddish"], "'reddish' is not a color"),
    ],
)
def test_colours_that_do_not_fit_are_refused(colors, reason):
    with pytest.raises(ValueError, match=reason):
        portraits.portrait(constant, colors=colors)


def test_curves_of_the_others_are_there_in_grey():
    first, second = panels(sheet("two"))
    for panel in "profile", "escape":
        grey, *_ = first[panel].lines
        assert grey.get_color() == "#c8c8c8"
        own = second[panel].lines[len(second[panel].lines) // 2]  # after as many of the other
        np.testing.assert_array_equal(grey.get_xydata(), own.get_xydata())


def test_rows_share_their_axes_and_the_scales_of_their_colours():
    first, second = panels(sheet("two"))
    for panel in "profile", "escape":
        assert first[panel].get_ylim() == second[panel].get_ylim()
        assert first[panel].get_xlim() == second[panel].get_xlim()
    for panel in "field", "curvature":
        norm = mesh_of(first[panel]).norm
        assert norm is mesh_of(second[panel]).norm
        sizes = [np.abs(q_and_values_of(mesh_of(row[panel]))[1]).max() for row in (first, second)]
        assert norm.vmax == pytest.approx(max(sizes))


def test_losses_of_different_scales_share_logarithmic_colours():
    row, *_ = panels(sheet("four of different scales"))
    assert isinstance(mesh_of(row["field"]).norm, LogNorm)
    assert isinstance(mesh_of(row["curvature"]).norm, SymLogNorm)
    row, *_ = panels(sheet("two"))
    for panel in "field", "curvature":
        assert not isinstance(mesh_of(row[panel]).norm, (LogNorm, SymLogNorm))


def test_one_singular_loss_does_not_blank_the_others():
    rows = panels(sheet("singular"))
    for row in rows[:2]:
        for panel in "field", "curvature":
            mesh = mesh_of(row[panel])
            shades = np.ma.getdata(mesh.norm(np.abs(np.asarray(mesh.get_array()))))
            middle = 0.0 if panel == "field" else 0.5
            assert np.quantile(np.abs(shades - middle), 0.75) > 0.05
    curvatures = mesh_of(rows[2]["curvature"])
    assert curvatures.norm.vmax < np.asarray(curvatures.get_array()).max()
    bottom, top = rows[0]["profile"].get_ylim()
    assert bottom < 1 < top < 1e12
    assert "a bar with a tip: numbers go on beyond it" in text_of(sheet("singular")).replace(
        "\n", " "
    )
    assert "a bar with a tip" not in text_of(sheet("sharp"))


def test_marks_are_explained_at_the_foot_where_there_are_any():
    def said(case):
        return text_of(sheet(case)).replace("\n", " ")

    assert "▼: the gradient is exactly 0" in said("clipped")
    assert "▲: never" in said("clipped")
    assert "△: later than the axis ends" in said("sharp")
    assert "grey: the other losses" in said("two")
    for words in "▼", "▲", "△", "grey", "tip":
        assert words not in said("Brier score")


def test_every_loss_has_its_name_and_its_card():
    figure = sheet("four of different scales")
    said = text_of(figure)
    for name in CASES["four of different scales"]["losses"]:
        assert (name if len(name) <= 80 else name[:79]) in said
    assert [set(row) >= {"card", "profile", "escape"} for row in panels(figure)] == [True] * 4
    assert text_of(figure).count("soft targets") == 4


# What is refused


@pytest.mark.parametrize(("loss", "takes"), [(hinge, "ignores"), (one_hot_only, "refuses")])
def test_soft_target_is_refused_for_a_loss_that_takes_none(loss, takes):
    with pytest.raises(ValueError, match=rf"{loss.__name__} {takes} soft targets"):
        portraits.portrait(loss, target=(0.7, 0.2, 0.1))


@pytest.mark.parametrize(
    "target", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.2, 0.0), (np.nan, 0.5, 0.5), 1.0]
)
def test_target_that_is_no_distribution_over_three_classes_is_refused(target):
    with pytest.raises(ValueError, match="target must be 3 probabilities that sum to 1"):
        portraits.portrait(losses.softmax_brier_score, target=target)


def test_target_without_triangles_is_refused():
    with pytest.raises(ValueError, match="of 3 classes and not of 4"):
        portraits.portrait(losses.softmax_brier_score, 4, (1, 0, 0))


@pytest.mark.parametrize(
    "loss", [losses.sigmoid_squared_error, partial(losses.sigmoid_binary_cross_entropy)]
)
def test_binary_loss_of_three_classes_is_refused(loss):
    with pytest.raises(ValueError, match=r"sigmoid_\w+.* is a loss of two classes"):
        portraits.portrait(loss)


def test_cards_that_are_there_already_are_shown_and_not_measured_again(monkeypatch):
    card = cards.card(constant, 3, name="known", seed=0, progress=lambda words: None)
    monkeypatch.setattr(cards, "card", None)
    known = card._replace(noise=card.noise._replace(most=7.25))
    figure = portraits.portrait({"known": constant}, facts={"known": known})
    assert "0 to 7.25, symmetric" in [text.get_text() for ax in figure.axes for text in ax.texts]


def test_progress_hears_of_every_loss_and_of_the_drawing():
    heard = []
    portraits.portrait({"one": linear, "other": constant}, progress=heard.append)
    assert heard[-1] == "drawing"
    parts = "a part of the card", "panels"
    assert heard[:-1] == [f"{name}: {part}" for name in ("one", "other") for part in parts]


# Files


def saved(figure, extension, **kwargs) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=extension, **kwargs)
    return buffer.getvalue()


def test_picture_does_not_depend_on_the_settings_of_the_caller_nor_change_them():
    expected = saved(sheet("cross-entropy"), "png", dpi=50)
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "xtick.labelcolor": "red"}):
        settings = dict(matplotlib.rcParams)
        figure = portraits.portrait(losses.softmax_cross_entropy)
        assert dict(matplotlib.rcParams) == settings
        assert saved(figure, "png", dpi=50) == expected
        assert saved(sheet("cross-entropy"), "png", dpi=50) == expected
    with matplotlib.style.context("dark_background"):
        assert saved(sheet("cross-entropy"), "png", dpi=50) == expected


def test_text_of_an_svg_is_text_and_only_its_colours_are_pixels():
    svg = saved(sheet("two"), "svg").decode()
    for words in "softmax_cross_entropy", "exponential, ∝", "probability of the truth":
        assert words in svg
    bars = [ax for ax in sheet("two").axes if str(ax.get_gid()).endswith("-bar")]
    assert svg.count("<image") == len(sheet("two").findobj(TriMesh)) + len(bars) >= 6
    assert len(svg) < 1_000_000


def test_axes_have_ids_of_their_own_in_an_svg_too():
    ids = [ax.get_gid() for ax in sheet("two").axes]
    assert {f"{panel}-{number}" for panel in ("profile", "card") for number in (0, 1)} < set(ids)
    assert len(set(ids)) == len(ids)
    assert set(ids) < set(re.findall(r'<g id="([\w-]+)"', saved(sheet("two"), "svg").decode()))


def test_text_of_a_pdf_is_text():
    with matplotlib.rc_context({"pdf.compression": 0}):
        pdf = saved(sheet("two"), "pdf")
    shown = len(re.findall(rb"T[jJ]\s", pdf))
    # not of all ticks, which are formulas, is a label drawn
    lines = [line for line in text_of(sheet("two")).splitlines() if line and "$" not in line]
    assert len(lines) > 80
    assert shown >= len(lines)
    assert len(pdf) < 2_000_000


@pytest.mark.parametrize("case", CASES)
def test_all_text_can_be_read(case):
    assert unreadable_text(sheet(case)) == []


@pytest.mark.parametrize("dpi", [72, 100, 120])
@pytest.mark.parametrize("case", ["four of different scales", "raw logits", "two of five classes"])
def test_all_text_can_be_read_whatever_the_resolution(case, dpi):
    figure = sheet(case)
    usual = figure.get_dpi()
    figure.set_dpi(dpi)
    received = unreadable_text(figure)
    figure.set_dpi(usual)
    assert received == []


@pytest.mark.parametrize(
    ("shown", "num_classes"), [([linear], 3), ([linear, constant], 3), ([linear, constant], 5)]
)
def test_panels_that_are_added_find_a_place_of_their_own(monkeypatch, shown, num_classes):
    known = {panel.name: panel for panel in portraits.PANELS}
    added = known["profile"]._replace(name="curve"), known["field"]._replace(name="triangle")
    monkeypatch.setattr(portraits, "PANELS", (*portraits.PANELS, *added))
    figure = portraits.portrait(shown, num_classes)
    assert all("curve" in row for row in panels(figure))
    places = [ax.get_position() for ax in figure.axes]
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))
    assert unreadable_text(figure) == []


def test_portrait_is_a_figure_of_the_width_of_a_page():
    for case in "Brier score", "two", "five classes":
        assert 9 <= sheet(case).get_size_inches()[0] <= 10
