"""What was published, to stand beside what was found: the paper's tables, their metrics and classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

METRICS = {
    ("auc_vs_rest", "h"): "H vs rest",
    ("auc_vs_rest", "gamma_gamma"): "gamma gamma vs rest",
    ("auc_vs_rest", "gamma_jet"): "gamma+jet vs rest",
    ("auc_pairwise", "h_vs_gamma_gamma"): "H vs gamma gamma",
    ("auc_pairwise", "h_vs_gamma_jet"): "H vs gamma+jet",
    ("cvm",): "CVM",
}
"""Where the paper's six metrics stand in the results, and their names, in the order of its tables."""

PAPER_RESULTS = {
    "central": {
        "four_momentum": (0.708, 0.807, 0.803, 0.767, 0.773, 0.002),
        "eb_mass_aware": (0.926, 0.923, 0.954, 0.910, 0.968, 0.080),
        "eb": (0.801, 0.828, 0.942, 0.723, 0.937, 0.002),
        "cms_b": (0.813, 0.838, 0.959, 0.722, 0.956, 0.002),
    },
    "central_forward": {
        "four_momentum": (0.727, 0.812, 0.810, 0.779, 0.788, 0.004),
        "ecal_mass_aware": (0.933, 0.921, 0.955, 0.918, 0.972, 0.088),
        "ecal": (0.810, 0.833, 0.939, 0.751, 0.936, 0.004),
        "cms_i": (0.833, 0.849, 0.954, 0.767, 0.954, 0.004),
        "cms_ii": (0.813, 0.829, 0.956, 0.728, 0.953, 0.003),
    },
}
"""The paper's Tables 6 (central) and 7 (central+forward), `METRICS` by column. Its one-vs-one AUCs are
compared with the pair-normalised ones: its columns break the rule that raw ones obey (see
`metrics.pairwise_auc`)."""

SHOWER_METRICS = {
    ("auc_vs_rest", "electron"): "electron vs photon",
    **{("background_rejection", str(e)): f"rejection at {e} %" for e in (50, 70, 90)},
    **{("background_rejection", str(e), "inverse"): f"1 / FPR at {e} %" for e in (50, 70, 90)},
}
"""The same of showers; the paper has the area alone."""


class Published(NamedTuple):
    """A table of the paper.

    Attributes:
      title: of the table.
      metrics: place in the results -> name, in its order.
      results: `config.name` -> the paper's numbers, for as many metrics as it gives.
      headlines: the metrics that are said first.
      note: how the metrics are meant.
    """

    title: str
    metrics: Mapping[tuple[str, ...], str]
    results: Mapping[str, tuple[float, ...]]
    headlines: tuple[str, ...]
    note: str


_DIPHOTON = {
    "metrics": METRICS,
    "headlines": ("H vs rest", "H vs gamma gamma", "H vs gamma+jet", "CVM"),
    "note": "H vs one class is the AUC of the pair-normalised score; uncertainties are statistical.",
}
_SHOWERS = {
    "metrics": SHOWER_METRICS,
    "headlines": tuple(SHOWER_METRICS.values())[:4],
    "note": "Electron vs photon is the AUC (of pairs: e+e- vs gamma gamma). Rejection is 1 - FPR, the false "
    "positive rate at the cut that keeps this much of the electrons; uncertainties are statistical.",
}
TABLES = {
    "central": Published(
        "Central category (the paper's Table 6)", results=PAPER_RESULTS["central"], **_DIPHOTON
    ),
    "central_forward": Published(
        "Central+forward category (the paper's Table 7)",
        results=PAPER_RESULTS["central_forward"],
        **_DIPHOTON,
    ),
    "showers_crop": Published(
        "Showers in crops (the paper's Table 4)",
        results={"showers_vgg": (0.807,), "showers_conv_lstm": (0.799,), "showers_fcn": (0.770,)},
        **_SHOWERS,
    ),
    "showers_barrel": Published(
        "Showers in the whole barrel (the paper's Table 5)",
        results={"showers_resnet": (0.788,), "showers_pairs": (0.997,)},
        **_SHOWERS,
    ),
}


def table_of(config: Mapping, dataset: Mapping) -> str:
    """The table that a run belongs to, a key of `TABLES`, or its category where there is no such table.

    Args:
      config, dataset: as in its results; central where neither names a category.
    """
    category = dataset.get("category") or config.get("dataset", {}).get("category", "central")
    return f"showers_{config['inputs']['geometry']}" if category == "showers" else category


def published(table: str) -> Published:
    """A table by its name; for one that the paper does not have, the six metrics without its numbers."""
    return TABLES.get(table) or Published(f"Category {table}", results={}, **_DIPHOTON)


def paper_row(name: str, table: str = "central") -> dict[str, float] | None:
    """The paper's results for a classifier, by the names of its metrics; None where it has none.

    Args:
      name: `config.name`, e.g. "cms_b".
      table: key of `TABLES`.
    """
    found = published(table)
    row = found.results.get(name)
    return row and dict(zip(found.metrics.values(), row))


def value_at(results: Mapping, place: tuple[str, ...]) -> dict:
    """The "value" and "uncertainty" at a place of the results; {} where there is none."""
    for key in place:
        results = results.get(key) or {}
    return results


def cvm_floor_text(results: Mapping) -> str:
    """The CVM of an independent score on as many events, as it is printed; "" where there is none."""
    floor = (results.get("cvm") or {}).get("floor")
    return "" if floor is None else f"{floor:.{digits('CVM')}f}"


def digits(metric: str) -> int:
    """Digits after the point that a metric is printed with."""
    return {"CVM": 4}.get(metric, 1 if metric.startswith("1 /") else 3)


def results_table(results: Mapping) -> str:
    """The table to print: each metric with its uncertainty, the paper's, and the difference.

    Args:
      results: as `evaluate` returns them; the paper's column goes by the config's "name", and by `table_of`.
    """
    name = results["config"].get("name", "")
    events, dataset = results["events"], results["dataset"]
    table = table_of(results["config"], dataset)
    paper, origin = paper_row(name, table), dataset.get("origin")
    lines = [
        f"{name}: epoch {results['epoch']}, {events['train']} training and "
        f"{events['validation']} validation events" + (f", {origin}" if origin else ""),
        f"{'':22}{'here':>18}{'paper':>10}{'difference':>13}" if paper else f"{'':22}{'here':>18}",
    ]
    for place, metric in published(table).metrics.items():
        if not (ours := value_at(results, place)):
            continue  # a metric of a class that this classifier does not have
        after = digits(metric)
        line = f"{metric:22}{ours['value']:>10.{after}f} ± {ours['uncertainty']:<5.{after}f}"
        if paper and metric in paper:
            line = f"{line:40}{paper[metric]:>10.3f}{ours['value'] - paper[metric]:>+13.{after}f}"
        lines.append(line)
    if published(table).metrics is METRICS:
        raw = ", ".join(f"{auc['value']:.3f}" for auc in results["auc_pairwise_raw"].values())
        lines.append(f"AUC; H vs one class is pair-normalised (raw P(H): {raw}).")
        if floor := cvm_floor_text(results):
            lines.append(f"The CVM of a score that is independent of the mass is {floor} on average.")
    else:
        lines.append("AUC; rejection is 1 - FPR, the false positive rate, at an efficiency for electrons.")
    return "\n".join(line.rstrip() for line in lines)
