# shellcheck shell=bash
# What an operator does afterwards.

# The revision that has all or most of the traffic.
serving_revision() {
  gcloud run services describe "$1" --region="${REGION}" --format=json |
    python3 -c '
import json, sys
status = json.load(sys.stdin)["status"]
most = max(status["traffic"], key=lambda target: target.get("percent", 0))
print(most.get("revisionName") or status["latestReadyRevisionName"])'
}

show_status() {
  local name found url
  for name in "${TARGETS[@]}"; do
    found="$(gcloud functions describe "${name}" --region="${REGION}" \
      --format='value(state,labels.commit)' 2>/dev/null)" || found=""
    if [[ -z "${found}" ]]; then
      printf '%s: not deployed\n' "${name}"
      continue
    fi
    url="$(address "${name}")"
    printf '%s: %s\n  state and commit  %s\n  revision          %s\n' \
      "${name}" "${url}" "${found//$'\t'/, }" "$(serving_revision "${name}")"
    TOKEN="$(token "${url}")" python3 "${ROOT}/deploy/try_out.py" --status "${url}" || true
  done
}

roll_back() {
  local name="$1" current previous
  current="$(serving_revision "${name}")" || die "${name} is not deployed"
  previous="$(gcloud run revisions list --service="${name}" --region="${REGION}" \
    --sort-by='~metadata.creationTimestamp,~metadata.name' --format='value(metadata.name)' |
    sed -n "/^${current}\$/{n;p;q}")"
  [[ -n "${previous}" ]] || die "${name} has no revision before ${current}: deploy an older commit instead"
  run gcloud run services update-traffic "${name}" --region="${REGION}" --to-revisions="${previous}=100"
  say "${name}: ${previous} has the traffic that ${current} had; the next deploy takes it back"
}

show_logs() {
  gcloud functions logs read "$1" --gen2 --region="${REGION}" --limit=50
}

destroy() {
  local name account answer doomed=()
  for name in "${TARGETS[@]}"; do
    doomed+=("function ${name}" "service account $(service_account "${name}")")
  done
  [[ "${WITH_BUCKET}" != 1 ]] || doomed+=("bucket gs://${BUCKET} with all its models")
  say "this deletes in ${PROJECT_ID}, ${REGION}:"
  printf '  %s\n' "${doomed[@]}" >&2
  if [[ "${DRY_RUN}" != 1 && "${YES}" != 1 ]]; then
    read -r -p "type the project's ID to go on: " answer || true
    [[ "${answer:-}" == "${PROJECT_ID}" ]] || die "nothing was deleted"
  fi
  for name in "${TARGETS[@]}"; do
    account="$(service_account "${name}")"
    if gcloud functions describe "${name}" --region="${REGION}" --format='value(name)' >/dev/null 2>&1; then
      run gcloud functions delete "${name}" --gen2 --region="${REGION}" --quiet
    fi
    if gcloud iam service-accounts describe "${account}" --format='value(email)' >/dev/null 2>&1; then
      run gcloud storage buckets remove-iam-policy-binding "gs://${BUCKET}" \
        --member="serviceAccount:${account}" --role=roles/storage.objectViewer --format=none || true
      run gcloud iam service-accounts delete "${account}" --quiet
    fi
  done
  if [[ "${WITH_BUCKET}" == 1 ]]; then
    run gcloud storage rm --recursive "gs://${BUCKET}"
  fi
}
