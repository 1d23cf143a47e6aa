"""Is what is served now in order? Answered by the release's own code; health_check.py asks."""

import io
import itertools

from edgedistill_device.benchmark.bench import measure_ms, summary_ms
from edgedistill_device.decode import read_image
from edgedistill_device.engine.verify import compare, golden_images
from edgedistill_device.errors import VerifyError
from edgedistill_device.inference.answers import decision_for
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.frame_path import Accepted, read_verdicts
from edgedistill_device.inference.progress import Progress
from edgedistill_device.preprocess import Preparer

RUNS, WARMUP = 30, 10


def examine(folder, manifest, runner):
    """Goldens, then what `classify` prints of their files, then the median time from file to logits.

    Args:
        runner: entered.

    Returns:
        JSON-able: what `verify.compare` gives, classified (images that `classify` printed a line of),
        end_to_end_ms (see bench.summary_ms) and latency_budget_ms.

    Raises:
        VerifyError: the outputs differ, or the median is above the manifest's budget.
        JetsonError: `classify` refuses an image.
    """
    spec = manifest.preprocess
    accepted = Accepted(spec, read_verdicts(folder, runner)[0])
    result = dict(compare(folder, manifest, runner), classified=_classified(folder, manifest, runner, accepted))
    paths, prepare, least = itertools.cycle(golden_images(folder)), Preparer(spec), accepted.least()

    def from_file():
        return runner.infer(prepare(read_image(next(paths), spec.sixteen_bit, least)))

    samples = measure_ms(from_file, WARMUP, RUNS)
    summary, budget = summary_ms(samples), manifest.latency_budget_ms
    if budget is not None and summary["p50_ms"] > budget:
        raise VerifyError(
            "the median from the image file is %.2f ms, the bundle's budget is %g ms; is the board "
            "in its full power mode, and nothing else at work?" % (summary["p50_ms"], budget)
        )
    return dict(result, end_to_end_ms=summary, latency_budget_ms=budget)


def _classified(folder, manifest, runner, accepted):
    """How many golden images the service's own code prints a line of; it prints into memory here."""
    printed = io.StringIO()
    asked = Asked(top=1, accepted=accepted, decision=decision_for(folder, manifest, runner))
    classify(golden_images(folder), manifest, runner, asked, Progress(), printed)
    return printed.getvalue().count("\n")
