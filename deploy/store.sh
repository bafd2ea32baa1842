# shellcheck shell=bash
# APIs, the bucket and what lies in it, and who may read it.

readonly READER=roles/storage.objectViewer

enable_apis() {
  local enabled missing=() api apis=(cloudfunctions run cloudbuild artifactregistry storage iam)
  [[ "${TARGET}" != appengine ]] || apis+=(appengine)
  [[ -z "${INVOKER}" ]] || apis+=(iamcredentials)
  enabled="$(gcloud services list --enabled --format='value(config.name)')"
  for api in "${apis[@]}"; do
    grep -qx "${api}.googleapis.com" <<<"${enabled}" || missing+=("${api}.googleapis.com")
  done
  ((${#missing[@]} == 0)) || run gcloud services enable "${missing[@]}"
}

# What is there already: accounts, the bucket's IAM policy (empty: no bucket), and its objects with their sizes.
look_around() {
  ACCOUNTS="$(ask gcloud iam service-accounts list --format='value(email)')"
  BUCKET_POLICY="$(gcloud storage buckets get-iam-policy "gs://${BUCKET}" --format=json 2>/dev/null)" ||
    BUCKET_POLICY=""
  OBJECTS=""
  [[ -z "${BUCKET_POLICY}" ]] ||
    OBJECTS="$(gcloud storage objects list "gs://${BUCKET}/${PREFIX}/**" --format='value(name,size)' 2>/dev/null)" ||
    OBJECTS=""
}

has_account() { grep -qx "$(service_account "$1")" <<<"${ACCOUNTS}"; }

make_bucket() {
  [[ -n "${BUCKET_POLICY}" ]] ||
    run gcloud storage buckets create "gs://${BUCKET}" --location="${REGION}" \
      --uniform-bucket-level-access --public-access-prevention ||
    die "there is no bucket ${BUCKET} for you: name another one with --bucket"
}

# Puts the pinned file into the bucket, under the name that carries its digest, unless it is there.
publish_model() {
  local file="${PIN[$1.file]}" bytes="${PIN[$1.bytes]}" found
  found="$(awk -F'\t' -v name="${PREFIX}/${file}" '$1 == name {print $2}' <<<"${OBJECTS}")"
  if [[ -n "${found}" ]]; then
    [[ "${found}" == "${bytes}" ]] ||
      die "gs://${BUCKET}/${PREFIX}/${file} has ${found} bytes, not ${bytes} as pinned: delete it and run this again"
  elif [[ -f "${ROOT}/models/${file}" ]]; then
    run gcloud storage cp --no-clobber "${ROOT}/models/${file}" "gs://${BUCKET}/${PREFIX}/${file}"
  else
    die "the pinned ${file} is neither in models/ nor in the bucket: run" \
      "'python -m models.publish $1 FILE --store gs://${BUCKET}/${PREFIX}'"
  fi
}

# The function's own identity, which may read this bucket and nothing else.
make_service_account() {
  local account
  account="$(service_account "$1")"
  has_account "$1" || run gcloud iam service-accounts create "$1-fn" --display-name="The $1 function"
  holds "${BUCKET_POLICY}" "serviceAccount:${account}" "${READER}" ||
    patiently gcloud storage buckets add-iam-policy-binding "gs://${BUCKET}" \
      --member="serviceAccount:${account}" --role="${READER}" --format=none
}
