"""The model as Beam's `RunInference` holds it: loaded once in a process, asked through `scoring.score`."""

import resource
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.ml.inference import base
from apache_beam.ml.inference.base import ModelHandler

from shared.errors import ModelUnavailable
from shared.web.readers import Images
from shared.web.service import Service

from . import progress, requirements
from .errors import JobError
from .job import Job, Row
from .scoring import NULL, failed, load, score

NAMESPACE = "batch"
base.resource = resource  # Beam measures memory by it, but drops it together with PyTorch if that is not here
WEIGHT = 64_000
"""Bytes that count as one more row of a batch, so that no batch holds much more than 16 MB."""


class Handler(ModelHandler[Row, dict[str, Any], Service]):
    """Gives each row its score, and says there what is wrong with it.

    Beam's own way with an error sends the whole batch to the dead letters, so none may be raised here.
    """

    def __init__(self, job: Job, service: Service) -> None:
        # What a network holds of a batch grows with its images.
        most = 64 if isinstance(service.reader, Images) else 256
        super().__init__(max_batch_size=most, element_size_fn=weight, env_vars=_environment(job))
        self._name, self._prefix = job.name, job.prefix

    def load_model(self) -> Service:
        """Load the pinned model.

        Raises:
            JobError: this environment has other packages than the function.
            ModelUnavailable: the model cannot be had.
        """
        self.set_environment_vars()
        return ready(self._name)

    def run_inference(
        self,
        batch: Sequence[Row],
        model: Service,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Iterable[dict[str, Any]]:
        """Score a batch, and count what came out."""
        version = model.pin.version
        scores = iter(score(self._name, [value for _, value, error in batch if error is None]))
        scored, fates = [], Counter[str]()
        for columns, _, error in batch:
            result = failed(**error, version=version) if error else next(scores)
            result = result or failed(**NULL, version=version)
            fault = result["error"]
            fates[f"bad_{fault['code']}" if fault else "good"] += 1
            names = ("error", "model") if fault else ("label", "probabilities", "warnings", "model")
            scored.append({**columns, **{self._prefix + name: result[name] for name in names}})
        for fate, rows in fates.items():
            Metrics.counter(NAMESPACE, fate).inc(rows)
        progress.count(len(batch))
        return scored

    def get_num_bytes(self, batch: Sequence[Row]) -> int:
        return sum(map(_size, batch))  # Beam's own would pickle it

    def get_metrics_namespace(self) -> str:
        return NAMESPACE


def ready(name: str) -> Service:
    """Return the function `name` with its model in memory, in an environment that is the function's.

    Raises:
        JobError: it is not.
        ModelUnavailable: the model cannot be had.
    """
    try:
        requirements.check(name)
    except requirements.Mismatch as error:
        raise JobError(str(error)) from None
    service = load(name)
    try:
        service.classifier()
    except ModelUnavailable as error:
        raise JobError(f"the model of {name} cannot be loaded: {error}") from error
    return service


def weight(row: Row) -> int:
    """How many rows of a batch this one counts as."""
    return 1 + _size(row) // WEIGHT


def _size(row: Row) -> int:
    value = row[1]
    return len(value) if isinstance(value, str | bytes) else 0


def _environment(job: Job) -> dict[str, str]:
    return {"MODEL_STORE": job.store} if job.store else {}
