# shellcheck shell=bash
# APIs, the bucket and what lies in it, and who may read it.

readonly APIS=(cloudfunctions run cloudbuild artifactregistry storage iam)

enable_apis() {
  local enabled missing=() api
  enabled="$(gcloud services list --enabled --format='value(config.name)')"
  for api in "${APIS[@]}" "$@"; do
    grep -qx "${api}.googleapis.com" <<<"${enabled}" || missing+=("${api}.googleapis.com")
  done
  ((${#missing[@]} == 0)) || run gcloud services enable "${missing[@]}"
}

make_bucket() {
  gcloud storage buckets describe "gs://${BUCKET}" --format='value(name)' >/dev/null 2>&1 ||
    run gcloud storage buckets create "gs://${BUCKET}" --location="${REGION}" \
      --uniform-bucket-level-access --public-access-prevention
}

# Puts the pinned file into the bucket, under the name that carries its digest, unless it is there.
publish_model() {
  local name="$1" file found
  file="$(pin "${name}" file)"
  found="$(gcloud storage objects describe "gs://${BUCKET}/${PREFIX}/${file}" --format='value(size)' 2>/dev/null)" ||
    found=""
  if [[ -n "${found}" ]]; then
    [[ "${found}" == "$(pin "${name}" bytes)" ]] ||
      die "gs://${BUCKET}/${PREFIX}/${file} has ${found} bytes, not those of the pin: delete it and run this again"
  elif [[ -f "${ROOT}/models/${file}" ]]; then
    run gcloud storage cp --no-clobber "${ROOT}/models/${file}" "gs://${BUCKET}/${PREFIX}/${file}"
  else
    die "the pinned ${file} is neither in models/ nor in the bucket: run" \
      "'python -m models.publish ${name} FILE --store gs://${BUCKET}/${PREFIX}'"
  fi
}

# The function's own identity, which may read this bucket and nothing else.
make_service_account() {
  local name="$1" account policy
  account="$(service_account "${name}")"
  gcloud iam service-accounts describe "${account}" --format='value(email)' >/dev/null 2>&1 ||
    run gcloud iam service-accounts create "${name}-fn" --display-name="The ${name} function"
  policy="$(gcloud storage buckets get-iam-policy "gs://${BUCKET}" --format=json 2>/dev/null)" || policy='{}'
  python3 -c '
import json, sys
policy, member = json.loads(sys.argv[1]), f"serviceAccount:{sys.argv[2]}"
sys.exit(not any(binding["role"] == "roles/storage.objectViewer" and member in binding["members"]
                 for binding in policy.get("bindings", [])))' "${policy}" "${account}" ||
    run gcloud storage buckets add-iam-policy-binding "gs://${BUCKET}" \
      --member="serviceAccount:${account}" --role=roles/storage.objectViewer --format=none
}
