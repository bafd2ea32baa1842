# shellcheck shell=bash
# Arguments, messages, and the one way in which anything is changed.

# Where `run` prints in a dry run, whatever its output is captured for.
exec 3>&1

say() { printf '%s\n' "$*" >&2; }

# An error is one line that says how to mend it.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

usage_error() {
  printf 'error: %s; see ./deploy.sh --help\n' "$*" >&2
  exit 2
}

# Runs a command that changes something; in a dry run, prints it.
run() {
  if [[ "${DRY_RUN}" == 1 ]]; then
    printf '%q ' "$@" | sed 's/ $//' >&3
    printf '\n' >&3
  else
    "$@"
  fi
}

# Runs a command that names an account made a moment ago, which Google does not know everywhere at once.
patiently() {
  local told wait
  for wait in 2 4 8 16 0; do
    told="$(run "$@" 2>&1)" && return
    [[ "${told}" == *"does not exist"* && "${wait}" != 0 ]] || break
    sleep "${wait}"
  done
  die "${told}"
}

# Looks at what is there. In a dry run the API may be off still, which is as if nothing were there.
ask() {
  if [[ "${DRY_RUN}" == 1 ]]; then
    "$@" 2>/dev/null || true
  else
    "$@" 2> >(grep -v '^Listed 0 items' >&2)
  fi
}

# The pins of all functions, read once: PIN[NAME.FIELD].
declare -A PIN=()
read_pins() {
  local key value
  while IFS=$'\t' read -r key value; do
    # shellcheck disable=SC2034 # read wherever a function is meant
    PIN["${key}"]="${value}"
  done < <(python3 -c '
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1], "functions").glob("*/model.json"):
    for field in ("file", "sha256", "bytes", "format"):
        print(f"{path.parent.name}.{field}", json.loads(path.read_text()).get(field, ""), sep="\t")' "${ROOT}")
}

function_names() {
  local main
  for main in "${ROOT}"/functions/*/main.py; do
    basename "$(dirname "${main}")"
  done
}

is_function() { [[ -f "${ROOT}/functions/$1/main.py" ]]; }

service_account() { printf '%s-fn@%s.iam.gserviceaccount.com' "$1" "${PROJECT_ID}"; }

commit() { git -C "${ROOT}" rev-parse --short=12 HEAD; }

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
  [[ "${TARGET}" != appengine ]] || check_app_engine
  BUCKET="${BUCKET:-${PROJECT_ID}-models}"
  export CLOUDSDK_CORE_PROJECT="${PROJECT_ID}" CLOUDSDK_CORE_DISABLE_PROMPTS=1
}

check_app_engine() {
  [[ "${COMMAND}" == deploy ]] || usage_error "${COMMAND} is for functions and run; see 'gcloud app --help'"
  ((${#TARGETS[@]} == 1)) || usage_error "--to appengine needs the name of one function"
  [[ "${PUBLIC}" == 1 ]] || usage_error "anyone may call what is on App Engine: say so with --public"
  [[ -z "${CANARY}" ]] || usage_error "--canary is for functions and run"
}
