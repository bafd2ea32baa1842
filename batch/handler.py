"""The model handler of Beam's `RunInference`: loads the model once a process, calls `scoring.score`."""

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
base.resource = resource  # Beam measures memory with it, but does not import it if PyTorch is missing
WEIGHT = 64_000
"""Bytes that count as one more row of a batch, so that no batch has much more than 16 MB."""


class Handler(ModelHandler[Row, dict[str, Any], Service]):
    """Gives each row its score or its error.

    If this raised an error, Beam would send the whole batch to the dead letters.
    """

    def __init__(self, job: Job, service: Service) -> None:
        # The memory that a network needs grows with the images of a batch.
        most = 64 if isinstance(service.reader, Images) else 256
        super().__init__(max_batch_size=most, element_size_fn=weight, env_vars=_environment(job))
        self._name, self._prefix = job.name, job.prefix

    def load_model(self) -> Service:
        """Load the pinned model.

        Raises:
            JobError: this environment does not have the function's packages, or the model cannot be loaded.
        """
        self.set_environment_vars()
        return ready(self._name)

    def run_inference(
        self,
        batch: Sequence[Row],
        model: Service,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Iterable[dict[str, Any]]:
        """Score a batch, and count the good rows and the errors."""
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
        return sum(map(_size, batch))  # Beam's own method would pickle the batch

    def get_metrics_namespace(self) -> str:
        return NAMESPACE


def ready(name: str) -> Service:
    """Check that this environment has a function's packages; return it with its model in memory.

    Raises:
        JobError: the packages differ, or the model cannot be loaded.
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
    """How many rows this row counts as in the size of a batch."""
    return 1 + _size(row) // WEIGHT


def _size(row: Row) -> int:
    value = row[1]
    return len(value) if isinstance(value, str | bytes) else 0


def _environment(job: Job) -> dict[str, str]:
    return {"MODEL_STORE": job.store} if job.store else {}
