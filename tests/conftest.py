"""Settings every test runs under; made before JAX starts its backends.

Four CPU devices, so that the laws of parallel training are tested on any machine, and no silent
rank promotion, so that a `[n]` added to an `[n, n]` is an error here rather than a wrong number there.
"""

import os
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".jax_cache"
WORKER, WORKERS = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))

if WORKER and hasattr(os, "sched_setaffinity"):
    # A share of the cores for each worker of pytest-xdist and its threads, so that they do not contend.
    cores = sorted(os.sched_getaffinity(0))
    number = int(WORKER.removeprefix("gw"))
    os.sched_setaffinity(0, cores[number::WORKERS] or cores)

# In the environment, so that the programs a test starts inherit them. Each worker has its own cache, because
# JAX does not write an entry atomically. Every program is kept: half of the suite's time is compilation, most
# of it of many small programs, which other tests and the next run need again.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if WORKER:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / WORKER)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "alone"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# The C++ is tested wherever it compiles, however fast XLA is there.
os.environ.setdefault("E2E_CPU_KERNELS", "1")

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
