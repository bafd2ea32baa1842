"""What is there: looked at once, before anything is decided, and again after an API was switched on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import traffic
from .gcloud import Gcloud, GcloudError, dig, holds, text
from .options import Wanted

READER = "roles/storage.objectViewer"
INVOKER = "roles/run.invoker"
BUILDERS = ("roles/cloudbuild.builds.builder", "roles/editor", "roles/owner")


@dataclass(frozen=True)
class Service:
    """A function that is deployed.

    Attributes:
        state: as Google says it: ACTIVE, FAILED, DEPLOYING, or True and False.
        source: the fingerprint of what was deployed.
        url: where it answers.
        traffic: percent by revision, the largest first.
        latest: the revision that was deployed last.
        follows_latest: whether that one has all the traffic.
        owner: what made the service, if it is not its own: `cloudfunctions`.
        public: whether anyone may call.
        callers: who has `roles/run.invoker` on it.
    """

    state: str = ""
    source: str = ""
    commit: str = ""
    url: str = ""
    traffic: Mapping[str, int] = field(default_factory=dict)
    latest: str = ""
    follows_latest: bool = True
    owner: str = ""
    callers: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether its last deployment succeeded."""
        return self.state in ("ACTIVE", "True")

    @property
    def public(self) -> bool:
        """Whether anyone may call."""
        return "allUsers" in self.callers

    @property
    def serving(self) -> str:
        """The revision with most of the traffic."""
        return next(iter(self.traffic), "")

    @property
    def other(self) -> str:
        """The revision with most of the traffic but for the latest."""
        return next((name for name in self.traffic if name != self.latest), "")


@dataclass(frozen=True)
class Version:
    """A version of an App Engine service."""

    service: str
    name: str
    share: float
    url: str


@dataclass(frozen=True)
class There:
    """A project, as far as functions are concerned.

    Attributes:
        number: the project's number.
        billing: whether billing is on; a text if that cannot be seen: why.
        apis: what is enabled, such as `run`.
        builder: the account that builds.
        may_build: whether it may; a text if that cannot be seen: why.
        accounts: addresses of service accounts.
        bucket: `there`, `missing`, or `taken` by somebody else.
        readers: who may read the bucket's objects.
        objects: sizes in bytes by name, below the prefix.
        services: what is deployed to the target, and what else is in its way, by name.
        app: App Engine's versions; None if there is no application.
    """

    number: str = ""
    billing: bool | str = True
    apis: frozenset[str] = frozenset()
    builder: str = ""
    may_build: bool | str = True
    accounts: frozenset[str] = frozenset()
    bucket: str = "missing"
    readers: frozenset[str] = frozenset()
    objects: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    app: tuple[Version, ...] | None = None


class NoProject(GcloudError):
    """The project cannot be looked at; there is no use in looking further."""


def project_number(gcloud: Gcloud) -> str:
    """The project's number.

    Raises:
        NoProject: nobody is signed in, or the project is not theirs.
    """
    try:
        number = text(gcloud.one("projects", "describe", gcloud.project), "projectNumber")
    except GcloudError as error:
        told = error.text.lower()
        if any(sign in told for sign in ("active account", "auth login", "credential", "reauth")):
            raise NoProject("you are not signed in: run 'gcloud auth login'") from None
        if "permission" in told or "not exist" in told or "not found" in told:
            raise NoProject(
                f"project {gcloud.project} is not there or not yours: see 'gcloud projects list'"
            ) from None
        raise
    if not number:
        raise NoProject(
            f"gcloud projects describe {gcloud.project}: expected a number, got none: run it by hand"
        )
    return number


def apis(gcloud: Gcloud) -> frozenset[str]:
    """The enabled APIs, without their common ending."""
    found = gcloud.rows("services", "list", "--enabled")
    return frozenset(text(each, "config", "name").removesuffix(".googleapis.com") for each in found)


def billing(gcloud: Gcloud) -> bool | str:
    """Whether billing is on, or why that cannot be seen."""
    try:
        return dig(gcloud.one("billing", "projects", "describe", gcloud.project), "billingEnabled") is True
    except GcloudError as error:
        if "permission" in error.text.lower():
            return str(error)
        raise


def builder(gcloud: Gcloud, wanted: Wanted, number: str, cloudbuild: bool) -> tuple[str, bool | str]:
    """The account that builds, and whether it may, or why that cannot be seen.

    Without the role the build of a function fails, minutes later and without naming it.
    """
    account = f"{number}-compute@developer.gserviceaccount.com"
    try:
        policy = gcloud.one("projects", "get-iam-policy", gcloud.project)
    except GcloudError as error:
        if "permission" in error.text.lower():
            return account, str(error)
        raise
    if holds(policy, f"serviceAccount:{account}", *BUILDERS):
        return account, True
    if cloudbuild:  # older projects build as another account
        found = gcloud.one("builds", "get-default-service-account", f"--region={wanted.region}")
        account = text(found, "serviceAccountEmail").rpartition("/")[2] or account
    return account, holds(policy, f"serviceAccount:{account}", *BUILDERS)


def accounts(gcloud: Gcloud) -> frozenset[str]:
    """The addresses of the project's service accounts."""
    return frozenset(text(each, "email") for each in gcloud.rows("iam", "service-accounts", "list"))


def bucket(gcloud: Gcloud, name: str) -> tuple[str, frozenset[str]]:
    """Whether the bucket is there, and who may read its objects."""
    try:
        policy = gcloud.one("storage", "buckets", "get-iam-policy", f"gs://{name}")
    except GcloudError as error:
        if "404" in error.text or "not found" in error.text.lower():
            return "missing", frozenset()
        if "permission" in error.text.lower() or "403" in error.text:
            return "taken", frozenset()
        raise
    members = [
        each.get("members") or [] for each in policy.get("bindings") or [] if each.get("role") == READER
    ]
    return "there", frozenset(member for group in members for member in group)


def objects(gcloud: Gcloud, wanted: Wanted) -> dict[str, int]:
    """Sizes of the bucket's objects below the prefix, by name."""
    try:
        found = gcloud.rows("storage", "objects", "list", f"{wanted.store}/**")
    except GcloudError as error:
        if "matched no objects" in error.text:
            return {}
        raise
    return {text(each, "name"): int(dig(each, "size") or 0) for each in found}


def run_services(gcloud: Gcloud, wanted: Wanted) -> dict[str, dict[str, Any]]:
    """The Cloud Run services of the region, by name, as Google describes them."""
    found = gcloud.rows("run", "services", "list", f"--region={wanted.region}")
    return {text(each, "metadata", "name"): each for each in found}


def service(resource: Mapping[str, Any]) -> Service:
    """A Cloud Run service, as Google describes it."""
    labels = dig(resource, "metadata", "labels")
    conditions = dig(resource, "status", "conditions") or [{}]
    return Service(
        state=text(conditions[0], "status"),
        source=text(labels, "source"),
        commit=text(labels, "commit"),
        url=text(resource, "status", "url"),
        traffic=traffic.traffic(resource),
        latest=traffic.latest(resource),
        follows_latest=traffic.follows_latest(resource),
        owner=text(labels, "goog-managed-by"),
    )


def callers(gcloud: Gcloud, wanted: Wanted, name: str) -> tuple[str, ...]:
    """Who may call a Cloud Run service by a role on it."""
    policy = gcloud.one("run", "services", "get-iam-policy", name, f"--region={wanted.region}")
    bindings = [each for each in policy.get("bindings") or [] if each.get("role") == INVOKER]
    return tuple(sorted({member for each in bindings for member in each.get("members") or []}))
