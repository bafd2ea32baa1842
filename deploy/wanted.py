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

    def account(self, name: str) -> str:
        """The service account that a function runs as."""
        return f"{name}-fn@{self.project}.iam.gserviceaccount.com"
