"""What all figures look like: colours, style, title, and SVG of which the same data gives the same bytes."""

import io
import sys

from measured import Missing

# Colours of Okabe and Ito, which colour-blind readers and grey prints distinguish.
BLUE, ORANGE, GREY, INK, PAPER, RULE = "#0072B2", "#D55E00", "#767676", "#222222", "#FCFCFA", "#E4E4E0"
# 720 pixels on a page.
WIDTH_INCHES = 7.5
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "roomcast",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.xmargin": 0.09,
    "axes.ymargin": 0.17,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


def load_matplotlib():
    """The two modules that draw, which only drawing needs."""
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot, ticker
    except ImportError as error:
        raise Missing(f"{error} for {sys.executable}: run apt-get install python3-matplotlib") from None
    pyplot.rcParams.update(STYLE)
    return pyplot, ticker


def render(figure):
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    # Trailing blanks would be removed by editors and reported by git.
    return "\n".join(line.rstrip() for line in svg.getvalue().splitlines()) + "\n"


def write_title(figure, title, about):
    """Writes the question and the load that answers it."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.13 / height, title, size=11, weight="bold", va="top")
    figure.text(0.02, 1 - 0.345 / height, about, color=GREY, va="top")
