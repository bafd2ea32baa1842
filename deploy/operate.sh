# shellcheck shell=bash
# What an operator does afterwards.

show_status() {
  local name found url state commit services fields='name.basename(),state,labels.commit,serviceConfig.uri'
  services="$(ask gcloud run services list --region="${REGION}" --format=json)"
  if [[ "${TARGET}" == functions ]]; then
    SERVICES="$(ask gcloud functions list --v2 --regions="${REGION}" --format="csv[no-heading](${fields})")"
  else
    fields='metadata.name,status.conditions[0].type,metadata.labels.commit,status.url'
    SERVICES="$(ask gcloud run services list --region="${REGION}" --format="csv[no-heading](${fields})")"
  fi
  for name in "${TARGETS[@]}"; do
    if ! found="$(grep "^${name}," <<<"${SERVICES}")"; then
      printf '%s: not deployed\n' "${name}"
      continue
    fi
    IFS=, read -r _ state commit url <<<"${found}"
    printf '%s: %s\n  state and commit  %s, %s\n  revision          %s\n' "${name}" "${url}" "${state}" "${commit}" \
      "$(python3 "${ROOT}/deploy/traffic.py" shares "${services}" "${name}")"
    # One that is open takes a token too.
    TOKEN="$(PUBLIC=0 token "${url}" 2>/dev/null || true)" python3 "${ROOT}/deploy/try_out.py" --status "${url}" || true
  done
}

roll_back() {
  local name="$1" service revisions newest before
  service="$(gcloud run services describe "${name}" --region="${REGION}" --format=json)" ||
    die "${name} is not deployed: see './deploy.sh status'"
  revisions="$(gcloud run revisions list --service="${name}" --region="${REGION}" --format=json)"
  newest="$(python3 "${ROOT}/deploy/traffic.py" newest "${service}" "${revisions}")"
  before="$(python3 "${ROOT}/deploy/traffic.py" before "${service}" "${revisions}")" ||
    die "${name} has no revision before ${newest}: deploy an older commit instead"
  run gcloud run services update-traffic "${name}" --region="${REGION}" --to-revisions="${before}=100" --format=none
  say "${name}: ${before} has all the traffic, ${newest} none; the next deploy gives it to the latest"
}

show_logs() {
  gcloud run services logs read "$1" --region="${REGION}" --limit=50
}

destroy() {
  local name answer kind=function doomed=()
  [[ "${TARGET}" == functions ]] || kind="Cloud Run service"
  look_around
  look_at_services
  for name in "${TARGETS[@]}"; do
    ! is_deployed "${name}" || doomed+=("${kind} ${name}")
    ! has_account "${name}" || doomed+=("service account $(service_account "${name}")")
  done
  [[ "${WITH_BUCKET}" != 1 || -z "${BUCKET_POLICY}" ]] || doomed+=("bucket gs://${BUCKET} with all its models")
  if ((${#doomed[@]} == 0)); then
    say "there is nothing to delete in ${PROJECT_ID}, ${REGION}"
    return
  fi
  say "this deletes in ${PROJECT_ID}, ${REGION}:"
  printf '  %s\n' "${doomed[@]}" >&2
  if [[ "${DRY_RUN}" != 1 && "${YES}" != 1 ]]; then
    read -r -p "type the project's ID to go on: " answer || true
    [[ "${answer:-}" == "${PROJECT_ID}" ]] || die "nothing was deleted"
  fi
  for name in "${TARGETS[@]}"; do
    undo "${name}"
  done
  if [[ "${WITH_BUCKET}" == 1 && -n "${BUCKET_POLICY}" ]]; then
    run gcloud storage rm --recursive "gs://${BUCKET}"
  fi
}

# The Cloud Run service of a function goes with the function alone.
is_deployed() { grep "^$1," <<<"${SERVICES}" | grep -qv ',cloudfunctions$'; }

# The account last, so that what is left after an interruption is found again.
undo() {
  local account
  account="$(service_account "$1")"
  if is_deployed "$1"; then
    case "${TARGET}" in
      functions) run gcloud functions delete "$1" --gen2 --region="${REGION}" --quiet ;;
      run) run gcloud run services delete "$1" --region="${REGION}" --quiet ;;
    esac
  fi
  ! holds "${BUCKET_POLICY}" "serviceAccount:${account}" "${READER}" ||
    run gcloud storage buckets remove-iam-policy-binding "gs://${BUCKET}" \
      --member="serviceAccount:${account}" --role="${READER}" --format=none
  ! has_account "$1" || run gcloud iam service-accounts delete "${account}" --quiet
}
