"""Speed of the generator after its filters, and comparison of its gamma+jet rate with CMS.

    python benchmarks/generator.py [--seconds 10] [--output generator.json]

Prints, for every process and mode, collisions per second and core (processor time), the fraction that passes
the filters and the resulting rate. Then prints cross-section and efficiency of the gamma+jet sample over the
whole phase space, compared with those of the CMS sample. Writes the same numbers as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from e2e_jax.sources.simulation.generator import MINIMUM_BIAS, generate
from e2e_jax.studies import hgg

SAMPLES = {sample.label: sample for sample in (*hgg.STUDIES["central"].samples, MINIMUM_BIAS)}

CMS_CROSS_SECTION, CMS_EFFICIENCY = 8884.0, 0.05387
"""The CMS double-EM-enriched photon+jet sample, 8 TeV, pTHat > 40 GeV: pb and filter efficiency."""


def measure(process: str, fast: bool, category: str, seconds: float, seed: int) -> dict:
    """Runs one generator for a while."""
    start = time.process_time()
    sample = SAMPLES[process]
    if category == "all":
        sample = dataclasses.replace(sample, veto_eta=0.0, quick_look=None)
    events = generate(sample, seed, fast=fast)
    ready = time.process_time()
    while (used := time.process_time() - ready) < seconds:
        next(events)
    efficiency = events.passed / events.generated
    return {
        "process": process,
        "mode": "fast" if fast else "full",
        "category": category,
        "setup_s": ready - start,
        "collisions_per_s": events.generated / used,
        "efficiency": efficiency,
        "efficiency_uncertainty": (efficiency * (1 - efficiency) / events.generated) ** 0.5,
        "kept_per_s": events.passed / used,
        "cross_section_pb": events.cross_section,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time for each row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("generator.json"))
    flags = parser.parse_args()

    wanted = [(process, fast, "central") for process in SAMPLES for fast in (False, True)]
    wanted.remove(("minimum_bias", True, "central"))
    wanted += [("gamma_jet", False, "all"), ("gamma_jet", True, "all")]
    rows = []
    columns = f"{'process':14}{'mode':6}{'category':10}{'set-up s':>9}{'coll./s':>9}"
    print(f"{columns}{'kept %':>16}{'kept/s':>9}{'pb':>12}")
    for process, fast, category in wanted:
        row = measure(process, fast, category, flags.seconds, flags.seed)
        rows.append(row)
        kept = f"{100 * row['efficiency']:.2f} +- {100 * row['efficiency_uncertainty']:.2f}"
        print(
            f"{process:14}{row['mode']:6}{category:10}{row['setup_s']:9.2f}{row['collisions_per_s']:9.0f}{kept:>16}"
            f"{row['kept_per_s']:9.1f}{row['cross_section_pb']:12.4g}",
            flush=True,
        )
    print("\ngamma+jet, whole phase space: cross-section pb, efficiency %, product pb")
    samples = [("CMS", CMS_CROSS_SECTION, CMS_EFFICIENCY)]
    samples += [(row["mode"], row["cross_section_pb"], row["efficiency"]) for row in rows[-2:]]
    for name, sigma, efficiency in samples:
        print(f"  {name:6}{sigma:8.0f}{100 * efficiency:8.2f}{sigma * efficiency:8.0f}")
    flags.output.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"Wrote {flags.output}.")


if __name__ == "__main__":
    main()
