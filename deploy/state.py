"""The current state of a project, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Service:
    """A deployed function.

    Attributes:
        state: in Google's words: ACTIVE, FAILED, DEPLOYING, or True and False.
        source: the fingerprint of what was deployed.
        url: its URL.
        traffic: percent by revision, largest first.
        latest: the revision that was deployed last and is ready.
        follows_latest: whether all traffic goes to the latest revision.
        owner: the other product that has this name: `cloudfunctions` or `run`; empty if none.
        callers: the members with `roles/run.invoker` on it.
        settings: the environment variables of the latest deployment.
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
    settings: Mapping[str, str] = field(default_factory=dict)

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
        """The revision with the most traffic."""
        return next(iter(self.traffic), "")

    @property
    def other(self) -> str:
        """The revision with the most traffic except the latest."""
        return next((name for name in self.traffic if name != self.latest), "")


@dataclass(frozen=True)
class Version:
    """A version of an App Engine service."""

    service: str
    name: str
    share: float
    url: str
    account: str = ""


@dataclass(frozen=True)
class Workload:
    """Something that is deployed anywhere in the project.

    Attributes:
        name: the name of the Cloud Run service, or of the App Engine version.
        place: its region, or `App Engine`.
        account: the service account that it runs as.
        store: its MODEL_STORE; empty if it has none, or if Google does not list it.
    """

    name: str
    place: str
    account: str
    store: str = ""


@dataclass(frozen=True)
class State:
    """What deploying needs to know of a project.

    Attributes:
        number: the project's number.
        billing: whether billing is on, or why that cannot be read.
        apis: the enabled APIs, such as `run`.
        builder: the build account.
        may_build: whether it may build, or why that cannot be read.
        accounts: email addresses of service accounts.
        bucket: `there`, `missing`, or `taken` by somebody else.
        readers: members that may read the bucket's objects.
        objects: sizes in bytes by name, below the prefix.
        services: what is deployed to the target, and what else has its name, by name.
        app: App Engine's versions; None if there is no application.
        others: what stays deployed in the project, for `destroy`.
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
    others: tuple[Workload, ...] = ()

    def users_of(self, account: str) -> tuple[Workload, ...]:
        """Return the others that run as this service account."""
        return tuple(each for each in self.others if each.account == account)

    def readers_of(self, bucket: str) -> tuple[Workload, ...]:
        """Return the others that have their models in this bucket, as far as can be seen."""
        return tuple(
            each
            for each in self.others
            if each.store.startswith(f"gs://{bucket}/")
            or (not each.store and f"serviceAccount:{each.account}" in self.readers)
        )
