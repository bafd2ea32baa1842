"""Let a GitHub repository's workflows deploy, by Workload Identity Federation: there is no key to keep."""

import hashlib
import re
from typing import Any

from . import inspection, plan, queries
from .config import Config
from .console import info
from .execute import execute
from .gcloud import Gcloud, GcloudError, has_role, text
from .plan import Step

POOL, ACCOUNT = "github", "github-deployer"
ISSUER = "https://token.actions.githubusercontent.com"
APIS = ("iam", "iamcredentials", "sts", "cloudresourcemanager", "cloudbilling")
ROLES = (
    "roles/browser",  # read the project and its IAM policy
    "roles/serviceusage.serviceUsageAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/storage.admin",
    "roles/cloudfunctions.admin",
    "roles/run.admin",
    "roles/cloudbuild.builds.editor",
    "roles/artifactregistry.admin",
    "roles/logging.viewer",
)


def connect(config: Config, gcloud: Gcloud) -> None:
    """Create what is missing, and print the variables that the repository needs."""
    inspection.check_gcloud(gcloud)
    number = queries.project_number(gcloud)
    apis = queries.apis(gcloud)
    if missing := [api for api in dict.fromkeys((*APIS, *plan.APIS)) if api not in apis]:
        execute(config, gcloud, [plan.enable_apis(missing)])
    account = f"{ACCOUNT}@{config.project}.iam.gserviceaccount.com"
    on = "iam" in apis or not config.dry_run
    accounts = queries.accounts(gcloud) if on else frozenset()
    pool = _describe(gcloud, "describe", POOL) if on else None
    provider = provider_of(config.repository)
    known = (
        _describe(gcloud, "providers", "describe", provider, f"--workload-identity-pool={POOL}")
        if pool
        else None
    )
    steps = [*_account(accounts, account), *_pool(pool), *_provider(known, provider, config.repository)]
    steps += _roles(gcloud.one("projects", "get-iam-policy", config.project), config, account)
    path = f"projects/{number}/locations/global/workloadIdentityPools/{POOL}"
    policy: Any = {}
    if account in accounts:
        policy = gcloud.one("iam", "service-accounts", "get-iam-policy", account)
    workflows = f"principalSet://iam.googleapis.com/{path}/attribute.repository/{config.repository}"
    members = {
        workflows: "workloadIdentityUser",
        f"serviceAccount:{account}": "serviceAccountTokenCreator",  # for the identity token of the test call
    }
    for member, role in members.items():
        if not has_role(policy, member, f"roles/iam.{role}"):
            bind = ("iam", "service-accounts", "add-iam-policy-binding", account)
            steps.append(Step((*bind, f"--member={member}", f"--role=roles/iam.{role}"), patient=True))
    execute(config, gcloud, steps)
    if not steps:
        info(f"{config.repository}: unchanged")
    if not config.dry_run:
        values = {"PROJECT_ID": config.project, "REGION": config.region, "DEPLOY_ACCOUNT": account}
        values["WORKLOAD_IDENTITY_PROVIDER"] = f"{path}/providers/{provider}"
        for name, value in values.items():
            print(f"gh variable set {name} --repo {config.repository} --body {value}")


def provider_of(repository: str) -> str:
    """Return the provider's ID, unique per repository: 4 to 32 lower-case letters, digits and hyphens."""
    digest = hashlib.sha256(repository.lower().encode()).hexdigest()[:8]
    return f"{re.sub('[^a-z0-9]+', '-', repository.lower()).strip('-')[:20].strip('-')}-{digest}"


def _describe(gcloud: Gcloud, *arguments: str) -> dict[str, Any] | None:
    try:
        return gcloud.one("iam", "workload-identity-pools", *arguments, "--location=global")
    except GcloudError as error:
        if "NOT_FOUND" in error.text or "not found" in error.text.lower():
            return None
        raise


def _account(accounts: frozenset[str], account: str) -> list[Step]:
    if account in accounts:
        return []
    return [Step(("iam", "service-accounts", "create", ACCOUNT, "--display-name=Deploys from GitHub"))]


def _pool(pool: dict[str, Any] | None) -> list[Step]:
    if pool is None:
        create = ("iam", "workload-identity-pools", "create", POOL, "--location=global")
        return [Step((*create, "--display-name=GitHub"))]
    return _undelete(pool, POOL)


def _provider(known: dict[str, Any] | None, provider: str, repository: str) -> list[Step]:
    place = (f"--workload-identity-pool={POOL}", "--location=global")
    if known is not None:
        return _undelete(known, "providers", provider, *place[:1])
    return [
        Step(
            (
                *("iam", "workload-identity-pools", "providers", "create-oidc", provider, *place),
                f"--issuer-uri={ISSUER}",
                "--attribute-mapping=google.subject=assertion.sub,attribute.repository=assertion.repository",
                f"--attribute-condition=assertion.repository == '{repository}'",
            )
        )
    ]


def _undelete(resource: dict[str, Any], *arguments: str) -> list[Step]:
    """Restore a deleted one: for 30 days its name cannot be reused."""
    if text(resource, "state") != "DELETED":
        return []
    words = list(arguments)
    words.insert(1 if words[0] == "providers" else 0, "undelete")
    return [Step(("iam", "workload-identity-pools", *words, "--location=global"))]


def _roles(policy: Any, config: Config, account: str) -> list[Step]:
    member = f"serviceAccount:{account}"
    bind = ("projects", "add-iam-policy-binding", config.project, f"--member={member}", "--condition=None")
    return [
        Step((*bind, f"--role={role}"), patient=True) for role in ROLES if not has_role(policy, member, role)
    ]
