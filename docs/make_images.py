"""Makes the pictures of the documentation from runs and their dataset.

    python docs/make_images.py runs/cms_b-quick runs/whole_event-quick runs/four_momentum-quick

`images/event.png` is an event of the first run's dataset as the detector measured it. `images/overview.png`
shows its ECAL barrel and the ROC curves of all runs, signal against the rest.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.display import figure, reading
from e2e_jax.evaluation.metrics import roc_auc, roc_curve
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs.folder import read_config

IMAGES = Path(__file__).parent / "images"
NAMES = {"cms_b": "CMS-B (images)", "whole_event": "Whole event", "four_momentum": "4-momenta"}
CHOSEN = 1
"""The event, counted from 0 in the validation split."""


def scores(run: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, P(signal) and whether each event is signal."""
    classifier, table = load_classifier(run), parquet.read_table(run / "scores.parquet")
    signal = classifier.task.signal
    probability = table[f"probability_{signal}"].to_numpy()
    label = table["label"].to_numpy()
    name = read_config(run).name
    return (
        NAMES.get(name, name),
        probability,
        classifier.task.of_labels(label) == classifier.task.signal_index,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    config = read_config(runs[0])
    found = reading.read_events(config.dataset.name, [CHOSEN], data_dir=config.dataset.data_dir)
    IMAGES.mkdir(exist_ok=True)
    drawn = figure.event_figure(found.events, 0, origin=found.origin, task=found.task)
    drawn.savefig(IMAGES / "event.png", dpi=110)

    overview = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = overview.subplots(1, 2, width_ratios=(1.9, 1))
    figure.draw_event(left, found.events, 0)
    left.set_title("An event as the detector measured it", fontsize=10)
    for run in runs:
        name, probability, is_signal = scores(run)
        false, true, _ = roc_curve(probability, is_signal)
        right.plot(true, 1 - false, label=f"{name}: {roc_auc(probability, is_signal):.3f}")
    right.set(xlabel="Signal efficiency", ylabel="Background rejection", xlim=(0, 1), ylim=(0, 1))
    right.set_title("H → γγ vs rest (AUC)", fontsize=10)
    right.legend(fontsize=8, loc="lower left")
    overview.savefig(IMAGES / "overview.png", dpi=110)


if __name__ == "__main__":
    main()
