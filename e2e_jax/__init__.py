"""End-to-end classification of collision events from detector data, in JAX.

These names are loaded when they are first used, so that `import e2e_jax` is quick:

    read_events(path, select=None)                 the events of AODSIM files or flat ntuples
    Study(samples, task, sizes, select)            what defines a dataset, in one file of yours
    Sample(label, source)                          the events of one label, and where they come from
    Selection(function, observables)               which events are kept, and their observables
    Size(train, validation)                        how many events of each label
    Task(signal, decorrelate, of, ...)             what a classifier learns
    make_images(events, geometry="barrel")         their images, by name
    Observable(name, unit, title)                  a named number of an event, such as a mass
    train(config, workdir, dataset=None)           trains a classifier and evaluates it
    load_classifier(workdir)                       a run's or a released classifier: `predict(events)`
    evaluate(task, probabilities, labels, ...)     metrics with uncertainties, as in results.json
    cvm_penalty(scores, observable, mask)          the penalty on a dependence of scores on an observable
    cvm_metric(scores, observable)                 the size of that dependence
    roc_auc(scores, is_signal)                     area under the ROC curve
    pairwise_auc(probabilities, labels, ...)       area for two classes of several
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "read_events": "sources.reading",
    "Study": "study",
    "Sample": "study",
    "Selection": "study",
    "Size": "study",
    "Task": "study",
    "make_images": "detector.images",
    "Observable": "study",
    "train": "training.ensembles",
    "load_classifier": "checkpoint",
    "evaluate": "evaluation.results",
    "cvm_penalty": "models.decorrelation.cvm",
    "cvm_metric": "evaluation.cvm",
    "roc_auc": "evaluation.metrics",
    "pairwise_auc": "evaluation.metrics",
}
"""Public name -> the module below e2e_jax that defines it."""

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
