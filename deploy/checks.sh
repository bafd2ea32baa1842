# shellcheck shell=bash
# What is checked before anything is touched.

# The first release whose `gcloud run deploy` has all that --to run needs.
readonly GCLOUD_NEEDED=515

check_tools() {
  command -v gcloud >/dev/null ||
    die "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
  local version
  version="$(gcloud version --format='value("Google Cloud SDK")' 2>/dev/null)" || version=0
  ((${version%%.*} >= GCLOUD_NEEDED)) ||
    die "gcloud ${version} is too old: run 'gcloud components update' (${GCLOUD_NEEDED} or newer)"
}

check_project() {
  PROJECT_NUMBER="$(gcloud projects describe "${PROJECT_ID}" --format='value(projectNumber)' 2>/dev/null)" &&
    [[ -n "${PROJECT_NUMBER}" ]] && return
  gcloud auth print-access-token >/dev/null 2>&1 ||
    die "you are not signed in: run 'gcloud auth login'"
  die "project ${PROJECT_ID} is not there or not yours: see 'gcloud projects list'"
}

check_billing() {
  local billing
  billing="$(gcloud billing projects describe "${PROJECT_ID}" --format='value(billingEnabled)' 2>/dev/null)" ||
    die "cannot see whether billing is on: run 'gcloud services enable cloudbilling.googleapis.com'"
  [[ "${billing}" == True ]] ||
    die "billing is off: run 'gcloud billing projects link ${PROJECT_ID} --billing-account=ACCOUNT'"
}

# What is deployed is HEAD; what is not committed would be left out without a word.
check_tree() {
  git -C "${ROOT}" rev-parse --verify --quiet HEAD >/dev/null || die "this is no git checkout: clone the repository"
  [[ -z "$(git -C "${ROOT}" status --porcelain)" ]] ||
    die "the git tree is not clean: commit or stash (see 'git status')"
}

# The model file that lies in the checkout is the pinned one.
check_pin() {
  local file="${ROOT}/models/${PIN[$1.file]}"
  [[ -f "${file}" ]] || return 0 # published from elsewhere: the bucket must have it
  printf '%s  %s\n' "${PIN[$1.sha256]}" "${file}" | sha256sum --check --status ||
    die "${file} is not the pinned file: run 'git checkout -- models', or publish it with 'python -m models.publish'"
}

# Without this role the build of a function fails, minutes later and without naming it.
check_builder() {
  local policy account="${PROJECT_NUMBER}-compute@developer.gserviceaccount.com"
  policy="$(gcloud projects get-iam-policy "${PROJECT_ID}" --format=json 2>/dev/null)" ||
    die "cannot read the project's IAM policy: you need roles/owner, or roles/editor and" \
      "roles/resourcemanager.projectIamAdmin"
  ! may_build "${policy}" "${account}" || return 0
  # Older projects build as another account.
  account="$(gcloud builds get-default-service-account --region="${REGION}" \
    --format='value(serviceAccountEmail.basename())' 2>/dev/null)" || account=""
  account="${account:-${PROJECT_NUMBER}-compute@developer.gserviceaccount.com}"
  may_build "${policy}" "${account}" ||
    die "the build account may not build: run 'gcloud projects add-iam-policy-binding ${PROJECT_ID}" \
      "--member=serviceAccount:${account} --role=roles/cloudbuild.builds.builder'"
}

may_build() {
  holds "$1" "serviceAccount:$2" roles/cloudbuild.builds.builder roles/editor roles/owner
}

# Usage: holds POLICY MEMBER ROLE ...: whether an IAM policy, as JSON, gives the member one of the roles.
holds() {
  python3 -c '
import json, sys
policy, member, *roles = sys.argv[1:]
bindings = json.loads(policy or "{}").get("bindings", [])
sys.exit(not any(each["role"] in roles and member in each.get("members", []) for each in bindings))' "$@"
}
