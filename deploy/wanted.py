"""What one run is to bring about."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""


@dataclass(frozen=True)
class Wanted:
    """A command line and its environment. Each field below `repository` is an option of `options.OPTIONS`.

    Attributes:
        command: deploy, status, rollback, logs, alerts, destroy, stage or github.
        names: the functions that are meant.
        folder: where `stage` writes.
        repository: the GitHub repository, as OWNER/REPO.
        memory: as Google writes it, such as 512Mi; empty: what the model needs.
        cpu: whole CPUs; 0: what the memory needs.
        canary: percent of the traffic for a new revision; None: all.
    """

    command: str
    names: tuple[str, ...]
    folder: Path
    repository: str
    project: str
    region: str
    bucket: str
    prefix: str
    origins: str
    public: bool
    sign_in: str
    sign_in_audience: str
    sign_in_allow: str
    firebase_config: str
    app_check: str
    rate_limit: str
    user_token: str
    to: str
    runtime: str
    memory: str
    cpu: int
    concurrency: int
    min_instances: int
    max_instances: int
    timeout: int
    canary: int | None
    invoker: str
    email: str
    follow: bool
    errors: bool
    fix: bool
    allow_dirty: bool
    dry_run: bool
    with_bucket: bool
    yes: bool
    patience: int
    gcloud_timeout: int

    @property
    def store(self) -> str:
        """Where the functions find their models; empty: beside their code."""
        return f"gs://{self.bucket}/{self.prefix}" if self.bucket else ""

    @property
    def open(self) -> bool:
        """Whether Google lets anyone's request through: those of users who sign in the function checks."""
        return self.public or bool(self.sign_in)

    @property
    def checks(self) -> dict[str, str]:
        """The settings by which the function itself checks its callers."""
        found = {
            "SIGN_IN": self.sign_in,
            "SIGN_IN_AUDIENCE": self.sign_in_audience,
            "SIGN_IN_ALLOW": self.sign_in_allow,
            "FIREBASE_CONFIG": self.firebase_config,
            "APP_CHECK": self.app_check,
            "RATE_LIMIT": self.rate_limit,
        }
        return {name: value for name, value in found.items() if value}

    def account(self, name: str) -> str:
        """The service account that a function runs as."""
        return f"{name}-fn@{self.project}.iam.gserviceaccount.com"
