"""Published results, for comparison with runs whose config names their table.

Diphotons and showers: arXiv:1807.11916. Boosted top quarks: abstract of arXiv:2104.14659 (0.9824 +- 0.0013).
Quarks and gluons: arXiv:1902.08276, to two digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PLACES = (
    *(("auc_vs_rest", "h"), ("auc_vs_rest", "gamma_gamma"), ("auc_vs_rest", "gamma_jet")),
    *(("auc_pairwise", "h_vs_gamma_gamma"), ("auc_pairwise", "h_vs_gamma_jet"), ("cvm",)),
)
"""Places in the results of the six metrics of the paper's Tables 6 and 7, by column. The paper's one-vs-one
AUCs are compared with the pair-normalized ones, because they violate the rule for raw ones (see
`metrics.pairwise_auc`)."""

SHOWER_PLACES = (("auc_vs_rest", "electron"),)
"""The same for Tables 4 and 5."""


class Published(NamedTuple):
    """A table of results.

    Attributes:
      title: title of the table.
      labels: labels of its events.
      places: places of its metrics in the results.
      results: `config.name` -> the paper's numbers, in the order of `places`.
    """

    title: str
    labels: tuple[str, ...]
    places: tuple[tuple[str, ...], ...]
    results: Mapping[str, tuple[float, ...]]


_DIPHOTON = {"labels": ("gamma_gamma", "h", "gamma_jet"), "places": PLACES}
_SHOWERS = {"labels": ("photon", "electron"), "places": SHOWER_PLACES}

TABLES = {
    "table_4": Published(
        "Showers in crops (the paper's Table 4)",
        results={"showers_vgg": (0.807,), "showers_conv_lstm": (0.799,), "showers_fcn": (0.770,)},
        **_SHOWERS,
    ),
    "table_5": Published(
        "Showers in the whole barrel (the paper's Table 5)",
        results={"showers_resnet": (0.788,), "showers_pairs": (0.997,)},
        **_SHOWERS,
    ),
    "quark_gluon": Published(
        # Not read from the paper, of which only the abstract could be had: the figure of the issue.
        "Quarks and gluons (arXiv:1902.08276)",
        labels=("gluon", "quark"),
        places=(("auc_vs_rest", "quark"),),
        results={"jets_resnet": (0.81,)},
    ),
    "tops": Published(
        "Boosted top quarks (arXiv:2104.14659)",
        labels=("qcd", "top"),
        places=(("auc_vs_rest", "top"),),
        results={"tops_resnet": (0.982,)},
    ),
    "table_6": Published(
        "Central category (the paper's Table 6)",
        results={
            "four_momentum": (0.708, 0.807, 0.803, 0.767, 0.773, 0.002),
            "eb_mass_aware": (0.926, 0.923, 0.954, 0.910, 0.968, 0.080),
            "eb": (0.801, 0.828, 0.942, 0.723, 0.937, 0.002),
            "cms_b": (0.813, 0.838, 0.959, 0.722, 0.956, 0.002),
        },
        **_DIPHOTON,
    ),
    "table_7": Published(
        "Central+forward category (the paper's Table 7)",
        results={
            "four_momentum": (0.727, 0.812, 0.810, 0.779, 0.788, 0.004),
            "ecal_mass_aware": (0.933, 0.921, 0.955, 0.918, 0.972, 0.088),
            "ecal": (0.810, 0.833, 0.939, 0.751, 0.936, 0.004),
            "cms_i": (0.833, 0.849, 0.954, 0.767, 0.954, 0.004),
            "cms_ii": (0.813, 0.829, 0.956, 0.728, 0.953, 0.003),
        },
        **_DIPHOTON,
    ),
}
"""Published tables by `config.published`."""

NAMES = {
    "four_momentum": "4-mom",
    "eb": "EB",
    "eb_mass_aware": "EB mass-aware",
    "cms_b": "CMS-B",
    "ecal": "ECAL",
    "ecal_mass_aware": "ECAL mass-aware",
    "cms_i": "CMS-I",
    "cms_ii": "CMS-II",
    "showers_vgg": "VGG",
    "showers_conv_lstm": "Conv-LSTM",
    "showers_fcn": "FCN",
    "showers_resnet": "ResNet",
    "showers_pairs": "ResNet, pairs",
    "jets_resnet": "ResNet",
    "tops_resnet": "ResNet",
}
"""The paper's names of the classifiers, by `config.name`."""


def table_of(results: Mapping) -> str:
    """The published table of a run, a key of `TABLES`; "" for none.

    It is the table named in the run's config, unless the dataset has other labels.

    Args:
      results: the content of results.json.
    """
    named = results["config"]["published"]
    same = (
        "auc_vs_rest" in results
        and named in TABLES
        and tuple(results["task"]["labels"]) == TABLES[named].labels
    )
    return named if same else ""


def paper_row(results: Mapping) -> dict[tuple[str, ...], float]:
    """The paper's results for a run's classifier, by place; {} if there are none.

    Args: as for `table_of`.
    """
    if not (table := TABLES.get(table_of(results))):
        return {}
    return dict(zip(table.places, table.results.get(results["config"]["name"], ())))
