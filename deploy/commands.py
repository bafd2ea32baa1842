"""Each command of deploy.sh, and what it says when it cannot be done."""

import os
import signal
import sys
from collections.abc import Sequence

from . import alerts, batch, command_line, github, operate, options, release
from .bigquery import commands as bigquery
from .command_line import UsageError
from .config import Config
from .console import DeployError, error
from .gcloud import Gcloud, GcloudError
from .source import SourceError


def main(arguments: Sequence[str]) -> int:
    """Do as the command line says; 0 if it was done, 1 if not, 2 if it makes no sense."""
    # What gcloud has begun is ended with us.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        config = command_line.read(arguments, os.environ)
        if config is None:
            print(options.usage())
        else:
            _run(config, Gcloud(config.project, config.gcloud_timeout))
    except UsageError as mistake:
        error(f"{mistake}; see ./deploy.sh --help")
        return 2
    except DeployError as refused:
        for line in refused.lines:
            error(line)
        return 1
    except (GcloudError, SourceError) as failure:
        error(str(failure))
        return 1
    except BrokenPipeError:  # nobody reads the log lines any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as failure:
        error(f"{failure.filename or 'this machine'}: {failure.strerror or failure}: mend it, and try again")
        return 1
    except KeyboardInterrupt:
        error("interrupted: run it again to go on")
        return 130
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(config: Config, gcloud: Gcloud) -> None:
    if config.command == "stage":
        release.stage_for_any_host(config)
    elif config.command == "deploy":
        release.deploy(config, gcloud)
    elif config.command == "status":
        operate.status(config, gcloud)
    elif config.command == "rollback":
        operate.roll_back(config, gcloud)
    elif config.command == "logs":
        operate.logs(config, gcloud)
    elif config.command == "destroy":
        operate.destroy(config, gcloud)
    elif config.command == "alerts":
        alerts.create(config, gcloud)
    elif config.command == "bigquery":
        bigquery.create(config, gcloud)
    elif config.command == "batch":
        batch.build(config, gcloud)
    else:
        github.connect(config, gcloud)
