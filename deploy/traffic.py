"""Which revision of a Cloud Run service is meant, from what `gcloud ... --format=json` says of it.

    python3 deploy/traffic.py serving|latest|other SERVICE
    python3 deploy/traffic.py newest|before SERVICE REVISIONS
    python3 deploy/traffic.py shares SERVICES NAME

`serving` has the most traffic, `latest` was deployed last, `other` has the most traffic but for the latest;
`newest` is the newest that has traffic, and `before` what had it before that: the other one of a split, else
the ready revision before it. Exits with 1 where there is none. Needs Python alone.
"""

import json
import sys
from typing import Any


def main() -> int:
    """Print what is asked for."""
    which, content, *more = sys.argv[1:]
    given = json.loads(content)
    if which == "shares":
        [given] = [each for each in given if each["metadata"]["name"] == more[0]]
        print(", ".join(f"{name} {percent} %" for name, percent in traffic(given).items()))
        return 0
    found = choose(which, given, *map(json.loads, more))
    print(found or "", end="\n" if found else "")
    return 0 if found else 1


def traffic(service: dict[str, Any]) -> dict[str, int]:
    """Revisions by their percentage, the largest first."""
    shares: dict[str, int] = {}
    for target in service["status"]["traffic"]:
        name = target.get("revisionName") or service["status"]["latestReadyRevisionName"]
        shares[name] = shares.get(name, 0) + target.get("percent", 0)
    return {name: shares[name] for name in sorted(shares, key=lambda name: -shares[name]) if shares[name]}


def choose(which: str, service: dict[str, Any], revisions: list[dict[str, Any]] | None = None) -> str | None:
    """The revision that is meant, None where there is none."""
    shares = [*traffic(service)]
    latest = str(service["status"]["latestReadyRevisionName"])
    if which == "latest":
        return latest
    if which == "serving":
        return shares[0]
    if which == "other":
        return next((name for name in shares if name != latest), None)
    ready = [each["metadata"]["name"] for each in newest_first(revisions or []) if is_ready(each)]
    newest = next((name for name in ready if name in shares), shares[0])
    if which == "newest":
        return newest
    earlier = ready[ready.index(newest) + 1 :] if newest in ready else []
    return next((name for name in [*shares, *earlier] if name != newest), None)


def newest_first(revisions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Revisions by age; the names of those of one second go up too."""

    def age(revision: dict[str, Any]) -> tuple[str, str]:
        return revision["metadata"]["creationTimestamp"], revision["metadata"]["name"]

    return sorted(revisions, key=age, reverse=True)


def is_ready(revision: dict[str, Any]) -> bool:
    """Whether it could start."""
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in revision["status"]["conditions"]
    )


if __name__ == "__main__":
    sys.exit(main())
