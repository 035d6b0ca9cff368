"""The page, in a real browser, opened from disk: what it shows is held to JAX."""

import functools
import json
import math
import re
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest

from jaxent import descent, gradients, losses, pages
from tests.browser import chromium

TRUTH = (1.0, 0.0, 0.0)


# Losses of a user's own


def warm_cross_entropy(logits, targets):
    return losses.softmax_cross_entropy(logits / 2.5, targets)


def tsallis(logits, targets, order=1.5):
    q = jax.nn.softmax(logits)
    return jnp.sum(targets * (1 - q ** (order - 1))) / (order - 1)


def margin_loss(logits, targets):
    truth = jnp.argmax(targets)
    ahead = logits[truth] - logits
    others = jnp.arange(3) != truth
    return jnp.sum(jnp.where(others, jax.nn.relu(1 - ahead), 0.0) ** 2)


def written_with_where_and_indexing(logits, targets):
    top = logits[jnp.argmax(targets)]
    gap = jnp.max(logits) - top
    return jnp.where(gap > 1, gap - 0.5, 0.5 * gap**2) + 0.1 * (logits[0] - logits[2]) ** 2


def clipped(logits, targets):
    q = jnp.clip(jax.nn.softmax(logits), 1e-3, 1.0)
    return -jnp.sum(targets * jnp.log(q))


def runaway(logits, targets):
    return -0.5 * jnp.sum(logits**2) + 0 * targets.sum()


def branches_in_python(logits, targets):
    if float(targets[0]) == 1.0:
        return losses.softmax_brier_score(logits, targets)
    return losses.softmax_cross_entropy(logits, targets)


BUILT_IN = {
    "CE": losses.softmax_cross_entropy,
    "Brier": losses.softmax_brier_score,
    "MAE": losses.softmax_mean_absolute_error,
    "raw": losses.logit_squared_error,
}
OWN = {
    "warm": warm_cross_entropy,
    "Tsallis": tsallis,
    "margin": margin_loss,
    "where": written_with_where_and_indexing,
}
EVERY = {**BUILT_IN, "focal": losses.softmax_focal_loss, **OWN}


# The page


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def four(folder):
    return pages.save_page(BUILT_IN, folder / "four.html")


@pytest.fixture(scope="module")
def every(folder):
    return pages.save_page(EVERY, folder / "every.html")


USUAL = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}


def window(browser, **context):
    page = browser.new_context(**{**USUAL, **context}).new_page()
    page.set_default_timeout(120_000)  # for what hangs, and not for what is slow
    return page


@functools.cache
def usual_window(browser):
    """The window of every page that needs no other: each window is a process to start."""
    return window(browser)


@contextmanager
def opened(browser, path, address="", *, alone=False, **context):
    """The page in a window; at the end, that it said nothing and asked nobody for anything."""
    heard, asked = [], []
    alone = alone or bool(context)
    page = window(browser, **context) if alone else usual_window(browser)
    listeners = {
        "console": lambda message: heard.append(message.text),
        "pageerror": lambda error: heard.append(str(error)),
        "request": lambda request: asked.append(request.url),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        page.goto(path.as_uri() + address)
        settle(page)
        yield page
        assert heard == []
        assert {url.partition("#")[0] for url in asked} == {path.as_uri()}
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.goto("about:blank")  # or the same file with another address would not be loaded anew
    except BaseException:
        usual_window.cache_clear()  # it may be in any state
        raise
    finally:
        if alone:
            page.context.close()


def redrawn(page):
    """Wait until what the page was told has been drawn, which it asked for before this does."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def settle(page):
    """Wait for the next redraw, and until all steps are counted."""
    page.evaluate(
        """() => new Promise((done, fail) => {
      setTimeout(() => fail(new Error("It counts for ever.")), 120_000);
      const look = () =>
        document.querySelector("[data-status=counting]") ? setTimeout(look) : done();
      requestAnimationFrame(() => setTimeout(look));
    })"""
    )


def coloured_by(page, name):
    """Choose a loss, or none, for the background, and wait until it is painted."""
    page.locator("#field-scale").wait_for(state="visible")  # by the loss of the first view
    for choice in "none", name:
        page.locator("#field").select_option(choice)
        state = "hidden" if choice == "none" else "visible"
        page.locator("#field-scale").wait_for(state=state)


def address_with(page, words):
    """The address, once it holds the words: it follows the view when that has stood a while."""
    page.wait_for_function("(words) => location.hash.includes(words)", arg=words)
    return page.evaluate("location.href")


def stop_the_clock(page):
    """From here on time passes, for the page, in `page.clock.run_for` only; frames take 16 ms."""
    page.clock.install(time=0)
    page.clock.pause_at(3_600_000)


def look(page):
    """(z, q, p, rows): what the page shows, with all digits."""
    shown = page.evaluate("""() => ({
      charts: [...document.querySelectorAll("svg[data-z]")].map((chart) => ({...chart.dataset})),
      rows: [...document.querySelectorAll("tbody tr")].map((row) => ({...row.dataset})),
    })""")
    triangle, log_odds = shown["charts"]
    assert triangle == log_odds
    z, q, p = (np.array(json.loads(triangle[name])) for name in "zqp")
    rows = {row["loss"]: row for row in shown["rows"]}
    for row in rows.values():
        for name in {"value", "norm", "gradient", "velocity"} & set(row):
            row[name] = np.array(json.loads(row[name]))
    return z, q, p, rows


def view(z, p, rate=0.5):
    """The address of a view, from the # on."""
    return f"#z={','.join(map(repr, z))}&p={','.join(map(repr, p))}&rate={rate}"


def show(page, address):
    page.evaluate(
        """(address) => new Promise((done) => {
      addEventListener("hashchange", done, {once: true});
      location.hash = address;
    })""",
        address,
    )
    redrawn(page)


def box_of(page, selector):
    """Left, top, width and height, in the window."""
    return page.evaluate(
        """(selector) => {
          const {x, y, width, height} = document.querySelector(selector).getBoundingClientRect();
          return [x, y, width, height];
        }""",
        selector,
    )


def at(page, chart, x, y):
    """The place in the window of a point of a chart, as shares of its width and height."""
    left, top, width, height = box_of(page, f"#{chart}")
    return left + x * width, top + y * height


def handle(page, chart, name):
    left, top, width, height = box_of(page, f"#{chart} .handle.{name} .shape")
    return left + width / 2, top + height / 2


def corners_of_triangle(page):
    """Where they are in the chart, in pixels, [3, 2]."""
    outline = page.locator("#triangle .outline").get_attribute("d")
    return np.array(re.findall(r"[\d.]+", outline), float).reshape(3, 2)


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end)
    page.mouse.up()
    redrawn(page)


# Against JAX, in float64


MOST_POINTS = 100


@functools.cache
def compiled(loss):
    def answer(z, p):
        values, gradient = jax.vmap(jax.value_and_grad(loss))(z, p)
        return values, gradient, gradients.simplex_velocity(loss, z, p)

    return jax.jit(answer)


def answers(loss, z, p):
    """Value, gradient and velocity at up to 100 points, for any number of them by one program."""
    assert len(z) == len(p) <= MOST_POINTS
    with jax.enable_x64(True):
        full = [np.resize(np.asarray(x, np.float64), (MOST_POINTS, 3)) for x in (z, p)]
        return [np.asarray(x)[: len(z)] for x in compiled(loss)(*full)]


def steps_until(loss, z, p, rate, is_reached):
    """How many steps of descent it takes, −1 if it takes more than 20,000."""
    with jax.enable_x64(True):
        z, p = np.array(z, np.float64), np.array(p, np.float64)
        count = int(counted(z, p, np.float64(rate), loss=loss, is_reached=is_reached))
    return count if count <= 20_000 else -1


@functools.partial(jax.jit, static_argnames=("loss", "is_reached"))
def counted(z, p, rate, *, loss, is_reached):
    def step(state):
        z, count = state
        return z - rate * jax.grad(loss)(z, p), count + 1

    def goes_on(state):
        z, count = state
        return ~is_reached(z, p) & (count < 20_001)

    _, count = jax.lax.while_loop(goes_on, step, (z, 0))
    return count


def hold_to_jax(seen):
    """Every number of every row, at all the places that were seen."""
    z, q, p = (np.stack([one[i] for one in seen]) for i in range(3))
    sums = np.exp(z).sum(-1, keepdims=True)
    np.testing.assert_allclose(q, np.exp(z) / sums, rtol=1e-13)
    np.testing.assert_allclose(z.sum(-1), 0, atol=1e-13)
    for name, loss in EVERY.items():
        rows = [one[3][name] for one in seen]
        values, gradient, velocity = answers(loss, z, p)
        norm = np.linalg.norm(gradient, axis=-1)
        received = np.stack([row["gradient"] for row in rows])
        error = np.linalg.norm(received - gradient, axis=-1)
        assert (error <= 1e-6 * norm + 1e-12).all(), name
        np.testing.assert_allclose([row["norm"] for row in rows], norm, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose([row["value"] for row in rows], values, rtol=1e-9, atol=1e-12)
        received = np.stack([row["velocity"] for row in rows])
        error = np.linalg.norm(received - velocity, axis=-1)
        assert (error <= 1e-6 * np.linalg.norm(velocity, axis=-1) + 1e-15).all(), name


def test_numbers_are_those_of_jax_wherever_q_and_p_are_dragged_in_the_triangle(browser, every):
    random = np.random.default_rng(0)
    seen = []
    with opened(browser, every) as page:
        for _ in range(5):
            place = random.uniform([0.35, 0.3], [0.65, 0.8])
            drag(page, handle(page, "triangle", "p"), at(page, "triangle", *place))
            page.mouse.move(*handle(page, "triangle", "q"))
            page.mouse.down()
            for _ in range(20):
                # beyond the edges too, where Q stays at the edge
                place = random.uniform([0.1, 0.05], [0.9, 0.95])
                page.mouse.move(*at(page, "triangle", *place))
                redrawn(page)
                seen.append(look(page))
            page.mouse.up()
    assert len({tuple(z) for z, *_ in seen}) > 80
    assert len({tuple(p) for _, _, p, _ in seen}) == 5
    hold_to_jax(seen)


def test_numbers_are_those_of_jax_wherever_q_is_dragged_in_the_log_odds_chart(browser, every):
    random = np.random.default_rng(1)
    seen = []
    with opened(browser, every) as page:
        for p in (0.5, 0.2), (0.55, 0.4):
            drag(page, handle(page, "triangle", "p"), at(page, "triangle", *p))
            page.mouse.move(*handle(page, "log-odds", "q"))
            page.mouse.down()
            for _ in range(50):
                place = random.uniform([0.05, 0.02], [1.0, 0.95])
                page.mouse.move(*at(page, "log-odds", *place))
                redrawn(page)
                seen.append(look(page))
            page.mouse.up()
    p_true = np.array([q[0] for _, q, _, _ in seen])
    assert p_true.min() < 1e-5
    assert p_true.max() > 1 - 1e-5
    hold_to_jax(seen)


def textbook_cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits))


def test_a_page_in_float32_shows_what_rounding_takes_away(browser, folder):
    by_name = {"textbook": textbook_cross_entropy, "exact": losses.softmax_cross_entropy}
    path = pages.save_page(by_name, folder / "rounded.html", float32=True)
    right = (14.0, -7.0, -7.0)
    with opened(browser, path, view(right, TRUTH)) as page:
        assert "float32" in page.locator("body").inner_text()
        z, _, p, rows = look(page)
    for name, loss in by_name.items():
        value, gradient = jax.jit(jax.value_and_grad(loss))(np.float32(z), np.float32(p))
        np.testing.assert_allclose(rows[name]["value"], value, rtol=1e-6)
        np.testing.assert_allclose(rows[name]["gradient"], gradient, rtol=1e-6)
    assert rows["textbook"]["gradient"][0] == 0
    assert rows["exact"]["gradient"][0] == pytest.approx(-2 * math.exp(-21), rel=1e-6)


# Descent


def ahead(z, p):
    return z[0] >= jnp.maximum(z[1], z[2])


def near(z, p):
    return jnp.max(jnp.abs(jax.nn.softmax(z) - p)) <= 0.01


@pytest.mark.parametrize(
    ("z", "p", "rate", "is_reached"),
    [
        ((-4.0, 2.5, 1.5), TRUTH, 0.5, ahead),
        ((-1.5, -1.0, 2.5), TRUTH, 3, ahead),
        ((-2.0, 3.0, -1.0), (0.5, 0.3, 0.2), 0.7, near),
    ],
)
def test_steps_are_counted_as_descent_takes_them(browser, every, z, p, rate, is_reached):
    with opened(browser, every, view(z=z, p=p, rate=rate)) as page:
        heading = page.locator("#goal").inner_text()
        _, _, _, rows = look(page)
    assert heading == ("steps to the tie" if is_reached is ahead else "steps to P ± 0.01")
    for name, loss in EVERY.items():
        expected = steps_until(loss, z, p, rate, is_reached)
        received = rows[name]["steps"]
        assert received == (str(expected) if expected >= 0 else ""), name
        assert (rows[name]["status"] == "reached") == (expected >= 0), name


def test_steps_from_the_far_edge_are_those_of_escape_steps(browser, four):
    with opened(browser, four) as page:
        page.get_by_role("button", name="Middle of the far edge").click()
        settle(page)
        z, _, _, rows = look(page)
    assert z[1] == z[2]
    with jax.enable_x64(True):
        margin = jnp.float64(z[1] - z[0])
        for name in "CE", "Brier":
            escape = descent.escape_steps(BUILT_IN[name], margin, optax.sgd(0.5), num_classes=3)
            assert int(rows[name]["steps"]) == math.ceil(escape.steps)
    assert (rows["MAE"]["status"], rows["MAE"]["steps"]) == ("limit", "")


def test_what_never_ends_is_called_so(browser, folder):
    path = pages.save_page({"clipped": clipped, "runaway": runaway}, folder / "never.html")
    with opened(browser, path) as page:
        _, _, _, rows = look(page)
        words = page.locator("td.steps").all_inner_texts()
    assert [rows[name]["status"] for name in ("clipped", "runaway")] == ["flat", "diverged"]
    assert words[0] == "never: gradient is 0"
    assert words[1].startswith("diverges at ")


def test_a_prediction_that_is_right_has_no_steps_to_take(browser, four):
    with opened(browser, four) as page:
        for button in "Nearly right", "Uniform start":
            page.get_by_role("button", name=button).click()
            settle(page)
            assert {row["status"] for row in look(page)[3].values()} == {"already"}
            assert page.locator("td.steps").all_inner_texts() == ["already right"] * 4


def test_paths_end_where_descent_has_arrived(browser, four):
    with opened(browser, four, view(z=(-3.0, 2.0, 1.0), p=TRUTH)) as page:
        corners = corners_of_triangle(page)
        paths = [path.get_attribute("d") for path in page.locator("#triangle .path").all()]
    heights = [float(re.findall(r"[\d.]+", path)[-1]) for path in paths]
    p_true = 1 - (np.array(heights) - corners[0, 1]) / (corners[1, 1] - corners[0, 1])
    reached = dict(zip(BUILT_IN, p_true, strict=True))
    assert reached["CE"] == pytest.approx(0.99, abs=0.003)
    assert reached["Brier"] == pytest.approx(0.99, abs=0.003)
    # squared error on the logits wants the logits to be those of P, and no more
    assert reached["raw"] == pytest.approx(math.e / (math.e + 2), abs=0.003)


# The charts


def numbers_in(path):
    return np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)


def arrow_tips(page, chart):
    """The tip of every arrow, less Q, by colour, in pixels."""
    arrows = page.evaluate(
        """(chart) => [...document.querySelectorAll(`${chart} .arrow`)]
          .map((arrow) => [getComputedStyle(arrow).fill, arrow.getAttribute("d")])
          .filter(([, shape]) => shape)""",
        f"#{chart}",
    )
    return {colour: numbers_in(shape)[2] - numbers_in(shape)[0] for colour, shape in arrows}


def test_arrows_are_two_units_of_the_velocity_on_both_charts(browser, four):
    z = np.array([-0.4, 0.9, -0.5])
    colours = {"CE": "rgb(0, 114, 178)", "Brier": "rgb(213, 94, 0)", "MAE": "rgb(0, 158, 115)"}
    with opened(browser, four, view(z=z.tolist(), p=TRUTH)) as page:
        in_triangle, in_log_odds = (arrow_tips(page, name) for name in ("triangle", "log-odds"))
        corners = corners_of_triangle(page)
        frame = numbers_in(page.locator("#log-odds .outline").get_attribute("d"))
    unit = np.ptp(frame, axis=0) / (2 * math.log(1e6 - 1))
    for name, colour in colours.items():
        _, (g,), (dq,) = answers(BUILT_IN[name], z[None], np.array([TRUTH]))
        np.testing.assert_allclose(in_triangle[colour], 2 * dq @ corners, atol=0.2)
        share = np.exp(z[1:]) / np.exp(z[1:]).sum()
        du, dv = share @ g[1:] - g[0], g[2] - g[1]
        np.testing.assert_allclose(in_log_odds[colour], 2 * unit * [du, -dv], atol=0.2)


def test_arrows_grow_by_the_decade_on_the_logarithmic_scale(browser, four):
    lengths = []
    with opened(browser, four) as page:
        page.get_by_text("logarithmic").click()
        # the velocity of squared error falls by 100 where the odds of the truth fall by 10
        for gap in 2, 3:
            z = [-gap * math.log(10), 0.0, 0.0]
            show(page, view(z=z, p=TRUTH) + "&scale=logarithmic")
            tips = arrow_tips(page, "triangle")
            lengths.append(np.linalg.norm(tips["rgb(213, 94, 0)"]))
    assert lengths[0] - lengths[1] == pytest.approx(2 * 14, rel=0.05)


def test_q_stands_at_the_ticks_of_its_log_odds(browser, four):
    p_true, split = 1e-2, 1 - 1e-4
    z = math.log(p_true), math.log((1 - p_true) * split), math.log((1 - p_true) * (1 - split))
    with opened(browser, four, view(z=z, p=TRUTH)) as page:
        x, y = handle(page, "log-odds", "q")
        middles = []
        for words in "10⁻²", "1−10⁻⁴":
            boxes = [
                tick.bounding_box() for tick in page.locator("#log-odds text", has_text=words).all()
            ]
            middles.append(
                [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
            )
        words = page.locator("#log-odds text.loud").all_text_contents()
    assert min(abs(x - middle) for middle, _ in middles[0]) < 1
    assert min(abs(y - middle) for _, middle in middles[1]) < 3
    assert words[0] == "probability of class 0, the truth →"
    assert words[1] == "↑ share of class 1 in what class 0 leaves"


def test_the_corners_are_counter_clockwise_from_the_top(browser, four):
    with opened(browser, four) as page:
        (top, left, right) = corners_of_triangle(page)
        for i, corner in enumerate((top, left, right)):
            z = np.where(np.arange(3) == i, 8.0, -4.0).tolist()
            show(page, view(z=z, p=TRUTH))
            box = page.locator("#triangle").bounding_box()
            place = box["x"] + corner[0], box["y"] + corner[1]
            np.testing.assert_allclose(handle(page, "triangle", "q"), place, atol=0.6)
            shown = page.locator("#triangle text.shares").nth(i).text_content()
            assert shown.startswith("q 99.99877 %")
    assert left[0] < top[0] < right[0]
    assert top[1] < left[1] == right[1]


# Hands


def test_presets_do_what_they_say(browser, four):
    expected = {
        "Confident mistake": (1e-4, 1 - 2e-4, 1e-4),
        "Uniform start": (1 / 3, 1 / 3, 1 / 3),
        "Nearly right": (0.97, 0.02, 0.01),
        "Middle of the far edge": (1e-4, 0.49995, 0.49995),
    }
    with opened(browser, four) as page:
        for name, q in expected.items():
            page.get_by_role("button", name=name).click()
            redrawn(page)
            np.testing.assert_allclose(look(page)[1], q, rtol=1e-12)


def test_q_glides_to_a_preset_where_motion_is_welcome(browser, four):
    with opened(browser, four, reduced_motion="no-preference") as page:
        stop_the_clock(page)
        start = look(page)[0]
        page.get_by_role("button", name="Uniform start").click()
        seen = []
        for _ in range(9):
            page.clock.run_for(48)
            seen.append(look(page)[0])
    # the first frame only sees that time has begun to pass, and what one asks for the next draws
    shares = np.clip((48 * np.arange(1, 10) - 16) / 400, 0, 1)
    np.testing.assert_allclose(seen, np.outer((1 - shares) ** 3, start), rtol=1e-12)
    assert seen[-1].tolist() == [0, 0, 0]


def test_reset_brings_back_the_first_view(browser, four):
    with opened(browser, four) as page:
        first = look(page)
        drag(page, handle(page, "triangle", "p"), at(page, "triangle", 0.5, 0.6))
        drag(page, handle(page, "log-odds", "q"), at(page, "log-odds", 0.6, 0.3))
        page.get_by_text("logarithmic").click()
        page.get_by_role("checkbox", name="Brier").uncheck()
        redrawn(page)
        assert look(page)[0].tolist() != first[0].tolist()
        # as soon as the background is painted
        page.wait_for_function("() => document.querySelector('#field-scale span').innerText != 0")
        page.get_by_role("button", name="Reset").click()
        settle(page)
        again = look(page)
        assert page.locator("#field-scale span").first.inner_text() == "0"
        assert page.get_by_label("linear", exact=True).is_checked()
    assert [one.tolist() for one in first[:3]] == [one.tolist() for one in again[:3]]
    assert str(first[3]) == str(again[3])


def test_dragging_puts_q_and_p_under_the_pointer(browser, four):
    with opened(browser, four) as page:
        for name, end in ("p", (0.55, 0.5)), ("q", (0.45, 0.7)):
            end = at(page, "triangle", *end)
            drag(page, handle(page, "triangle", name), end)
            np.testing.assert_allclose(handle(page, "triangle", name), end, atol=0.6)
        end = at(page, "log-odds", 0.7, 0.6)
        drag(page, at(page, "log-odds", 0.3, 0.3), end)
        np.testing.assert_allclose(handle(page, "log-odds", "q"), end, atol=0.6)
        _, q, p, _ = look(page)
    assert q[0] > 0.5
    assert p.sum() == pytest.approx(1)


def test_p_snaps_into_a_corner_and_stays_on_the_simplex(browser, four):
    with opened(browser, four) as page:
        box = page.locator("#triangle .outline").bounding_box()
        left = box["x"], box["y"] + box["height"]
        drag(page, handle(page, "triangle", "p"), (left[0] + 6, left[1] - 3))
        assert look(page)[2].tolist() == [0, 1, 0]
        drag(page, handle(page, "triangle", "p"), (left[0] + box["width"] / 4, left[1] + 50))
        p = look(page)[2]
        assert p[0] == 0
        np.testing.assert_allclose(p, [0, 0.75, 0.25], atol=0.01)


def touch(page, *places):
    """A finger comes down, moves on from place to place, and is lifted."""
    session = page.context.new_cdp_session(page)
    kinds = ["touchStart", *["touchMove"] * (len(places) - 1)]
    for kind, (x, y) in zip(kinds, places, strict=True):
        points = [{"x": x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        redrawn(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    redrawn(page)


def test_a_finger_drags_q_and_p_or_calls_q_or_scrolls(browser, four):
    size = {"width": 375, "height": 812}
    with opened(browser, four, viewport=size, has_touch=True, is_mobile=True) as page:

        def inside(share):
            return at(page, "triangle", 0.5, share)

        touch(page, handle(page, "triangle", "q"), inside(0.7), inside(0.5))
        np.testing.assert_allclose(handle(page, "triangle", "q"), inside(0.5), atol=1)
        touch(page, handle(page, "triangle", "p"), inside(0.3), inside(0.35))
        np.testing.assert_allclose(handle(page, "triangle", "p"), inside(0.35), atol=1)
        assert page.evaluate("scrollY") == 0
        touch(page, inside(0.7))
        np.testing.assert_allclose(handle(page, "triangle", "q"), inside(0.7), atol=1)
        before = look(page)[0]
        touch(page, *[inside(share) for share in (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)])
        page.wait_for_function("() => scrollY > 50")
        assert look(page)[0].tolist() == before.tolist()


def test_arrow_keys_move_q_and_p(browser, four):
    with opened(browser, four, view(z=(0.0, 0.0, 0.0), p=(0.6, 0.2, 0.2))) as page:

        def press(name, keys):
            page.locator(name).focus()
            for key in keys:
                page.keyboard.press(key)
            redrawn(page)
            return look(page)

        triangle_q, log_odds_q = "#triangle .q", "#log-odds .q"
        _, q, _, _ = press(triangle_q, ["ArrowUp"])
        assert q[0] > 1 / 3
        assert q[1] == pytest.approx(q[2])
        rise = q[0] - 1 / 3
        _, further, _, _ = press(triangle_q, ["Shift+ArrowUp"])
        assert further[0] - q[0] == pytest.approx(5 * rise)
        _, less, _, _ = press(triangle_q, ["Alt+ArrowUp"])
        assert less[0] - further[0] == pytest.approx(rise / 10)
        z, _, _, _ = press(log_odds_q, ["ArrowUp"])
        assert z[1] > z[2]
        before = z[0] - np.logaddexp(z[1], z[2])
        z, _, _, _ = press(log_odds_q, ["ArrowLeft"])
        assert z[0] - np.logaddexp(z[1], z[2]) < before
        spoken = page.locator(log_odds_q).get_attribute("aria-valuetext")
        _, _, p, _ = press("#triangle .p", ["ArrowDown", "ArrowRight"])
        assert p[0] < 0.6
        assert p[2] > p[1]
    assert re.fullmatch(r"class 0 [\d.]+ %, class 1 [\d.]+ %, class 2 [\d.]+ %", spoken)


def test_everything_is_reached_with_the_tab_key_and_seen_to_be(browser, four):
    with opened(browser, four) as page:
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    """() => {
                      const it = document.activeElement;
                      const ring = it.querySelector(".focus") ?? it;
                      const {outlineStyle, stroke} = getComputedStyle(ring);
                      const parent = getComputedStyle(it.closest("label") ?? it).outlineStyle;
                      const seen = [outlineStyle, parent].some((style) => style !== "none");
                      const name = it.getAttribute("aria-label") ?? it.id ?? "";
                      return [name || it.textContent || it.value, seen || stroke !== "none"];
                    }"""
                )
            )
    names = [name for name, _ in reached]
    assert {"Confident mistake", "reset", "Q, the prediction", "P, the truth", "rate"} <= set(names)
    assert names.count("Q, the prediction") == 2
    assert all(seen for _, seen in reached[:14])


def test_a_loss_can_be_put_aside(browser, four):
    with opened(browser, four) as page:
        page.get_by_role("checkbox", name="raw").uncheck()
        redrawn(page)
        _, _, _, rows = look(page)
        assert "gradient" not in rows["raw"]
        assert "gradient" in rows["CE"]
        drawn = [bool(path.get_attribute("d")) for path in page.locator("#triangle .path").all()]
        axis = page.locator("thead .axis").first.inner_text().split()
    assert drawn == [True, True, True, False]
    assert axis == ["−1", "0", "1"]


def test_bars_share_one_scale_and_tell_signs(browser, four):
    with opened(browser, four) as page:
        for scale in "linear", "logarithmic":
            page.get_by_text(scale).click()
            redrawn(page)
            _, _, _, rows = look(page)
            ends = page.locator("thead .axis").first.inner_text().replace("−", "-").split()
            end = float(ends[2])
            bars = page.evaluate(
                """() => [...document.querySelectorAll(".track")].map((track) => {
                  const all = track.getBoundingClientRect();
                  const bar = track.firstChild.getBoundingClientRect();
                  return [bar.left - all.left, bar.right - all.left].map((x) => x / all.width);
                })"""
            )
            received = np.reshape(bars, (4, 3, 2))
            for row, of_row in zip(rows.values(), received, strict=True):
                for g, (left, right) in zip(row["gradient"], of_row, strict=True):
                    share = abs(g) / end
                    share = 1 + math.log10(share) / 12 if scale == "logarithmic" else share
                    outer = 0.5 + math.copysign(share / 2, g)
                    expected = sorted([0.5, outer])
                    np.testing.assert_allclose([left, right], expected, atol=0.02)
                    assert (left if g > 0 else right) == pytest.approx(0.5, abs=1e-3)


def test_a_gradient_that_is_zero_is_drawn_as_zero_on_both_scales(browser, folder):
    path = pages.save_page({"clipped": clipped}, folder / "zero.html")
    with opened(browser, path) as page:
        for scale in "linear", "logarithmic":
            page.get_by_text(scale).click()
            redrawn(page)
            assert look(page)[3]["clipped"]["gradient"].tolist() == [0, 0, 0]
            assert page.locator(".track i.zero").count() == 3


# What the page says


def test_the_address_holds_the_view(browser, four):
    with opened(browser, four) as page:
        drag(page, handle(page, "log-odds", "q"), at(page, "log-odds", 0.5, 0.7))
        drag(page, handle(page, "triangle", "p"), at(page, "triangle", 0.5, 0.6))
        page.get_by_text("logarithmic").click()
        page.locator("#rate").fill("3")
        page.get_by_role("checkbox", name="raw").uncheck()
        page.locator("#field").select_option("Brier")
        address = address_with(page, "colour=1")
        settle(page)
        seen = look(page)
    with opened(browser, four, "#" + address.partition("#")[2]) as page:
        again = look(page)
        assert page.get_by_label("logarithmic").is_checked()
        assert page.locator("#rate-shown").inner_text() == "0.003"
        assert page.locator("#field").input_value() == "1"
        # an address that is given counts, even if the page writes its own over it at once
        page.evaluate("location.hash = 'rate=3'; history.replaceState(null, '', location.pathname)")
        page.locator("#rate-shown", has_text=re.compile("^3$")).wait_for()
    for one, other in zip(seen[:3], again[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    assert [row["steps"] for row in seen[3].values() if "steps" in row] == [
        row["steps"] for row in again[3].values() if "steps" in row
    ]


@pytest.fixture(scope="module")
def first_view(browser, four):
    with opened(browser, four) as page:
        return look(page)


@pytest.mark.parametrize(
    "address", ["#z=1,2", "#p=2,-1,0&rate=0.123", "#z=a,b,c&colour=9&hidden=7", "#%"]
)
def test_an_address_that_makes_no_sense_shows_the_first_view(browser, four, first_view, address):
    with opened(browser, four, address) as page:
        again = look(page)
    assert str(first_view) == str(again)


def test_a_table_says_so_and_keeps_p_in_the_corners(browser, folder):
    by_name = {"table": branches_in_python, "CE": losses.softmax_cross_entropy}
    path = pages.save_page(by_name, folder / "table.html", target=(0.6, 0.3, 0.1))
    with opened(browser, path) as page:
        assert look(page)[2].tolist() == [1, 0, 0]
        words = page.locator("tbody tr .note").all_inner_texts()
        assert page.locator("#locked").is_visible()
        assert "table of table" in page.locator("#locked").inner_text()
        drag(page, handle(page, "triangle", "p"), at(page, "triangle", 0.6, 0.8))
        assert look(page)[2].tolist() == [0, 0, 1]
        page.locator("#triangle .p").focus()
        page.keyboard.press("ArrowLeft")
        redrawn(page)
        assert look(page)[2].tolist() == [0, 1, 0]
        page.get_by_role("checkbox", name="table").uncheck()
        # it still colours the background
        assert page.locator("#locked").is_visible()
        page.locator("#field").select_option("none")
        drag(page, handle(page, "triangle", "p"), at(page, "triangle", 0.5, 0.6))
        assert look(page)[2].max() < 0.9
        assert not page.locator("#locked").is_visible()
    assert len(words) == 1
    assert re.search(
        r"table, not the function, because of Python code .*: off by up to \S+e-\d", words[0]
    )


def test_a_loss_of_raw_logits_is_found_out_and_said_to_be(browser, every):
    with opened(browser, every) as page:
        noted = page.locator("tbody tr", has_text="raw logits").all()
        noted = [row.get_attribute("data-loss") for row in noted]
        gauge = page.locator("#gauge").inner_text()
    assert noted == ["raw"]
    assert "raw can tell: Q here has the logits that sum to 0" in gauge


def test_the_page_of_losses_of_q_says_nothing_of_raw_logits(browser, folder):
    path = pages.save_page(losses.softmax_cross_entropy, folder / "one.html")
    with opened(browser, path) as page:
        assert not page.locator("#gauge").is_visible()
        assert not page.locator("tbody input").is_visible()


def test_names_and_titles_are_text_and_nothing_else(browser, folder):
    name = "</script><b>\"1 < 2\" & 'so' <!-- __TARGET__ \\"
    title = "</title><script>document.title = 'no'</script> & __LOSSES__"
    path = pages.save_page({name: losses.softmax_cross_entropy}, folder / "a.html", title=title)
    with opened(browser, path) as page:
        assert page.title() == title
        assert page.locator("h1").inner_text() == title
        assert list(look(page)[3]) == [name]
        assert page.locator("tbody label").inner_text().strip() == name
        assert page.locator("#field option").nth(1).text_content() == name


@pytest.mark.parametrize("name", ["CE", "Brier"])
def test_colours_of_the_field_are_the_norm_of_the_gradient(browser, four, name):
    q = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    with opened(browser, four) as page:
        coloured_by(page, name)
        places = np.rint(q @ corners_of_triangle(page)).astype(int)
        pixels = page.evaluate(
            """(places) => {
              const canvas = document.querySelector("canvas:has(+ #triangle)");
              const {width, height} = canvas;
              const image = canvas.getContext("2d").getImageData(0, 0, width, height).data;
              return places.map(([x, y]) => [...image.slice(4 * (y * width + x)).slice(0, 4)]);
            }""",
            places.tolist(),
        )
        largest = float(page.locator("#field-scale span").last.inner_text())
    _, gradient, _ = answers(BUILT_IN[name], np.log(q), np.tile(TRUTH, (4, 1)))
    shares = np.linalg.norm(gradient, axis=-1) / largest
    np.testing.assert_allclose(pixels, 255 * matplotlib.colormaps["cividis"](shares), atol=8)


def test_without_a_field_nothing_is_coloured(browser, four):
    with opened(browser, four) as page:
        coloured_by(page, "none")
        painted = page.evaluate(
            """() => [...document.querySelectorAll("canvas")].map((canvas) =>
              canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
                .data.some((part) => part > 0))"""
        )
        assert painted == [False, False]
        assert not page.locator("#field-scale").is_visible()
        assert address_with(page, "colour=-1")


# How it looks


def test_a_phone_needs_no_scrolling_sideways(browser, every):
    with opened(browser, every, viewport={"width": 375, "height": 812}) as page:
        width = page.evaluate("() => document.documentElement.scrollWidth")
        assert width == 375
        top = page.locator("#triangle").bounding_box()
        below = page.locator("#log-odds").bounding_box()
    assert below["y"] > top["y"] + top["height"]
    assert top["x"] == below["x"]
    assert top["width"] == 375 - 32


def test_a_desktop_shows_both_charts_and_four_losses_on_its_first_screen(browser, four):
    with opened(browser, four) as page:
        left = page.locator("#triangle").bounding_box()
        right = page.locator("#log-odds").bounding_box()
        last = page.locator("tbody tr").last.bounding_box()
    assert left["y"] == pytest.approx(right["y"], abs=1)
    assert right["x"] > left["x"] + left["width"]
    assert last["y"] + last["height"] < 800


def luminance(colour):
    parts = np.array(re.findall(r"[\d.]+", colour)[:3], float) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("small", ["display: none", "width: 1px; height: 1px", "height: 0"])
def test_a_page_in_a_frame_without_a_size_works_once_it_has_one(browser, four, folder, small):
    outside, heard = window(browser, viewport={"width": 1000, "height": 800}), []
    outside.set_default_timeout(20_000)
    outside.on("console", lambda message: heard.append(message.text))
    outside.on("pageerror", lambda error: heard.append(str(error)))
    frame = f'<iframe src="{four.name}" style="border: 0; {small}"></iframe>'
    (folder / "frame.html").write_text(f"<!doctype html><title>A frame</title>{frame}")
    outside.goto((folder / "frame.html").as_uri())
    outside.wait_for_timeout(300)
    outside.evaluate("document.querySelector('iframe').style = 'width: 900px; height: 700px'")
    inside = outside.frames[1]
    inside.locator("#field-scale span").last.filter(has_text=re.compile(r"\d")).wait_for()
    inside.wait_for_function(
        """() => [...document.querySelectorAll("canvas")].every((canvas) => {
          const pixels = canvas.width
            ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            : [];
          return pixels.some((part) => part > 0);
        })"""
    )
    assert inside.locator("#triangle").bounding_box()["width"] > 100
    outside.context.close()
    assert heard == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_the_dark_is_dark(browser, four, scheme):
    with opened(browser, four, color_scheme=scheme) as page:
        paper, texts, lines = page.evaluate(
            """() => {
              const style = (selector) => getComputedStyle(document.querySelector(selector));
              const quiet = [".quiet", ".note", "footer", ".axis"].map((one) => style(one).color);
              const paths = [...document.querySelectorAll("#triangle .path")];
              return [style("body").backgroundColor, [style("body").color, ...quiet],
                paths.map((path) => getComputedStyle(path).stroke)];
            }"""
        )
    assert (luminance(paper) < 0.02) == (scheme == "dark")
    for colours, least in (texts, 4.5), (lines, 2.8):
        for colour in colours:
            pair = sorted([luminance(paper), luminance(colour)])
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= least, colour
    if scheme == "light":
        assert lines[:2] == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"]


def test_moves_of_the_pointer_are_one_redraw_a_frame(browser, four, record_property):
    with opened(browser, four, alone=True) as page:
        page.evaluate("() => { window.time = performance.now.bind(performance); }")
        stop_the_clock(page)
        count_redraws(page)
        page.mouse.move(*handle(page, "log-odds", "q"))
        page.mouse.down()
        counts = []
        for n, turn in enumerate(np.linspace(0, 2 * math.pi, 60)):
            place = 0.5 + 0.35 * math.cos(turn), 0.5 + 0.35 * math.sin(3 * turn)
            page.mouse.move(*at(page, "log-odds", *place))
            if n % 3 == 0:
                page.clock.run_for(16)
                counts.append(len(page.evaluate("() => window.times")))
        page.mouse.up()
        times = page.evaluate("() => window.times")
    record_property("redraw_p95_in_ms", float(np.quantile(times, 0.95)))
    assert counts == list(range(1, 21))


def count_redraws(page):
    """How long each redraw takes from now on, in ms that pass, is in `times`."""
    page.evaluate(
        """() => {
          window.times = [];
          const original = window.requestAnimationFrame.bind(window);
          window.requestAnimationFrame = (redraw) => original((now) => {
            const begin = window.time();
            redraw(now);
            window.times.push(window.time() - begin);
          });
        }"""
    )


# The file


def test_four_losses_fit_into_100_kb_and_ask_for_nothing(four):
    text = four.read_text(encoding="utf-8")
    assert four.stat().st_size < 100_000
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert not re.findall(r"https?:(?!//www.w3.org/2000/svg)|@import|\burl\((?!#)", text)
    assert re.findall(r"\b(?:src|href)=\"([^\"]*)\"", text) == ["data:,"]
    assert not re.findall(r"__[A-Z]+__", text)


def test_modules_are_put_together_whole_and_share_one_scope(four):
    folder = Path(pages.__file__).parent / "page"
    modules = [path.read_text(encoding="utf-8") for path in folder.glob("*.js")]
    document = four.read_text(encoding="utf-8")
    declaration = re.compile(r"^(export )?(?:const|let|function\*?) (\w+)", re.MULTILINE)
    declared = [found for module in modules for found in declaration.findall(module)]
    of_the_page = sorted(name for _, name in declaration.findall(document))
    assert of_the_page == sorted({name for _, name in declared})
    lists = [names for module in modules for names in re.findall("import {([^}]*)}", module)]
    imported = {name for names in lists for name in re.findall(r"\w+", names)}
    assert imported == {name for export, name in declared if export}
    assert not re.findall("^(?:import|export) ", document, re.MULTILINE)


def test_a_page_takes_the_place_of_what_was_there_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(ValueError, match="must be a scalar"):
        pages.save_page(lambda logits, targets: logits, path)
    assert path.read_text() == "before"
    loss = losses.softmax_cross_entropy
    assert pages.save_page(loss, str(path), title="after") == path
    assert path.read_text(encoding="utf-8") == pages.page(loss, title="after")
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written_nothing_is_computed(tmp_path):
    def never(logits, targets):
        raise AssertionError("it was called")

    with pytest.raises(FileNotFoundError, match=r"no.page\.html cannot: there is no folder .*no\."):
        pages.save_page(never, tmp_path / "no" / "page.html")
    with pytest.raises(IsADirectoryError, match="path must be a file that can be written"):
        pages.save_page(never, tmp_path)
    with pytest.raises(ValueError, match=r"path must end in \.html, such as .*q\.html, but it is"):
        pages.save_page(never, tmp_path / "q")


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda z, p: -np.sum(np.asarray(p) * np.log(np.asarray(z))), "use jax.numpy in it"),
        (lambda q, p: -jnp.sum(p * jnp.log(q)), "wants probabilities, not logits"),
        (lambda z, y: -jax.nn.log_softmax(z)[y], "takes one integer label an example"),
    ],
)
def test_what_is_no_loss_of_logits_is_told_what_to_do(loss, said):
    with pytest.raises(ValueError, match=f"^mine .*{said}.*\\.$"):
        pages.page({"mine": loss})


@pytest.mark.parametrize("target", [(1, 0), (0.5, 0.6, 0.1), (1.5, -0.5, 0), (math.nan, 0, 1)])
def test_a_target_that_is_no_distribution_is_refused(tmp_path, target):
    with pytest.raises(ValueError, match="three probabilities that sum to 1"):
        pages.save_page(losses.softmax_cross_entropy, tmp_path / "page.html", target=target)


def test_losses_are_wanted(tmp_path):
    with pytest.raises(ValueError, match="at least one loss"):
        pages.save_page([], tmp_path / "page.html")
    with pytest.raises(TypeError, match="function of"):
        pages.save_page({"three": 3}, tmp_path / "page.html")  # pyright: ignore
