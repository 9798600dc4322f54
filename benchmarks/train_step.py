"""Time of a training step of ResNet-15 on a CPU with our C++, XLA and PyTorch.

    python benchmarks/train_step.py [--peer] [--arch x86-64-v2 x86-64-v3 x86-64-v4 native] [--batch 32 96]
                                    [--channels 1 3] [--occupancy 0.03] [--rounds 8] [--json FILE]

A step is forward, backward and Adam in float32. Each library runs in a separate process, limited to the
instruction set of `--arch`. The exception is XLA's library YNNPACK, which computes some convolutions with the
best instructions of the processor; with AVX-512, XLA on AVX2 is thus slightly too fast. The processes take
turns, one step at a time, so that other work on the machine slows all of them. Wall time is the duration of a
training. Processor time is also valid on a busy machine (with `taskset -c 0`, because waiting threads use
processor time too). The ratios are medians over the rounds. Channels: 1 is EB, 3 is CMS-B. In a detector 0.01
to 0.05 of the pixels have a hit.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from e2e_jax.devices import host

LEARNING_RATE = 5e-4

LIBRARIES = ("cpp", "xla", "torch")

ARCHES = {
    "x86-64-v2": ("sse4_2", "SSE4_2", "default", "SSE41", "SSE4_2"),
    "x86-64-v3": ("avx2", "AVX2", "avx2", "AVX2", "AVX2"),
    "x86-64-v4": ("avx512vl", "AVX512", "avx512", "AVX512_CORE", "AVX512"),
    "native": None,
}
"""The flag in /proc/cpuinfo that an instruction set needs, and its name for XLA, ATen, oneDNN and MKL."""


def environment(library, arch):
    """The environment variables of a process that runs `library` on the instruction set `arch`."""
    given = dict(os.environ)
    cores = len(os.sched_getaffinity(0))
    given |= host.settings(given, cores, "glibc" if sys.platform == "linux" else "")
    given.setdefault("OMP_NUM_THREADS", str(cores))
    given |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "E2E_CPU_ARCH": arch}
    given["E2E_CPU_KERNELS"] = "1" if library == "cpp" else "0"
    if ARCHES[arch]:
        _, xla, aten, onednn, mkl = ARCHES[arch]
        given["XLA_FLAGS"] = f"{given.get('XLA_FLAGS', '')} --xla_cpu_max_isa={xla}"
        given |= {
            "ATEN_CPU_CAPABILITY": aten,
            "ONEDNN_MAX_CPU_ISA": onednn,
            "MKL_ENABLE_INSTRUCTIONS": mkl,
        }
    return given


def make_batch(batch, channels, occupancy):
    """Images [batch, 170, 360, channels] and labels [batch]."""
    rng = np.random.default_rng(0)
    shape = (batch, 170, 360, channels)
    x = rng.exponential(size=shape) * (rng.random(shape) < occupancy)
    return x.astype(np.float32), rng.integers(0, 3, batch)


def jax_step(x, labels, fast):
    """A function that takes one step and returns when it is done, and the instructions that it uses."""
    import jax
    import optax

    from e2e_jax.devices import parallel
    from e2e_jax.models import backend
    from e2e_jax.models.cpu import resnet_cpu
    from e2e_jax.models.resnet import ResNet15

    if fast and not resnet_cpu.usable((16, 32), x):
        raise SystemExit("The C++ cannot be used here; the lines above say why.")
    model, optimizer = ResNet15(features=backend.features()), optax.adam(LEARNING_RATE)
    params = model.init(jax.random.key(0), {"barrel": x[:1]})
    replicated, split = parallel.shardings(parallel.mesh(len(x)))
    state = list(jax.device_put((params, optimizer.init(params)), replicated))
    x, labels = jax.device_put((x, labels), split)

    @jax.jit
    def step(params, moments, x, labels):
        def loss_fn(params):
            logits = model.apply(params, {"barrel": x})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, moments = optimizer.update(jax.grad(loss_fn)(params), moments)
        return optax.apply_updates(params, updates), moments

    def run():
        state[:] = jax.block_until_ready(step(*state, x, labels))

    run()
    if fast:
        return run, f"C++ library with {_registers('resnet_cpu_')} registers"
    limit = re.search(r"xla_cpu_max_isa=(\S+)", os.environ.get("XLA_FLAGS", ""))
    return run, f"{limit[1] if limit else 'native'} in generated code, native in its library YNNPACK"


def torch_step(x, labels):
    """The same in PyTorch, channels last."""
    import torch

    from benchmarks import peer

    step = peer.training(x.shape[3], LEARNING_RATE, compiled=False)
    x, labels = torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(labels)

    def run():
        step(x, labels)

    with tempfile.TemporaryFile() as log:
        stdout = os.dup(1)
        os.dup2(log.fileno(), 1)  # oneDNN prints its instruction set there
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            run()
        os.dup2(stdout, 1)
        log.seek(0)
        onednn = re.search(r"cpu,isa:(.*)", log.read().decode())
    return run, f"ATen {torch.backends.cpu.get_cpu_capability()}, oneDNN {onednn[1] if onednn else 'unknown'}"


def _registers(prefix):
    """The widest vector registers in the loaded library whose name begins with `prefix`."""
    maps = pathlib.Path("/proc/self/maps").read_text()
    path = re.search(rf"/\S*/{prefix}\S*", maps)[0]
    code = subprocess.run(["objdump", "-d", path], capture_output=True, text=True, check=True).stdout
    return next((name for name in ("zmm", "ymm", "xmm") if f"%{name}" in code), "no vector")


def work(library, batch, channels, occupancy):
    """Runs in a separate process: takes a step for each line of stdin and answers with its times."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    host.keep_memory(batch)
    x, labels = make_batch(batch, channels, occupancy)
    step, used = torch_step(x, labels) if library == "torch" else jax_step(x, labels, library == "cpp")
    print(json.dumps(used), file=answers)
    for _ in sys.stdin:
        start, processor = time.perf_counter(), time.process_time()
        step()
        times = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
        print(json.dumps(times), file=answers)


class Worker:
    """A process that takes a step on request.

    Attributes:
      used: the instructions that it uses; None where it could not start.
    """

    def __init__(self, library, arch, *sizes):
        command = [sys.executable, __file__, "--work", library, *map(str, sizes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen(command, env=environment(library, arch), **pipes)
        self.used = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def step(self):
        """Takes a step; returns its {"wall": seconds, "processor": seconds}."""
        self.process.stdin.write("\n")
        answer = self._answer()
        if answer is None:
            raise SystemExit(f"A process of this benchmark ended with code {self.process.wait()}.")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measure(arch, libraries, rounds, *sizes):
    """{library: {"used": instructions, "wall": [rounds], "processor": [rounds]}}, of those that start."""
    with contextlib.ExitStack() as stack:
        workers = {library: Worker(library, arch, *sizes) for library in libraries}
        for worker in workers.values():
            stack.callback(worker.close)
        workers = {library: worker for library, worker in workers.items() if worker.used}
        results = {
            library: {"used": worker.used, "wall": [], "processor": []} for library, worker in workers.items()
        }
        for turn in range(rounds + 1):
            for library, worker in workers.items():
                for kind, seconds in worker.step().items():
                    if turn:  # the first step warms up
                        results[library][kind].append(seconds)
    return results


def ratio(results, library, other, kind):
    """How many times as fast `library` is as `other`: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(results[library][kind], results[other][kind]))


def missing(arch):
    """The flag of the instruction set `arch` that this processor lacks, or None."""
    if ARCHES[arch] is None or ARCHES[arch][0] in pathlib.Path("/proc/cpuinfo").read_text().split():
        return None
    return ARCHES[arch][0]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", nargs="+", choices=list(ARCHES), default=["native"])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--occupancy", type=float, default=0.03, help="fraction of pixels with a hit")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--peer", action="store_true", help="also measure PyTorch")
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers here too")
    args = parser.parse_args()
    for arch in args.arch:
        if missing(arch):
            raise SystemExit(f"This processor lacks {missing(arch)}: leave out --arch {arch}.")

    rows = []
    print("arch      channels batch library  wall ms  events/s  processor ms  instructions")
    for arch, channels, batch in itertools.product(args.arch, args.channels, args.batch):
        libraries = LIBRARIES if args.peer else LIBRARIES[:2]
        results = measure(arch, libraries, args.rounds, batch, channels, args.occupancy)
        for library, of in results.items():
            wall, processor = (statistics.median(of[kind]) for kind in ("wall", "processor"))
            print(
                f"{arch:9s} {channels:8d} {batch:5d} {library:7s} {wall * 1e3:8.0f} {batch / wall:9.1f} "
                f"{processor * 1e3:13.0f}  {of['used']}"
            )
        row = {"arch": arch, "channels": channels, "batch": batch, "libraries": results, "cpp_over": {}}
        for other in results.keys() - {"cpp"} if "cpp" in results else ():
            ratios = {kind: ratio(results, "cpp", other, kind) for kind in ("wall", "processor")}
            row["cpp_over"][other] = ratios
            wall, processor = ratios.values()
            print(
                f"{'':9s} C++ over {other}: {wall:.2f} by wall, {processor:.2f} by processor time", flush=True
            )
        rows.append(row)
    if args.json:
        args.json.write_text(json.dumps({"occupancy": args.occupancy, "rows": rows}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        library, batch, channels, occupancy = sys.argv[2:]
        work(library, int(batch), int(channels), float(occupancy))
    else:
        main()
