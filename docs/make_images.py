"""Makes the pictures of the documentation from runs and their dataset.

    python docs/make_images.py runs/cms_b-quick runs/whole_event-quick runs/four_momentum-quick

Each function below makes one picture, named after it, in `images/`. The first run sees images; its dataset
is drawn. The picture of the tokens needs a run that sees tokens.
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.datasets import finding, reading
from e2e_jax.detector import geometry, images
from e2e_jax.detector.tokens import find_tokens
from e2e_jax.display import figure as display
from e2e_jax.display.panels import panels
from e2e_jax.display.reading import read_events
from e2e_jax.display.showers import find_showers
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.saliency import hit_gradients
from e2e_jax.report import decorrelation as score_figures
from e2e_jax.report import events as chosen_events
from e2e_jax.report import pictures, roc
from e2e_jax.report.runs import read_runs

IMAGES = Path(__file__).parent / "images"
NAMES = {"CMS-B": "CMS-B (images)", "whole_event": "Whole event", "4-mom": "4-momenta"}
CHOSEN = 1
"""An event of the validation split."""
LAYOUT = {"layout": "constrained"}


class Source:
    """The runs, and the events of the first run's dataset."""

    def __init__(self, folders):
        self.runs = read_runs(folders)
        self.config = self.runs[0].config
        self.folder = finding.dataset_folder(self.config.dataset.name, self.config.dataset.data_dir)
        self.found = self.read([CHOSEN])

    def read(self, rows):
        return read_events(self.config.dataset.name, rows, data_dir=self.config.dataset.data_dir)


def overview(source):
    """An event, and the ROC curves of all runs."""
    figure = Figure(figsize=(9, 3.6), **LAYOUT)
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    display.draw_event(left, source.found.events, 0)
    left.set_title("An event as the detector measured it", fontsize=10)
    for run in source.runs:
        made = roc.curve("", "", *roc.versus_rest(run.scored, run.task.signal))
        name = NAMES.get(run.name, run.name)
        (line,) = right.plot(made.efficiency, made.rejection, label=f"{name}: {made.area:.3f}")
        right.fill_between(roc.EFFICIENCIES, *made.band, color=line.get_color(), alpha=0.2, linewidth=0)
    right.set(xlabel="Signal efficiency", ylabel="Background rejection", xlim=(0, 1), ylim=(0, 1))
    right.set_title("H → γγ vs rest (AUC)", fontsize=10)
    right.legend(fontsize=8, loc="lower left")
    return figure


def event(source):
    """An event with its photons enlarged."""
    events, origin, task = source.found
    return display.event_figure(events, 0, origin=origin, task=task)


def event_displays(source):
    """The most typical event of each class, by the first run's scores."""
    run = source.runs[0]
    rows = [one.row for one in chosen_events.choose(run.scored)[:3]]
    events, _, task = source.read(rows)
    figure = Figure(figsize=(8, 11), **LAYOUT)
    for index, axes in enumerate(figure.subplots(len(rows), 1)):
        display.draw_event(axes, events, index)
        photons = axes.get_title().replace("\n", "   ")
        axes.set_title(
            f"{task.title(task.labels[int(events.label[index])])}\n{photons}", color="black", fontsize=11
        )
    return figure


def average_images(source):
    """The mean energy of each class in the crystals around its photons."""
    events = reading.read_split(source.folder, "validation", progress=False)
    task, half = source.found.task, 20
    edges = np.arange(-half, half + 2) - 0.5
    figure = Figure(figsize=(9, 6.4), **LAYOUT)
    rows = figure.subplots(2, len(task.labels), sharex=True, sharey=True)
    norm = LogNorm(1e-3, 10)
    for label, columns in enumerate(rows.T):
        sums, kept = np.zeros((2, 2 * half + 1, 2 * half + 1)), np.flatnonzero(events.label == label)
        for index in kept:
            hits = events.eb.event(index)
            row, column = np.divmod(hits["cell"].astype(int), geometry.EB_COLUMNS)
            for number, shower in enumerate(find_showers(events, index)):
                own_row, own_column = divmod(shower.cell, geometry.EB_COLUMNS)
                across = (column - own_column + 180) % geometry.EB_COLUMNS - 180
                sums[number] += np.histogram2d(row - own_row, across, edges, weights=hits["energy"])[0]
        for number, (axes, mean) in enumerate(zip(columns, sums / len(kept))):
            extent = (edges[0], edges[-1]) * 2
            drawn = axes.imshow(mean, origin="lower", norm=norm, cmap="viridis", extent=extent)
            axes.set_facecolor("#440154")
            axes.set_title(f"{task.title(task.labels[label])}, around {display.photon_name(number)}")
    for axes in rows[-1]:
        axes.set_xlabel("iϕ from the photon")
    for axes in rows[:, 0]:
        axes.set_ylabel("iη from the photon")
    figure.colorbar(drawn, ax=rows, label="Mean ECAL energy [GeV]")
    return figure


def roc_curves(source):
    """The ROC curves of all runs with their bands."""
    run = source.runs[0]
    (made,) = [c for c in roc.comparisons(source.runs) if c.name == f"roc_{run.task.signal}_vs_rest"]
    return roc.draw(made, run.origin, f"{len(run.scored.labels):,} events")


def decorrelation(source):
    """The score against the mass."""
    run = source.runs[0]
    label = run.task.of[0]
    return score_figures.draw_score_map(run.scored, label, run.origin, run.results["cvm"], run.name)


def spectrum(source):
    """The mass spectrum before and after cuts on the score."""
    run = source.runs[0]
    label = run.task.of[0]
    return score_figures.draw_spectrum(run.scored, label, run.origin, run.results["cvm"], run.name)


def saliency(source):
    """The gradient of P(signal) by the energy of each hit around the photons of an event."""
    run = source.runs[0]
    # Where P(signal) is close to 0 or 1, no hit changes it much.
    chosen = int(np.argmin(np.where(run.scored.is_signal, abs(run.scored.signal - 0.7), 1)))
    events = source.read([chosen]).events
    gradient = hit_gradients(load_classifier(run.folder), events)["eb"]
    limit, order = np.abs(gradient).max(), np.argsort(np.abs(gradient))
    figure = Figure(figsize=(8, 7.2), **LAYOUT)
    columns = figure.subplots(2, 2, sharex="col", sharey="col")
    scales = [
        (events.eb.energy, {"norm": LogNorm(0.1, 50), "cmap": "Blues"}, "ECAL energy [GeV]"),
        (
            gradient,
            {"norm": SymLogNorm(limit / 100, vmin=-limit, vmax=limit), "cmap": "coolwarm"},
            "dP(H) / dE [1/GeV]",
        ),
    ]
    for axes, (values, scale, text) in zip(columns, scales):
        for one, shower in zip(axes, find_showers(events, 0)):
            row, column = np.divmod(shower.cell, geometry.EB_COLUMNS)
            image = np.full((geometry.EB_ROWS, geometry.EB_COLUMNS), np.nan)
            image[tuple(np.divmod(events.eb.cell.astype(int)[order], geometry.EB_COLUMNS))] = values[order]
            drawn = one.imshow(image, origin="lower", extent=(0.5, 360.5, -85, 85), **scale)
            one.set(xlim=(column - 14, column + 16), ylim=(row - 85 - 15, row - 85 + 15), ylabel="iη")
            one.set_facecolor("#f4f4f2")
        figure.colorbar(drawn, ax=axes, label=text, format="%.2g")
    for one, shower in zip(columns[1], find_showers(events, 0)):
        one.set_xlabel(f"iϕ, photon of {shower.pt:.0f} GeV")
    columns[0, 0].set_title(f"P(H) = {run.scored.signal[chosen]:.2f}", fontsize=12)
    return figure


def tokens(source):
    """The tokens that the whole-event network makes of an event."""
    config = next(run.config for run in source.runs if run.config.inputs.kind == "tokens")
    channels, view = list(config.inputs.channels), config.inputs.geometry
    events = source.found.events
    made = images.make_images(events, view, channels)
    planes = {c: {name: image[..., k] for name, image in made.items()} for k, c in enumerate(channels)}
    found = find_tokens(planes, view, channels, config.inputs.tokens.to_dict())
    figure = Figure(figsize=(9, 5), **LAYOUT)
    axes = figure.subplots()
    momentum, filled = np.asarray(found.momentum[0], float), np.asarray(found.filled[0])
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    eta, phi = np.arcsinh(momentum[:, 2] / np.maximum(pt, 1e-6)), np.arctan2(momentum[:, 1], momentum[:, 0])
    styles = {"tracks": ("^", "#f5a800"), "ecal": ("o", "#3a86c8"), "hcal": ("s", "#8a8a8a")}
    for number, channel in enumerate(channels):
        own = filled & (found.channel == number)
        marker, colour = styles[channel]
        size = 30 + 120 * np.log1p(pt[own])
        axes.scatter(
            phi[own],
            eta[own],
            size,
            marker=marker,
            color=colour,
            edgecolor="black",
            label=f"{channel}: {own.sum()}",
        )
    for number, shower in enumerate(find_showers(events, 0)):
        axes.annotate(
            display.photon_name(number),
            (geometry.delta_phi(shower.phi, 0), shower.eta),
            (14, 10),
            textcoords="offset points",
            color=display.MARK,
            fontsize=14,
        )
    axes.set(xlabel="ϕ [rad]", ylabel="η", xlim=(-np.pi, np.pi), ylim=(-3, 3))
    axes.legend(title="Tokens (area: log of $p_T$)", loc="lower left", markerscale=0.6)
    return figure


def geometries(source):
    """One event in every built-in geometry."""
    events = source.found.events
    figure = Figure(figsize=(8, 13), **LAYOUT)
    axes = figure.subplot_mosaic(
        [["barrel", "barrel"], ["minus", "plus"], ["full", "full"]], height_ratios=(1, 1, 1.7)
    )
    for place, (view, image) in {
        "barrel": ("barrel", "barrel"),
        "minus": ("ecal_centric", "endcap_minus"),
        "plus": ("ecal_centric", "endcap_plus"),
        "full": ("hcal_centric", "full"),
    }.items():
        display.draw_event(axes[place], events, 0, view, image)
        axes[place].set_title(f"{view}: {panels(view)[image].title}", color="black", fontsize=11)
    return figure


MADE = (
    *(overview, event, event_displays, average_images, roc_curves, decorrelation, spectrum),
    *(saliency, tokens, geometries),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", help="names of pictures; all by default")
    arguments = parser.parse_args()
    source = Source(arguments.runs)
    IMAGES.mkdir(exist_ok=True)
    for draw in MADE:
        if not arguments.only or draw.__name__ in arguments.only:
            in_style = draw in (roc_curves, decorrelation, spectrum)
            with matplotlib.rc_context(pictures.STYLE if in_style else {}):
                draw(source).savefig(IMAGES / f"{draw.__name__}.png", dpi=80 if in_style else 100)


if __name__ == "__main__":
    main()
