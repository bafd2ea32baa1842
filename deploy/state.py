"""What is there, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
        settings: the environment of what was deployed last.
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
class State:
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
