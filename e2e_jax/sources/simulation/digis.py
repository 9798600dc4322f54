"""Digis: the ten samples of a barrel crystal's pulse, and energy and time fitted to them.

A pulse that peaks at t_max is f(t) = (1 + (t - t_max) / (alpha beta))^alpha exp(-(t - t_max) / beta),
starting alpha beta before its peak (CMS, "Time reconstruction and performance of the CMS electromagnetic
calorimeter", arXiv:0911.4044, section 3). alpha and beta are the values that CMSSW uses for the barrel. Four
samples precede the pulse. The noise of the samples is correlated as in CMSSW.

Amplitudes are generalized least-squares fits of pulse, pedestal and, for the time, the pulse's derivative:
the weights method (CMS NOTE 2006/037) with the noise's covariance. The noise of the amplitude is the
read-out's `EB_NOISE`. The resulting noise of the time is 35.3 ns times noise over amplitude; the test beam
measured 35.1 (arXiv:0911.4044). Pulses of other bunch crossings are not included.
"""

import functools

import numpy as np

from e2e_jax.detector.crops import GEV_PER_COUNT, PEDESTAL, SAMPLES
from e2e_jax.sources.simulation.readout import EB_NOISE

BUNCH_CROSSING = 25.0
"""ns between samples."""
ALPHA, BETA = 1.138, 1.652 * BUNCH_CROSSING
"""Shape of the barrel's pulse and its decay in ns (CMSSW, `EBamplitudeFitParameters`)."""
PEAK = 5 * BUNCH_CROSSING
"""ns after the first sample; an in-time pulse peaks at the sixth sample."""
NOISE_CORRELATION = (1.0, 0.71073, 0.55721, 0.46089, 0.40449, 0.35931, 0.33924, 0.32439, 0.31581, 0.30481)
"""Correlation of samples with distances 0, 1, ... 9 (CMSSW, `EBCorrNoiseMatrixG12`)."""
GAIN_RATIOS = (1, 2, 12)
"""Ratios of gain 12 to gains 12, 6 and 1."""
LARGEST_COUNT = 4095
"""Maximum of a 12-bit ADC. A higher sample is read at the next lower gain, and scaled to gain 12."""
LATEST = 25.0
"""ns; pulses are fitted within this range before and after their nominal time."""
BRIGHT = 5 * EB_NOISE
"""GeV; fainter pulses do not constrain the time, so they get the energy of an in-time pulse."""
ROUNDS = 4
"""Steps of the fit of bright pulses; each uses the tabulated pulse nearest to the last fitted time."""
STEP = 0.25
"""ns between tabulated pulses; linear interpolation has an error of less than 1 ps."""
IN_TIME = round(LATEST / STEP)
"""Index of the tabulated in-time pulse."""


def pulse(time: np.ndarray) -> np.ndarray:
    """Samples `[..., SAMPLES]` of a pulse with amplitude 1 that is late by `time` `[...]`, in ns."""
    return _shape(np.arange(SAMPLES) * BUNCH_CROSSING - PEAK - np.asarray(time)[..., None])[0]


def _shape(since_peak: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pulse, and its derivative with respect to its delay."""
    rise = np.maximum(1 + since_peak / (ALPHA * BETA), 0)
    decay = np.exp(-since_peak / BETA)
    value = rise**ALPHA * decay
    slope = value / BETA - rise ** (ALPHA - 1) * decay / BETA
    return value, np.where(rise > 0, slope, 0)


@functools.cache
def covariance() -> np.ndarray:
    """Covariance of the samples' noise, GeV^2 `[SAMPLES, SAMPLES]`; fitted amplitudes have `EB_NOISE`."""
    steps = np.abs(np.subtract.outer(np.arange(SAMPLES), np.arange(SAMPLES)))
    correlation = np.array(NOISE_CORRELATION)[steps]
    weights = _least_squares(np.stack([pulse(0.0), np.ones(SAMPLES)]), correlation)[0]
    return EB_NOISE**2 / (weights @ correlation @ weights) * correlation


def _least_squares(shapes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Weights `[shapes, SAMPLES]` that fit samples by a sum of `shapes` and give their factors."""
    whitened = np.linalg.solve(noise, shapes.T)
    return np.linalg.solve(shapes @ whitened, whitened.T)


@functools.cache
def amplitude_weights() -> np.ndarray:
    """Weights `[SAMPLES]` for the amplitude of an in-time pulse; the pedestal cancels."""
    return _least_squares(np.stack([pulse(0.0), np.ones(SAMPLES)]), covariance())[0]


@functools.cache
def _pulse_weights() -> np.ndarray:
    """Weights `[times, 2, SAMPLES]` for amplitude, and amplitude times delay, of pulses near each time."""
    tables = []
    for time in np.arange(-LATEST, LATEST + STEP, STEP):
        shapes = np.stack([*_shape(np.arange(SAMPLES) * BUNCH_CROSSING - PEAK - time), np.ones(SAMPLES)])
        tables.append(_least_squares(shapes, covariance())[:2])
    return np.array(tables)


@functools.cache
def time_noise() -> float:
    """Time resolution in ns of a pulse of amplitude A, divided by `EB_NOISE` / A."""
    weights = _pulse_weights()[IN_TIME, 1]
    return float(np.sqrt(weights @ covariance() @ weights)) / EB_NOISE


def smeared_time(energy: np.ndarray, late: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Times in ns, float32 `[m]`, with the resolution of `reconstruct`, without making samples.

    Args:
      energy: `[m]`, measured, GeV.
      late: `[m]`, the true time, ns.
      rng: source of the noise.
    """
    noise = time_noise() * EB_NOISE / np.maximum(energy, EB_NOISE) * rng.standard_normal(len(energy))
    return np.where(energy > EB_NOISE, np.clip(late + noise, -LATEST, LATEST), 0).astype(np.float32)


def digitise(
    energy: np.ndarray, time: np.ndarray, rng: np.random.Generator, fluctuation: np.ndarray | None = None
) -> np.ndarray:
    """Make the samples of crystals: pulses, correlated noise, pedestal, gains and counts.

    Args:
      energy: `[m]`, GeV.
      time: `[m]`, delay of the pulses, ns.
      rng: source of the noise.
      fluctuation: `[m]`, GeV that the noise adds to the amplitude of an in-time pulse, if already known. The
        noise is then drawn under this condition. So crystals that were read for their energy get samples with
        that energy, and the others need no samples.

    Returns:
      uint16 `[m, SAMPLES]`, in counts of gain 12.
    """
    noise = rng.standard_normal((len(energy), SAMPLES)) @ np.linalg.cholesky(covariance()).T
    if fluctuation is not None:
        weights = amplitude_weights()
        along = covariance() @ weights / EB_NOISE**2
        noise += (fluctuation - noise @ weights)[:, None] * along
    return counts(energy[:, None] * pulse(time) + noise)


def counts(samples: np.ndarray) -> np.ndarray:
    """ADC counts, uint16, of samples in GeV above the pedestal, each at the highest gain without overflow."""
    signal = samples / GEV_PER_COUNT
    read = np.full(signal.shape, np.nan)
    for ratio in GAIN_RATIOS:
        at_gain = np.rint(signal / ratio + PEDESTAL)
        fits = np.isnan(read) & ((at_gain <= LARGEST_COUNT) | (ratio == GAIN_RATIOS[-1]))
        at_gain = np.clip(at_gain, 0, LARGEST_COUNT)
        read[fits] = (ratio * (at_gain - PEDESTAL) + PEDESTAL)[fits]
    return np.maximum(read, 0).astype(np.uint16)


def reconstruct(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit energies in GeV and times in ns, float32 `[m]`, to samples `[m, SAMPLES]` in counts.

    For pulses above `BRIGHT`, energy and time are fitted. Fainter pulses get the energy of an in-time pulse,
    and the time of the first step of that fit. Without a pulse above the noise, the time is 0.
    """
    energy, time = fit((np.asarray(samples, np.float64) - PEDESTAL) * GEV_PER_COUNT)
    return energy.astype(np.float32), time.astype(np.float32)


def fit(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Like `reconstruct`, in float64, for samples `[m, SAMPLES]` in GeV with any pedestals."""
    energy = signal @ amplitude_weights()
    tables = _pulse_weights()
    delayed = signal @ tables[IN_TIME, 1]
    time = np.where(energy > EB_NOISE, delayed / np.maximum(energy, EB_NOISE), 0)
    time = np.clip(time, -LATEST, LATEST)
    bright = np.flatnonzero(energy > BRIGHT)
    fitted, late = signal[bright], time[bright]
    for _ in range(ROUNDS):
        near = np.rint(late / STEP).astype(np.int64)
        amplitude, delayed = np.einsum("mws,ms->wm", tables[near + IN_TIME], fitted)
        late = np.clip(near * STEP + delayed / np.maximum(amplitude, EB_NOISE), -LATEST, LATEST)
    if len(bright):
        energy[bright], time[bright] = amplitude, late
    return energy, time
