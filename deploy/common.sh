# shellcheck shell=bash
# Arguments, messages, and the one way in which anything is changed.

# shellcheck disable=SC2034 # read in checks.sh
readonly GCLOUD_NEEDED=500

say() { printf '%s\n' "$*" >&2; }

# An error is one line that says how to mend it.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Runs a command that changes something; in a dry run, prints it.
run() {
  if [[ "${DRY_RUN}" == 1 ]]; then
    printf '%q ' "$@" | sed 's/ $//'
    printf '\n'
  else
    "$@"
  fi
}

# A field of a function's pin, empty where it has none.
pin() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))' \
    "${ROOT}/functions/$1/model.json" "$2"
}

function_names() {
  local main
  for main in "${ROOT}"/functions/*/main.py; do
    basename "$(dirname "${main}")"
  done
}

is_function() { [[ -f "${ROOT}/functions/$1/main.py" ]]; }

service_account() { printf '%s-fn@%s.iam.gserviceaccount.com' "$1" "${PROJECT_ID}"; }

parse_arguments() {
  PROJECT_ID="${PROJECT_ID:-}"
  REGION="${REGION:-europe-west1}"
  BUCKET="${BUCKET:-}"
  PREFIX="${PREFIX:-models}"
  ALLOWED_ORIGINS="${ALLOWED_ORIGINS:-}"
  PUBLIC="${PUBLIC:-0}"
  TARGET="${TARGET:-functions}"
  RUNTIME="${RUNTIME:-python311}"
  MEMORY="${MEMORY:-}"
  CPU="${CPU:-1}"
  CONCURRENCY="${CONCURRENCY:-8}"
  MIN_INSTANCES="${MIN_INSTANCES:-0}"
  MAX_INSTANCES_PER_FUNCTION="${MAX_INSTANCES_PER_FUNCTION:-4}"
  TIMEOUT="${TIMEOUT:-60}"
  CANARY="${CANARY:-}"
  INVOKER="${INVOKER:-}"
  DRY_RUN="${DRY_RUN:-0}"
  WITH_BUCKET="${WITH_BUCKET:-0}"
  YES="${YES:-0}"
  COMMAND=""
  TARGETS=()
  STAGE_DIR=""

  local words=()
  while (($#)); do
    case "$1" in
      -h | --help) usage && exit 0 ;;
      --public) PUBLIC=1 ;;
      --dry-run) DRY_RUN=1 ;;
      --with-bucket) WITH_BUCKET=1 ;;
      --yes) YES=1 ;;
      --project | --region | --bucket | --prefix | --origins | --to | --runtime | --memory | --cpu | --concurrency | \
        --min-instances | --max-instances | --timeout | --canary | --invoker)
        (($# > 1)) || usage_error "$1 needs a value"
        set_option "$1" "$2"
        shift
        ;;
      -*) usage_error "there is no option $1" ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  read_command "${words[@]+"${words[@]}"}"
  check_values
}

usage_error() {
  printf 'error: %s; see ./deploy.sh --help\n' "$*" >&2
  exit 2
}

set_option() {
  case "$1" in
    --project) PROJECT_ID="$2" ;;
    --region) REGION="$2" ;;
    --bucket) BUCKET="$2" ;;
    --prefix) PREFIX="$2" ;;
    --origins) ALLOWED_ORIGINS="$2" ;;
    --to) TARGET="$2" ;;
    --runtime) RUNTIME="$2" ;;
    --memory) MEMORY="$2" ;;
    --cpu) CPU="$2" ;;
    --concurrency) CONCURRENCY="$2" ;;
    --min-instances) MIN_INSTANCES="$2" ;;
    --max-instances) MAX_INSTANCES_PER_FUNCTION="$2" ;;
    --timeout) TIMEOUT="$2" ;;
    --canary) CANARY="$2" ;;
    --invoker) INVOKER="$2" ;;
  esac
}

read_command() {
  local word="${1:-all}"
  case "${word}" in
    all)
      COMMAND=deploy
      mapfile -t TARGETS < <(function_names)
      (($# <= 1)) || usage_error "unexpected: ${*:2}"
      ;;
    status | destroy)
      COMMAND="${word}"
      mapfile -t TARGETS < <(function_names)
      (($# == 1)) || usage_error "unexpected: ${*:2}"
      ;;
    rollback | logs)
      COMMAND="${word}"
      (($# == 2)) || usage_error "${word} needs the name of a function"
      TARGETS=("$2")
      ;;
    stage)
      COMMAND=stage
      (($# == 3)) || usage_error "stage needs the name of a function and a folder"
      TARGETS=("$2")
      # shellcheck disable=SC2034 # read in deploy.sh
      STAGE_DIR="$3"
      ;;
    *)
      COMMAND=deploy
      (($# == 1)) || usage_error "unexpected: ${*:2}"
      TARGETS=("${word}")
      ;;
  esac
  local name
  for name in "${TARGETS[@]}"; do
    is_function "${name}" || usage_error "there is no function or command ${name}"
  done
}

check_values() {
  local number
  for number in CPU CONCURRENCY MAX_INSTANCES_PER_FUNCTION TIMEOUT; do
    [[ "${!number}" =~ ^[1-9][0-9]*$ ]] || usage_error "${number}: expected a whole number, got '${!number}'"
  done
  [[ "${MIN_INSTANCES}" =~ ^[0-9]+$ ]] || usage_error "MIN_INSTANCES: expected a whole number, got '${MIN_INSTANCES}'"
  ((MIN_INSTANCES <= MAX_INSTANCES_PER_FUNCTION)) || usage_error "there are more minimum than maximum instances"
  ((TIMEOUT <= 3600)) || usage_error "TIMEOUT: at most 3600 seconds"
  [[ "${TARGET}" =~ ^(functions|run|appengine)$ ]] || usage_error "--to: expected functions, run or appengine"
  [[ -z "${CANARY}" || "${CANARY}" =~ ^[1-9][0-9]?$ ]] || usage_error "--canary: expected 1 to 99 percent"
  [[ "${COMMAND}" == stage ]] && return
  [[ "${PROJECT_ID}" =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] ||
    usage_error "PROJECT_ID: expected a project's ID, got '${PROJECT_ID}'"
  BUCKET="${BUCKET:-${PROJECT_ID}-models}"
  export CLOUDSDK_CORE_PROJECT="${PROJECT_ID}" CLOUDSDK_CORE_DISABLE_PROMPTS=1
}
