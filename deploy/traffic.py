"""Choose revisions of a Cloud Run service: pure functions on Google's descriptions."""

from collections.abc import Mapping, Sequence
from typing import Any

from .gcloud import objects, text


def traffic(service: Mapping[str, Any]) -> dict[str, int]:
    """Return the percent of the traffic by revision, largest first."""
    shares: dict[str, int] = {}
    for target in objects(service, "status", "traffic"):
        name = text(target, "revisionName") or latest(service)
        shares[name] = shares.get(name, 0) + int(target.get("percent") or 0)
    return {name: shares[name] for name in sorted(shares, key=lambda name: -shares[name]) if shares[name]}


def latest(service: Mapping[str, Any]) -> str:
    """Return the revision that was deployed last and is ready."""
    return text(service, "status", "latestReadyRevisionName")


def follows_latest(service: Mapping[str, Any]) -> bool:
    """Return whether the latest revision gets all traffic, also after the next deployment."""
    targets = [each for each in objects(service, "spec", "traffic") if each.get("percent")]
    return all(each.get("latestRevision") for each in targets)


def rollback_target(
    service: Mapping[str, Any], revisions: Sequence[Mapping[str, Any]]
) -> tuple[str | None, str | None]:
    """Return the newest revision with traffic, and the one to go back to.

    During a split that is the other one, else the ready revision before it.
    """
    shares = [*traffic(service)]
    ready = [text(each, "metadata", "name") for each in _newest_first(revisions) if _is_ready(each)]
    newest = next((name for name in ready if name in shares), shares[0] if shares else None)
    earlier = ready[ready.index(newest) + 1 :] if newest in ready else []
    return newest, next((name for name in [*shares, *earlier] if name != newest), None)


def _newest_first(revisions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort revisions, newest first; names decide within one second."""

    def age(revision: Mapping[str, Any]) -> tuple[str, str]:
        return text(revision, "metadata", "creationTimestamp"), text(revision, "metadata", "name")

    return sorted(revisions, key=age, reverse=True)


def _is_ready(revision: Mapping[str, Any]) -> bool:
    """Return whether the revision is ready."""
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in objects(revision, "status", "conditions")
    )
