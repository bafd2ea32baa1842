"""Run the commands of deploy.sh, and report their errors."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from . import alerts, batch, command_line, github, operate, options, release
from .bigquery import commands as bigquery
from .command_line import UsageError
from .config import Config
from .console import DeployError, error
from .destroy import destroy
from .gcloud import Gcloud, GcloudError
from .source import SourceError

COMMANDS: Mapping[str, Callable[[Config, Gcloud], None]] = {
    "deploy": release.deploy,
    "status": operate.status,
    "rollback": operate.roll_back,
    "logs": operate.logs,
    "alerts": alerts.create,
    "destroy": destroy,
    "bigquery": bigquery.create,
    "batch": batch.build,
    "stage": release.stage_for_any_host,
    "github": github.connect,
}


def main(arguments: Sequence[str]) -> int:
    """Run a command line; return 0 on success, 1 on failure, 2 if it is invalid."""
    # As with Ctrl-C, the gcloud that is running is killed too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        config = command_line.read(arguments, os.environ)
        if config is None:
            print(options.usage())
        else:
            COMMANDS[config.command](config, Gcloud(config.project, config.gcloud_timeout))
    except UsageError as usage:
        error(f"{usage}; see ./deploy.sh --help")
        return 2
    except DeployError as refused:
        for line in refused.lines:
            error(line)
        return 1
    except (GcloudError, SourceError) as failure:
        error(str(failure))
        return 1
    except BrokenPipeError:  # the reader of the log lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as failure:
        error(f"{failure.filename or 'this machine'}: {failure.strerror or failure}: fix it, then try again")
        return 1
    except KeyboardInterrupt:
        error("interrupted: run it again to continue")
        return 130
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
