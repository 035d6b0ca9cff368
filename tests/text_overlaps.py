"""What a reader of a figure could not read: text on text, and text cut off at the edge."""

from itertools import combinations
from unittest.mock import patch

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

# Boxes include a little space around the ink, so they may touch.
SLACK_IN_PIXELS = 1.0


def unreadable_text(figure: Figure) -> list[str]:
    """A sentence for each pair of texts that overlap and for each that is cut.

    The figure is drawn, without its pixels. Only what is drawn counts: no tick labels outside the
    limits, nothing invisible.
    """
    drawn: dict[Text, None] = {}
    draw = Text.draw

    def remember_and_draw(text: Text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn[text] = None
        return draw(text, renderer, *args, **kwargs)

    canvas = FigureCanvasAgg(figure)
    with patch.object(Text, "draw", remember_and_draw):
        figure.draw_without_rendering()

    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in drawn}
    complaints = [
        f"{text.get_text()!r} is cut off at the edge of the figure"
        for text, box in boxes.items()
        if box.x0 < figure.bbox.x0 - SLACK_IN_PIXELS
        or box.y0 < figure.bbox.y0 - SLACK_IN_PIXELS
        or box.x1 > figure.bbox.x1 + SLACK_IN_PIXELS
        or box.y1 > figure.bbox.y1 + SLACK_IN_PIXELS
    ]
    complaints += [
        f"{first.get_text()!r} overlaps {second.get_text()!r}"
        for (first, a), (second, b) in combinations(boxes.items(), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK_IN_PIXELS
        and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK_IN_PIXELS
    ]
    return complaints
