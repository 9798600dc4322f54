"""The card of a released classifier: description, training data, performance and limits."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from e2e_jax.evaluation.published import NAMES, TABLES, table_of
from e2e_jax.evaluation.tables import results_table
from e2e_jax.inference.prediction import Classifier


def card(classifier: Classifier, results: Mapping, parameters: int, name: str) -> str:
    """The card in Markdown.

    Args:
      classifier: the released classifier.
      results: the content of results.json.
      parameters: number of parameters of the network.
      name: name of the release.
    """
    task, dataset, events = classifier.task, results["dataset"], results["events"]
    classes = ", ".join(f"`{one}` ({task.title(one)})" for one in classifier.classes)
    origin = dataset.get("origin") or "events of unknown origin"
    published = f"; {NAMES[classifier.name]} of the paper" if classifier.name in NAMES else ""
    licence = importlib.metadata.metadata("e2e_jax").get("License-Expression", "that of e2e_jax")
    title = TABLES[table_of(results)].title if table_of(results) else "results.json has all metrics"
    facts = {
        "Classifier": f"`{classifier.name}`{published}",
        "Classes": classes,
        "Network": f"`{results['config'].get('model', {}).get('name', '?')}`, {parameters:,} parameters",
        "Inputs": f"{classifier.inputs.kind}",
        "Dataset": f"`{dataset.get('name', '?')}` {dataset.get('version', '')}, fingerprint "
        f"`{dataset.get('fingerprint', '?')}`, {origin}",
        "Events": f"{events['train']:,} for the training, {events['validation']:,} for these results",
        "Licence": licence,
    }
    limits = [
        f"Trained and evaluated on {origin}. Results on other events, such as CMS Open Data, are not known.",
        "The scores have a meaning for events that pass the selection of the dataset only. "
        "`predict` refuses events that the training could not have had.",
        "The uncertainties are statistical, of one training.",
    ]
    if task.decorrelate:
        limits.append(
            f"The score was decorrelated from the {task.decorrelate_phrase} for events of "
            f"{', '.join(map(task.title, task.of))} only."
        )
    lines = [f"# {name}", "", "```python", f'classifier = e2e_jax.load_classifier("{name}")', "```", ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {text} |" for key, text in facts.items())]
    lines += ["", f"## Results: {title}", "", "```", results_table(task, results), "```"]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in limits)]
    return "\n".join(lines) + "\n"
