# shellcheck shell=bash
# One function from its staged folder to an address that answers.

deploy_all() {
  local name
  check_tools
  check_tree
  for name in "${TARGETS[@]}"; do
    check_pin "${name}"
  done
  check_project
  check_billing
  enable_apis
  # After the APIs: the account is made when they are enabled.
  [[ "${DRY_RUN}" == 1 ]] || check_builder
  look_around
  look_at_services
  make_bucket
  for name in "${TARGETS[@]}"; do
    publish_model "${name}"
    make_service_account "${name}"
    release "${name}"
  done
}

# What is deployed: a line for each, of name, state, fingerprint, whether the latest has all traffic, and address; of a
# service also who made it, if it was not this script.
look_at_services() {
  local fields
  case "${TARGET}" in
    functions)
      fields='name.basename(),state,labels.source,serviceConfig.allTrafficOnLatestRevision,serviceConfig.uri'
      SERVICES="$(ask gcloud functions list --v2 --regions="${REGION}" --format="csv[no-heading](${fields})")"
      if [[ "${DRY_RUN}" != 1 ]] && is_under_way; then
        say "another deployment is under way: waiting for its end"
        sleep 5
        look_at_services
      fi
      ;;
    run)
      fields='metadata.name,status.conditions[0].status,metadata.labels.source,spec.traffic[0].latestRevision,status.url'
      fields+=',metadata.labels."goog-managed-by"'
      SERVICES="$(ask gcloud run services list --region="${REGION}" --format="csv[no-heading](${fields})")"
      ;;
    appengine) look_at_app ;;
  esac
}

# One that was interrupted here goes on there, and until it has ended no other is taken.
is_under_way() {
  local name
  for name in "${TARGETS[@]}"; do
    ! grep -q "^${name},DEPLOYING," <<<"${SERVICES}" || return 0
  done
  return 1
}

release() {
  local name="$1" folder="${ROOT}/build/stage/$1" mark url
  rm -rf "${folder}"
  mkdir -p "${ROOT}/build/stage"
  stage "${name}" "${folder}"
  environment >"${folder}.env.yaml"
  if [[ "${TARGET}" == appengine ]]; then
    release_version "${name}" "${folder}"
    return
  fi
  mark="$(fingerprint "${name}" "${folder}")"
  bring_up "${name}" "${folder}" "${mark}"
  open_or_close "${name}"
  [[ "${DRY_RUN}" == 1 ]] || try_out "${name}" "${url}"
}

# Deploys what is not there yet, and gives the latest revision the traffic it should have; sets url.
bring_up() {
  local name="$1" folder="$2" mark="$3" found state source latest owner current
  found="$(grep "^${name}," <<<"${SERVICES}")" || found=""
  IFS=, read -r _ state source latest url owner <<<"${found}"
  [[ -z "${owner}" ]] || die "${name} is there as a function: run './deploy.sh destroy', or name another --region"
  if [[ "${state}" =~ ^(ACTIVE|True)$ && "${source}" == "${mark}" ]]; then
    if [[ "${latest}" == True ]]; then
      say "${name}: unchanged"
    elif [[ -n "${CANARY}" ]]; then
      split_traffic "${name}"
    else
      run gcloud run services update-traffic "${name}" --region="${REGION}" --to-latest --format=none
      say "${name}: unchanged, and the latest revision has all traffic again"
    fi
    return
  fi
  if [[ -n "${CANARY}" ]]; then
    [[ -n "${found}" ]] || die "${name} is not deployed yet, there is nothing to compare it with: leave --canary out"
    current="$(revision serving "${name}")"
    # Pinned, so that the new revision gets nothing until it is told to.
    run gcloud run services update-traffic "${name}" --region="${REGION}" --to-revisions="${current}=100" --format=none
  fi
  "deploy_to_${TARGET}" "${name}" "${folder}" "${mark}" "${state}"
  [[ -z "${CANARY}" ]] || split_traffic "${name}"
}

# Usage: deploy_to_TARGET NAME FOLDER MARK STATE; sets url.
deploy_to_functions() {
  local more=()
  [[ -n "${CANARY}" ]] || more+=(--serve-all-traffic-latest-revision)
  [[ -n "$4" ]] || more+=(--no-allow-unauthenticated)
  url="$(run gcloud functions deploy "$1" --gen2 --region="${REGION}" --runtime="${RUNTIME}" \
    --source="$2" --entry-point=predict --trigger-http \
    --memory="$(memory "$1")" --cpu="${CPU}" --concurrency="${CONCURRENCY}" \
    --min-instances="${MIN_INSTANCES}" --max-instances="${MAX_INSTANCES_PER_FUNCTION}" --timeout="${TIMEOUT}s" \
    --service-account="$(service_account "$1")" --env-vars-file="$2.env.yaml" \
    --update-labels="commit=$(commit),source=$3" "${more[@]+"${more[@]}"}" --format='value(serviceConfig.uri)')"
}

# Cloud Run by itself, where CPU is boosted and traffic kept away until the model is in memory.
deploy_to_run() {
  local more=()
  [[ -n "$4" ]] || more+=(--no-allow-unauthenticated)
  url="$(run gcloud run deploy "$1" --source="$2" --function=predict --base-image="${RUNTIME}" \
    --region="${REGION}" --memory="$(memory "$1")" --cpu="${CPU}" --cpu-boost \
    --concurrency="${CONCURRENCY}" --min-instances="${MIN_INSTANCES}" \
    --max-instances="${MAX_INSTANCES_PER_FUNCTION}" --timeout="${TIMEOUT}" \
    --startup-probe=httpGet.path=/ready,httpGet.port=8080,periodSeconds=1,timeoutSeconds=1,failureThreshold=60 \
    --service-account="$(service_account "$1")" --env-vars-file="$2.env.yaml" \
    --labels="commit=$(commit),source=$3" "${more[@]+"${more[@]}"}" --format='value(status.url)')"
  # A service keeps its split until it is told.
  [[ -n "${CANARY}" || -z "$4" || "${latest}" == True ]] ||
    run gcloud run services update-traffic "$1" --region="${REGION}" --to-latest --format=none
}

# The latest revision gets CANARY percent, the one that had most of the traffic the rest.
split_traffic() {
  local shares="NEW=${CANARY},OLD=$((100 - CANARY))" new old
  if [[ "${DRY_RUN}" != 1 ]]; then
    new="$(revision latest "$1")"
    old="$(revision other "$1")" || die "$1 has no new revision: look at './deploy.sh logs $1'"
    shares="${new}=${CANARY},${old}=$((100 - CANARY))"
  fi
  run gcloud run services update-traffic "$1" --region="${REGION}" --to-revisions="${shares}" --format=none
}

# Usage: revision WHICH NAME; see traffic.py.
revision() {
  local service
  service="$(gcloud run services describe "$2" --region="${REGION}" --format=json)"
  python3 "${ROOT}/deploy/traffic.py" "$1" "${service}"
}

# Whether anyone may call is set apart from the deployment, and looked at again each time: one may fail without the other.
open_or_close() {
  local name="$1" policy open=0
  policy="$(gcloud run services get-iam-policy "${name}" --region="${REGION}" --format=json 2>/dev/null)" || policy=""
  ! holds "${policy}" allUsers roles/run.invoker || open=1
  if [[ "${PUBLIC}" == 1 && "${open}" == 0 ]]; then
    run gcloud run services add-iam-policy-binding "${name}" --region="${REGION}" \
      --member=allUsers --role=roles/run.invoker --format=none
  elif [[ "${PUBLIC}" != 1 && "${open}" == 1 ]]; then
    run gcloud run services remove-iam-policy-binding "${name}" --region="${REGION}" \
      --member=allUsers --role=roles/run.invoker --format=none
  fi
}

# A token that opens a private function, empty for a public one.
token() {
  [[ "${PUBLIC}" != 1 ]] || return 0
  if [[ -n "${INVOKER}" ]]; then
    gcloud auth print-identity-token --impersonate-service-account="${INVOKER}" --audiences="$1"
  else
    gcloud auth print-identity-token
  fi || die "no identity token: sign in with 'gcloud auth login', or name a service account with --invoker"
}

# One real request, whose answer must have the right label.
try_out() {
  local name="$1" url="$2" shown="${3:-$2}" bearer
  [[ -n "${url}" ]] || die "${name} has no address: look at './deploy.sh logs ${name}'"
  bearer="$(token "${url}")"
  TOKEN="${bearer}" python3 "${ROOT}/deploy/try_out.py" "${url}" "${ROOT}/functions/${name}" ||
    die "${name} does not answer as it should: look at './deploy.sh logs ${name}'," \
      "go back with './deploy.sh rollback ${name}'"
  printf '%s: %s\n' "${name}" "${shown}"
  if [[ -n "${bearer}" ]]; then
    # shellcheck disable=SC2016 # for the reader's shell
    printf '  curl -H "Authorization: Bearer $(gcloud auth print-identity-token)" %s\n' "${shown}"
  else
    printf '  open it in a browser, or: curl %s\n' "${shown}"
  fi
}
