"""The picture of a sweep: validation accuracy over each key that was varied."""

from __future__ import annotations

import io
from pathlib import Path

from edgedistill.core.files import write_bytes
from edgedistill.records.sweep import TrialResult


def plot_trials(trials: list[TrialResult], keys: list[str], metric: str, path: Path) -> None:
    """One panel a key: each trial's validation figure over the key's values."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(keys), figsize=(4 * len(keys), 3.2), squeeze=False, sharey=True)
    for panel, key in zip(panels[0], keys, strict=True):
        values = sorted({str(trial.settings.get(key)) for trial in trials}, key=lambda text: (_as_number(text), text))
        for state, marker in (("complete", "o"), ("pruned", "x")):
            chosen = [trial for trial in trials if trial.state == state]
            panel.plot(
                [values.index(str(trial.settings.get(key))) for trial in chosen],
                [100 * trial.value for trial in chosen],
                marker,
                label=state,
            )
        panel.set_xticks(range(len(values)), values)
        panel.set_xlabel(key)
    panels[0][0].set_ylabel(f"validation {metric.removesuffix('_fraction').replace('_', ' ')}, %")
    panels[0][0].legend()
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    pyplot.close(figure)
    write_bytes(path, picture.getvalue())


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
