"""The picture of the whole run, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import brainunit as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .classifier import History
from .digits import NUM_CLASSES, SIDE
from .neuron import CURRENT, TAU, RateCurve, Trace, as_text, closed_form_rate


# Colours that colour-blind readers can tell apart (Okabe and Ito 2008).
BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
GREY: Final = "#8c8c8c"
FONT_SIZE: Final = 10


class Examples(NamedTuple):
    """One image of each class, and what the output neurons answered.

    - `images`: Of shape `(class, 64)`.
    - `spikes`: Of shape `(class, time, neuron)`.
    - `duration`: How long each image was shown, in ms.
    """

    images: np.ndarray
    spikes: np.ndarray
    duration: float


def save(
    path: Path, *, trace: Trace, curve: RateCurve, history: History, test_accuracy: float, examples: Examples
) -> None:
    """Draws all four parts and writes them to `path`, in the format that its suffix names."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.04)
    figure = Figure(figsize=(13, 8.5), dpi=150, layout=layout)
    axes = figure.subplots(2, 2)
    for ax, letter in zip(axes.flat, "ABCD", strict=True):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=FONT_SIZE)
        ax.set_title(letter, loc="left", fontsize=FONT_SIZE + 4, fontweight="bold")
    draw_trace(axes[0, 0], trace)
    draw_curve(axes[0, 1], curve)
    draw_history(axes[1, 0], history, test_accuracy)
    draw_examples(axes[1, 1], examples)
    figure.savefig(path)


def draw_trace(ax: Axes, trace: Trace) -> None:
    """The membrane potential with its threshold, and a mark above for each spike."""
    top = max(trace.V_th, float(trace.V.max()))
    ax.plot(trace.times, trace.V, color=BLUE, lw=1.6)
    ax.axhline(trace.V_th, color=ORANGE, ls="--", lw=1.2)
    ax.text(0.4, 1.01 * trace.V_th, "threshold", color=ORANGE, fontsize=FONT_SIZE, va="bottom")
    ax.vlines(trace.times[trace.spikes > 0], 1.1 * top, 1.22 * top, color="black", lw=1.6)
    ax.set(xlabel="time (ms)", ylabel="membrane potential (mV)", xlim=(0, trace.times[-1]), ylim=(0, 1.27 * top))
    _title(ax, f"LIF neuron at {as_text(CURRENT)}: {trace.count} spikes, {trace.rate:.0f} Hz")


def draw_curve(ax: Axes, curve: RateCurve) -> None:
    """Firing rate over current: the simulation on the closed form."""
    currents = np.linspace(0.0, curve.currents[-1], 1001)
    ax.plot(currents, closed_form_rate(u.Quantity(currents, u.mA)), color=GREY, lw=3, label="closed form", zorder=1)
    ax.plot(curve.currents, curve.rates, "o", color=BLUE, ms=4, label="simulation", zorder=2, clip_on=False)
    ax.set(xlabel="current (mA)", ylabel="firing rate (Hz)", xlim=(0, curve.currents[-1]), ylim=(0, None))
    ax.legend(frameon=False, fontsize=FONT_SIZE, loc="upper left")
    _title(ax, f"f–I curve of {len(curve.currents)} currents, τ = {as_text(TAU)}")


def draw_history(ax: Axes, history: History, test_accuracy: float) -> None:
    """Loss and accuracy over the epochs, each with its own axis."""
    epochs = np.arange(1, len(history.loss) + 1)
    ax.plot(epochs, history.loss, "o-", color=ORANGE, ms=3, lw=1.6)
    ax.set(xlabel="epoch", ylim=(0, 1.08 * max(history.loss)))
    ax.set_ylabel("training loss", color=ORANGE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = ax.twinx()
    right.spines["top"].set_visible(False)
    right.plot(epochs, history.accuracy, "o-", color=BLUE, ms=3, lw=1.6)
    right.axhline(test_accuracy, color=GREEN, ls="--", lw=1.2)
    right.annotate(
        f"accuracy on the test digits, at the end: {test_accuracy:.1%}", (1, test_accuracy), (0, -6),
        xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="top", color=GREEN,
        fontsize=FONT_SIZE,
    )  # fmt: skip
    right.set_ylabel("training accuracy", color=BLUE)
    right.set_ylim(np.floor(10 * min(*history.accuracy, test_accuracy, 0.8)) / 10, 1.015)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.tick_params(labelsize=FONT_SIZE)
    _title(ax, "Digits classifier, trained with surrogate gradients")


def draw_examples(ax: Axes, examples: Examples) -> None:
    """The images side by side, and below each one the spikes that it evoked in the output layer."""
    duration, last = examples.duration, NUM_CLASSES - 0.5
    for label, (image, spikes) in enumerate(zip(examples.images, examples.spikes, strict=True)):
        start = label * duration
        extent = (start + 0.08 * duration, start + 0.92 * duration, -0.9, -2.9)
        ax.imshow(image.reshape(SIDE, SIDE), cmap="gray_r", aspect="auto", extent=extent)
        ax.plot([start, start], [-0.5, last], color=GREY, lw=0.6, alpha=0.6)
    shown, steps, neurons = np.nonzero(examples.spikes)
    times = (shown + (steps + 1) / examples.spikes.shape[1]) * duration
    for chosen, color, text in (
        (neurons == shown, BLUE, "spikes of the right class"),
        (neurons != shown, ORANGE, "spikes of the others"),
    ):
        ax.vlines(times[chosen], neurons[chosen] - 0.38, neurons[chosen] + 0.38, color=color, lw=1.3, label=text)
    ax.set(
        xlabel="time (ms)", ylabel="output neuron", xlim=(0, NUM_CLASSES * duration), ylim=(last, -3),
        yticks=range(NUM_CLASSES),
    )  # fmt: skip
    ax.spines["left"].set_bounds(last, -0.5)
    ax.legend(loc="lower left", fontsize=FONT_SIZE, framealpha=0.9, edgecolor="none")
    _title(ax, "Ten test digits, one after the other, and the output layer")


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, fontsize=FONT_SIZE + 1)
