"""Let SQL call a deployed function, and take that back.

A remote function lies in a dataset and calls through a connection in the dataset's location, as the service
account of that connection. The connection's description names the datasets, so that `destroy` finds them.
"""

from typing import Any

from shared.example import Example

from .. import inspection, plan, queries
from ..config import ROOT, Config
from ..console import DeployError, info
from ..execute import execute
from ..gcloud import Bq, Gcloud, GcloudError, objects, text
from ..plan import Step
from ..report import same_place
from ..smoke_test import identity_token, request
from ..state import Service, State
from . import resources
from .function import RemoteFunction, connection_of, locations, name_in_sql, remote_function

APIS = ("bigquery", "bigqueryconnection")


def create(config: Config, gcloud: Gcloud) -> None:
    """Create what is missing or differs: the connection, its role on this function, the remote function.

    Raises:
        DeployError: the deployed function, or the dataset, cannot be used.
    """
    [name] = config.names
    bq = gcloud.bq
    inspection.check_gcloud(gcloud)
    queries.project_number(gcloud)
    apis = queries.apis(gcloud)
    service = _deployed(config, gcloud, name, apis)
    _check_path(config, gcloud, name, service.url)
    missing = [each for each in APIS if each not in apis]
    if "bigquery" in missing:
        raise DeployError(
            ["BigQuery's API is off: run 'gcloud services enable bigquery.googleapis.com' first"]
        )
    location = resources.location(config, bq)
    example = Example.read(ROOT / "functions" / name)
    function = remote_function(config, name, example, service.url, location)
    routine = resources.routine(bq, function)
    # While its API is off there is no connection, and none can be read.
    connection = None if missing else resources.connection(bq, function)
    enable = [plan.enable_apis(missing)] if missing else []
    steps = [*enable, *_connect(function, name, connection)]
    execute(config, gcloud, steps)
    if connection is None and not config.dry_run:
        connection = resources.connection(bq, function)
    account = text(connection, "cloudResource", "serviceAccountId") or "ACCOUNT"
    more = [*_grant(config, name, account, service), *_define(function, routine)]
    execute(config, gcloud, more)
    if not steps and not more:
        info(f"{function.dataset}.{function.name}: unchanged")
    if not config.dry_run:
        print(
            f"{function.dataset}.{function.name}: calls {function.endpoint}, {function.rows} rows at a time"
        )
        print(f"  call  {function.usage}")
        print(f"  undo  ./deploy.sh destroy{same_place(config)}", flush=True)


def _deployed(config: Config, gcloud: Gcloud, name: str, apis: frozenset[str]) -> Service:
    """Return the deployed function; warn if anyone may call it.

    Raises:
        DeployError: it is not deployed, or refuses BigQuery's calls.
    """
    services = queries.run_services(gcloud, config) if "run" in apis else {}
    service = queries.service(services.get(name, {}))
    if not service.url:
        deploy = f"./deploy.sh {name}{same_place(config)}"
        raise DeployError([f"{name} is not deployed in {config.region}: run '{deploy}' first"])
    if checks := [each for each in ("SIGN_IN", "APP_CHECK") if service.settings.get(each)]:
        raise DeployError(
            [
                f"{name} verifies its callers ({', '.join(checks)}), and BigQuery cannot sign in: deploy it "
                "without --sign-in and --app-check, or a private copy of it under another name"
            ]
        )
    callers = queries.callers(gcloud, config, name)
    if {"allUsers", "allAuthenticatedUsers"} & {*callers}:
        info(
            f"warning: {name} is public: anyone may call it, at your expense. BigQuery can also call a "
            f"private function: run './deploy.sh {name}{same_place(config)}' without --public"
        )
    if rate := service.settings.get("RATE_LIMIT"):
        info(f"warning: RATE_LIMIT={rate} also limits BigQuery's calls: a query over many rows may fail")
    return Service(url=service.url, callers=callers)


def _check_path(config: Config, gcloud: Gcloud, name: str, url: str) -> None:
    """Check that the deployed commit answers on the path that BigQuery calls.

    Raises:
        DeployError: it does not.
    """
    try:
        token = identity_token(config, gcloud, url)
    except GcloudError:
        token = ""  # a public function needs none; of a private one the status says nothing then
    status, _ = request(f"{url}/bigquery", token, {"calls": []})
    if status in (404, 405):
        deploy = f"./deploy.sh {name}{same_place(config)}"
        raise DeployError([f"the deployed commit of {name} has no path /bigquery: run '{deploy}' first"])


def _connect(function: RemoteFunction, name: str, connection: Any) -> list[Step]:
    """Create the connection, or add the dataset to its description."""
    known = resources.datasets_of(connection)
    if function.dataset in known:
        return []
    description = f"--description={resources.MARK}{' '.join([*known, function.dataset])}"
    place = f"--location={function.location}"
    kind = ("--connection_type=CLOUD_RESOURCE", f"--display_name=Calls the function {name}")
    verb = ("update", "--connection") if connection else ("mk", "--connection", *kind)
    return [
        Step(
            (*verb, place, description, function.connection),
            hint="you need roles/bigquery.connectionAdmin",
            program="bq",
        )
    ]


def _grant(config: Config, name: str, account: str, service: Service) -> list[Step]:
    """Let the connection's service account call this function, and no other."""
    member = f"serviceAccount:{account}"
    if member in service.callers:
        return []
    bind = ("run", "services", "add-iam-policy-binding", name, f"--region={config.region}")
    return [Step((*bind, f"--member={member}", f"--role={queries.INVOKER}"), patient=True)]


def _define(function: RemoteFunction, routine: Any) -> list[Step]:
    """Create the remote function, or replace one that differs."""
    if routine and function.is_same(routine):
        return []
    query = ("query", f"--location={function.location}", "--use_legacy_sql=false", function.statement)
    hint = "you need roles/bigquery.user, and roles/bigquery.dataEditor on the dataset"
    return [Step(query, hint=hint, program="bq")]


def created(config: Config, gcloud: Gcloud, state: State) -> list[tuple[str, dict[str, Any]]]:
    """Return the connections that were created here and may be these functions', each with its location."""
    result: list[tuple[str, dict[str, Any]]] = []
    if not state.apis.issuperset(APIS):
        return result
    try:
        for location in map(str.lower, locations(config.region)):
            command = ("ls", "--connection", "--max_results=1000", f"--location={location}")
            listed = objects({"connections": gcloud.bq(*command)}, "connections")
            result += [(location, each) for each in listed if resources.is_ours(each)]
    except GcloudError as error:
        info(f"warning: SQL functions in BigQuery are not deleted, if there are any: {error}")
    return result


def to_delete(config: Config, bq: Bq, name: str, location: str, connection: Any) -> list[tuple[str, Step]]:
    """Return a line and a step for each thing to delete, if the connection is this function's."""
    own = connection_of(name, config.region)
    if text(connection, "name").rpartition("/")[2] != own:
        return []
    result = []
    for dataset in resources.datasets_of(connection):
        routine = f"{config.project}:{dataset}.{name_in_sql(name)}"
        if resources.connected_routine(bq, routine, location, own):
            remove = Step(("rm", "--routine", "--force", routine), program="bq")
            result.append((f"BigQuery function {routine}", remove))
    remove = Step(("rm", "--connection", "--force", f"--location={location}", own), program="bq")
    return [*result, (f"BigQuery connection {location}.{own}", remove)]
