"""The C++ library of `models.cpu.resnet_cpu`: compiled and tested once per machine, then cached.

The C++ compiler (`CXX`, or the first of `COMPILERS`) compiles it for this processor, or for the instruction
set given by E2E_CPU_ARCH. A separate process then compares its values with those of XLA and times both
(`models.cpu.trial`). A manifest in the same folder holds the library's digest and the result of the trial.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings

import jax

from e2e_jax.execution import workers
from e2e_jax.files.cache import cache_folder, check_private

SOURCES = tuple(
    pathlib.Path(__file__).with_name(name)
    for name in (
        "resnet.cc",
        "simd.h",
        "convolution.h",
        "winograd.h",
        "winograd_transforms.h",
        "stem.h",
    )
)
SWITCH = "E2E_CPU_KERNELS"
ARCHITECTURE = "E2E_CPU_ARCH"
ARCHITECTURES = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "native")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread", "-w")
PREFIX = "resnet_cpu_"

COMPILE_SECONDS = 300
TRIAL_SECONDS = 120


class LibraryError(RuntimeError):
    """The library cannot be used on this machine; the message gives the reason."""


@dataclasses.dataclass(frozen=True)
class Library:
    """A library that was compiled and tested.

    Attributes:
      path: its file.
      architecture: one of `ARCHITECTURES`.
      processor: name of the processor on which it was tested.
      ratio: time of a step with XLA divided by the time with the library.
    """

    path: pathlib.Path
    architecture: str
    processor: str
    ratio: float


def chosen() -> tuple[Library | None, str]:
    """The library, or None if XLA should compute the network on this machine, and a line that describes it.

    E2E_CPU_KERNELS=0 selects XLA. E2E_CPU_KERNELS=1 selects the library even if it is slower or a GPU is
    present. If the library cannot be used, a one-sentence warning is issued.
    """
    switch = os.environ.get(SWITCH, "")
    if switch == "0":
        return None, f"XLA, as {SWITCH}=0 asks"
    if switch != "1" and jax.default_backend() != "cpu":
        return None, f"XLA, on {jax.default_backend()}"
    try:
        library = prepared(os.environ.get(ARCHITECTURE) or "native")
    except (LibraryError, OSError) as error:
        warnings.warn(
            f"The network runs slower than it could on this CPU: {error} {SWITCH}=0 silences this warning.",
            stacklevel=2,
        )
        return None, "XLA, as the C++ library cannot be used"
    speed = f"{library.ratio:.1f} times as fast as XLA ({library.architecture}, {library.processor})"
    if library.ratio < 1 and switch != "1":
        return None, f"XLA, as the C++ was {speed}"
    return library, f"C++, {speed}"


@functools.cache
def prepared(architecture: str = "native", compiler: str | None = None) -> Library:
    """Compiles and tests the library, or takes it from the cache.

    Args:
      architecture: one of `ARCHITECTURES`, the value of -march.
      compiler: the C++ compiler; by default CXX, or the first of `COMPILERS` that is installed.

    Raises:
      LibraryError: the architecture is unknown, no compiler was found, the compiler fails, or the library
        crashes or disagrees with XLA.
      CacheError: other users may write into the cache.
    """
    if architecture not in ARCHITECTURES:
        raise LibraryError(f"{ARCHITECTURE} is {architecture!r}; it is one of {', '.join(ARCHITECTURES)}.")
    compiler = compiler or os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise LibraryError(
            f"no C++ compiler is installed ({', '.join(COMPILERS)}). Install one (Debian: g++; macOS: "
            "xcode-select --install) or name one as CXX."
        )
    flags = (*FLAGS, _target(architecture))
    made_of = (*(source.read_text() for source in SOURCES), *flags, jax.__version__, *_machine())
    name = hashlib.sha256("\0".join((*made_of, compiler, _version(compiler))).encode()).hexdigest()[:24]
    path = cache_folder() / f"{PREFIX}{name}.so"
    manifest = path.with_suffix(".json")
    kept = _kept(path, manifest)
    if kept is None:
        _compile(compiler, flags, path)
        kept = {"sha256": _digest(path), "processor": workers.processor()} | _tried(path, architecture)
        _write(manifest, json.dumps(kept, indent=1))
    if "fault" in kept:
        raise LibraryError(f"the C++ library that {compiler} made {kept['fault']}.")
    return Library(path, architecture, kept["processor"], kept["ratio"])


def _target(architecture):
    """The compiler's option; on ARM, "native" is a CPU and not an architecture."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return f"-mcpu={architecture}" if arm else f"-march={architecture}"


def _version(compiler):
    try:
        command = [compiler, "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LibraryError(
            f"the C++ compiler {compiler!r} does not run ({error}). Install one or name it as CXX."
        ) from error


def _compile(compiler, flags, path):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # Compiled into a temporary file and then moved, since another process may compile the same library.
        made = pathlib.Path(folder) / path.name
        command = [compiler, *flags, "-I", jax.ffi.include_dir(), str(SOURCES[0]), "-o", str(made)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMPILE_SECONDS)
            made.chmod(0o700)
            made.replace(path)
        except (OSError, subprocess.SubprocessError) as error:
            output = " ".join((getattr(error, "stderr", None) or str(error)).split())[:500]
            raise LibraryError(
                f"the C++ compiler {compiler!r} fails: {output} Install another or name one as CXX."
            ) from error


def _tried(path, architecture):
    """Tests the library in a separate process: {"ratio": ...}, or {"fault": description of the error}."""
    root = pathlib.Path(__file__).parents[3]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        # The result is cached, so XLA is timed with its training settings, also in `make test-fast`.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", "")))),
    }
    command = [sys.executable, "-m", "e2e_jax.models.cpu.trial", str(path)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return {"fault": f"takes more than {TRIAL_SECONDS} s for a few events"}
    if ran.returncode < 0:
        return {"fault": f"crashes (signal {-ran.returncode}): this processor may lack {architecture}"}
    if ran.returncode:
        return {"fault": f"does not run: {' '.join(ran.stderr.split())[-300:]}"}
    found = json.loads(ran.stdout)
    if not found["difference"] < found["tolerance"]:
        return {"fault": f"computes other values than XLA (by {found['difference']:.1e})"}
    return {"ratio": found["ratio"]}


def _kept(path, manifest):
    """The manifest of a library whose file is present and unchanged, or None."""
    if not path.exists() or not manifest.exists():
        return None
    check_private(path), check_private(manifest)
    try:
        kept = json.loads(manifest.read_text())
        whole = kept["sha256"] == _digest(path) and ("fault" in kept or kept["ratio"] > 0)
    except (ValueError, KeyError, TypeError):
        return None
    return kept if whole and "processor" in kept else None


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path, text):
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    pathlib.Path(file.name).replace(path)


def _machine():
    """The properties on which -march=native depends, and the number of cores in the trial."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = workers.cpuinfo("model name", "flags", "Features")
    return *flags, platform.machine(), platform.processor(), str(cores)
