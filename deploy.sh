#!/usr/bin/env bash
#
# From a clean checkout to working HTTPS functions on Google Cloud, and back. See --help.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT
# shellcheck source=deploy/common.sh
source "${ROOT}/deploy/common.sh"
# shellcheck source=deploy/checks.sh
source "${ROOT}/deploy/checks.sh"
# shellcheck source=deploy/store.sh
source "${ROOT}/deploy/store.sh"
# shellcheck source=deploy/stage.sh
source "${ROOT}/deploy/stage.sh"
# shellcheck source=deploy/release.sh
source "${ROOT}/deploy/release.sh"
# shellcheck source=deploy/appengine.sh
source "${ROOT}/deploy/appengine.sh"
# shellcheck source=deploy/operate.sh
source "${ROOT}/deploy/operate.sh"

usage() {
  cat <<'EOF'
usage: PROJECT_ID=my-project ./deploy.sh [COMMAND] [OPTION ...]

commands
  malaria | review | all   deploy one function, or all of them (the default)
  status                   URL, revision, commit, model version and readiness of each
  rollback NAME            send all traffic to the revision before the one that has it
  logs NAME                the last log lines
  destroy                  delete the functions and their service accounts; the bucket stays
  stage NAME DIR           write what is uploaded to DIR, for another host; with the model, unless BUCKET is given

options, each also an environment variable
  --project ID             PROJECT_ID
  --region REGION          REGION         default europe-west1
  --bucket NAME            BUCKET         default PROJECT_ID-models; holds the models
  --prefix PREFIX          PREFIX         default models; where in the bucket they lie
  --origins LIST           ALLOWED_ORIGINS  web pages that may call, comma separated, or *
  --public                 PUBLIC=1       anyone may call; without it, only who has roles/run.invoker
  --to TARGET              TARGET         functions (default), run or appengine
  --runtime RUNTIME        RUNTIME        default python311, on which the tests run
  --memory SIZE            MEMORY         default 512Mi; 2Gi for keras and h5, 1Gi for joblib
  --cpu N                  CPU            default 1; as many workers serve
  --concurrency N          CONCURRENCY    default 8; as many threads serve
  --min-instances N        MIN_INSTANCES  default 0: nothing to pay when idle
  --max-instances N        MAX_INSTANCES_PER_FUNCTION  default 4
  --timeout SECONDS        TIMEOUT        default 60
  --canary PERCENT         CANARY         give a new revision that much traffic, the old one the rest
  --invoker ACCOUNT        INVOKER        a service account to make the test calls as
  --dry-run                DRY_RUN=1      look, and print what would be done
  --with-bucket            WITH_BUCKET=1  destroy the bucket with all its models too
  --yes                    YES=1          do not ask before destroying
EOF
}

main() {
  ((BASH_VERSINFO[0] >= 4)) || die "bash 4 or newer is needed, this is ${BASH_VERSION}"
  parse_arguments "$@"
  command -v python3 >/dev/null || die "python3 is not installed: see https://www.python.org/downloads"
  read_pins
  case "${COMMAND}" in
    deploy) deploy_all ;;
    stage) check_tree && stage "${TARGETS[0]}" "${STAGE_DIR}" && say "staged in ${STAGE_DIR}" ;;
    *)
      check_tools
      check_project
      case "${COMMAND}" in
        status) show_status ;;
        rollback) roll_back "${TARGETS[0]}" ;;
        logs) show_logs "${TARGETS[0]}" ;;
        destroy) destroy ;;
      esac
      ;;
  esac
}

main "$@"
