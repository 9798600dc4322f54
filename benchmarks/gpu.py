"""All measurements on a GPU, in one command of at most 9 minutes: one table, and the same as JSON.

    python benchmarks/gpu.py [--json gpu.json] [--only step epoch] [--minutes 9] [--tiny]

    machine   bandwidth of a copy, rate of a matrix product
    images    hits -> images
    step      training step beside PyTorch's (plain and compiled, channels last, images on the device):
              events/s, device memory, share of the copy's bandwidth and of the matrix product's rate
    forward   the same for the forward pass
    seeds     several seeds trained at once
    epoch     an epoch of 153,600 events with the hits on the device, streamed, and PyTorch's from HDF5
    training  CMS-B of the paper's size to its early stop

The events are synthetic (`synthetic_events.py`). Needed are jax, flax, optax, orbax, ml_collections, tqdm,
torch and h5py. Each part has its own time limit and reports its own failure. Every row is in the JSON file as
soon as it is printed. `--tiny` runs everything at sizes for a CPU; those figures mean nothing.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# JAX would take most of the card's memory at its start, and PyTorch needs some.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "h5py", "numpy")


class OutOfTime(BaseException):
    """A part exceeded its time limit. Not an `Exception`, so that no handler catches it."""


def describe():
    """The device, its driver, the processor, and the versions of what is measured."""
    import jax

    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    described = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": versions,
    }
    information = pathlib.Path("/proc/cpuinfo")
    fields = (
        dict(part.split(":", 1) for part in information.read_text().splitlines() if ":" in part)
        if information.exists()
        else {}
    )
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    if "model name" in fields:
        described["processor"] = fields["model name"]
        known = ("sse4_2", "avx2", "avx512f", "avx512_bf16", "amx_bf16")
        described["instructions"] = [name for name in known if name in fields.get("flags", "").split()]
    if shutil.which("nvidia-smi"):
        query = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total,power.limit",
            "--format=csv,noheader",
        ]
        described["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return described


@contextlib.contextmanager
def at_most(seconds):
    """Raises `OutOfTime` in the block after the time limit."""

    def stop(*_):
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(parts, bench, seconds, report):
    """Runs the parts one after another.

    Args:
      parts: {name: (generator of rows, the most seconds)}.
      bench: what the parts take.
      seconds: for all of them together.
      report: called with each row, which has the name of its part in it.
    """
    end = time.monotonic() + seconds
    for name, (part, limit) in parts.items():
        limit, start = min(limit, end - time.monotonic()), time.monotonic()
        try:
            if limit <= 0:
                raise OutOfTime
            with at_most(limit):
                for row in part(bench):
                    report({"part": name, **row})
        except OutOfTime:
            report({"part": name, "what": name, "error": f"stopped after its {max(limit, 0):.0f} s"})
        except Exception as error:
            report({"part": name, "what": name, "error": f"{type(error).__name__}: {str(error)[:300]}"})
        report({"part": name, "what": f"{name} took", "value": time.monotonic() - start, "unit": "s"})


def line(row):
    """A row of the table."""
    if "error" in row:
        return f"{row['part']:9s} {row['what']:60s} FAILED {row['error']}"
    more = {name: value for name, value in row.items() if name not in ("part", "what", "value", "unit")}
    beside = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in more.items())
    return f"{row['part']:9s} {row['what']:60s} {row['value']:12.5g} {row['unit']:9s} {beside}".rstrip()


def main(arguments=None):
    from benchmarks import gpu_epochs, gpu_parts

    parts = {
        "machine": (gpu_parts.machine, 25),
        "images": (gpu_parts.make_images, 35),
        "step": (gpu_parts.step, 150),
        "forward": (gpu_parts.forward, 60),
        "seeds": (gpu_epochs.seeds, 35),
        "epoch": (gpu_epochs.epochs, 90),
        "training": (gpu_epochs.training, 400),  # what the others leave of the whole time
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("gpu.json"))
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--minutes", type=float, default=9, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the program on a CPU")
    args = parser.parse_args(arguments)

    start = time.monotonic()
    results = {"machine": describe(), "tiny": args.tiny, "rows": []}
    print("\n".join(f"{name}: {value}" for name, value in results["machine"].items()), flush=True)

    def report(row):
        results["rows"].append(row)
        print(line(row), flush=True)
        args.json.write_text(json.dumps(results, indent=1))

    bench = gpu_parts.Bench(gpu_parts.TINY if args.tiny else gpu_parts.Sizes())
    parts = {name: parts[name] for name in parts if name in args.only}
    measure(parts, bench, 60 * args.minutes - (time.monotonic() - start), report)


if __name__ == "__main__":
    main()
