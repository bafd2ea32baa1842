"""The configuration of one run: its command and all options."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""


@dataclass(frozen=True)
class Config:
    """A parsed command line and its environment. The fields after `repository` are `options.OPTIONS`.

    Attributes:
        command: deploy, status, rollback, logs, alerts, bigquery, batch, destroy, stage or github.
        names: the functions that the command is about.
        folder: where `stage` writes.
        repository: the GitHub repository, as OWNER/REPO.
        memory: in Google's notation, such as 512Mi; empty: what the model needs.
        cpu: whole CPUs; 0: what the memory needs.
        max_batching_rows: the most rows in one call of BigQuery; 0: what fits the kind of input.
        canary: percent of the traffic that a new revision gets; None: all.
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
    dataset: str
    max_batching_rows: int
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
        """The model store of the functions; empty if the models are deployed with the code."""
        return f"gs://{self.bucket}/{self.prefix}" if self.bucket else ""

    @property
    def open(self) -> bool:
        """Whether Google lets every request through; with sign-in, the function then verifies the user."""
        return self.public or bool(self.sign_in)

    @property
    def checks(self) -> dict[str, str]:
        """The settings with which the function itself verifies its callers."""
        settings = {
            "SIGN_IN": self.sign_in,
            "SIGN_IN_AUDIENCE": self.sign_in_audience,
            "SIGN_IN_ALLOW": self.sign_in_allow,
            "FIREBASE_CONFIG": self.firebase_config,
            "APP_CHECK": self.app_check,
            "RATE_LIMIT": self.rate_limit,
        }
        return {name: value for name, value in settings.items() if value}

    def account(self, name: str) -> str:
        """Return the service account that a function runs as."""
        return f"{name}-fn@{self.project}.iam.gserviceaccount.com"
