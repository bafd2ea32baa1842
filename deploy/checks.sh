# shellcheck shell=bash
# What is checked before anything is touched.

check_tools() {
  command -v gcloud >/dev/null ||
    die "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
  local version
  version="$(gcloud version --format='value("Google Cloud SDK")' 2>/dev/null)" || version=0
  ((${version%%.*} >= GCLOUD_NEEDED)) ||
    die "gcloud ${version} is too old: run 'gcloud components update' (${GCLOUD_NEEDED} or newer)"
  gcloud auth print-access-token >/dev/null 2>&1 ||
    die "you are not signed in: run 'gcloud auth login'"
}

check_project() {
  PROJECT_NUMBER="$(gcloud projects describe "${PROJECT_ID}" --format='value(projectNumber)' 2>/dev/null)" ||
    die "project ${PROJECT_ID} is not there or not yours: see 'gcloud projects list'"
  [[ -n "${PROJECT_NUMBER}" ]] || die "project ${PROJECT_ID} has no number: see 'gcloud projects list'"
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

# The model files that lie in the checkout are the pinned ones.
check_pin() {
  local name="$1" file sum
  file="${ROOT}/models/$(pin "${name}" file)"
  [[ -f "${file}" ]] || return 0 # published from elsewhere: the bucket must have it
  sum="$(python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "${file}")"
  [[ "${sum}" == "$(pin "${name}" sha256)" ]] ||
    die "${file} is not the pinned file: run 'git checkout -- models' or publish it anew"
}

# Without this role the build of a function fails, minutes later and without naming it.
check_builder() {
  local account="${PROJECT_NUMBER}-compute@developer.gserviceaccount.com" roles
  roles="$(gcloud projects get-iam-policy "${PROJECT_ID}" --format=json 2>/dev/null)" ||
    die "cannot read the project's IAM policy: you need roles/owner or roles/editor and roles/resourcemanager.projectIamAdmin"
  python3 -c '
import json, sys
policy, member = json.loads(sys.argv[1]), f"serviceAccount:{sys.argv[2]}"
held = {binding["role"] for binding in policy.get("bindings", []) if member in binding["members"]}
sys.exit(not held & {"roles/cloudbuild.builds.builder", "roles/editor", "roles/owner"})' "${roles}" "${account}" ||
    die "the build account may not build: run 'gcloud projects add-iam-policy-binding ${PROJECT_ID}" \
      "--member=serviceAccount:${account} --role=roles/cloudbuild.builds.builder'"
}
