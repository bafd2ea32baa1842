"""Each command of deploy.sh, and what it says when it cannot be done."""

import os
import signal
import sys
from collections.abc import Sequence

from . import alerts, command_line, github, operate, options, release
from .command_line import UsageError
from .gcloud import Gcloud, GcloudError
from .say import Refused, error
from .source import SourceError
from .wanted import Wanted


def main(arguments: Sequence[str]) -> int:
    """Do as the command line says; 0 if it was done, 1 if not, 2 if it makes no sense."""
    # What gcloud has begun is ended with us.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        wanted = command_line.read(arguments, os.environ)
        if wanted is None:
            print(options.usage())
        else:
            _run(wanted, Gcloud(wanted.project, wanted.gcloud_timeout))
    except UsageError as mistake:
        error(f"{mistake}; see ./deploy.sh --help")
        return 2
    except Refused as refused:
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


def _run(wanted: Wanted, gcloud: Gcloud) -> None:
    if wanted.command == "stage":
        release.stage_for_any_host(wanted)
    elif wanted.command == "deploy":
        release.deploy(wanted, gcloud)
    elif wanted.command == "status":
        operate.status(wanted, gcloud)
    elif wanted.command == "rollback":
        operate.roll_back(wanted, gcloud)
    elif wanted.command == "logs":
        operate.logs(wanted, gcloud)
    elif wanted.command == "destroy":
        operate.destroy(wanted, gcloud)
    elif wanted.command == "alerts":
        alerts.make(wanted, gcloud)
    else:
        github.connect(wanted, gcloud)
