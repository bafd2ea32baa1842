# shellcheck shell=bash
# One function from its staged folder to an address that answers.

deploy_all() {
  local name apis=()
  check_tools
  check_project
  check_billing
  check_tree
  for name in "${TARGETS[@]}"; do
    check_pin "${name}"
  done
  [[ "${TARGET}" != appengine ]] || apis+=(appengine)
  [[ -z "${INVOKER}" ]] || apis+=(iamcredentials)
  enable_apis "${apis[@]+"${apis[@]}"}"
  # After the APIs: the account is made when they are enabled.
  [[ "${DRY_RUN}" == 1 ]] || check_builder
  make_bucket
  for name in "${TARGETS[@]}"; do
    publish_model "${name}"
    make_service_account "${name}"
    release "${name}"
  done
}

release() {
  local name="$1" folder="${ROOT}/build/stage/$1" mark
  rm -rf "${folder}"
  mkdir -p "${ROOT}/build/stage"
  stage "${name}" "${folder}"
  environment >"${folder}.env.yaml"
  mark="$(fingerprint "${name}" "${folder}")"
  case "${TARGET}" in
    functions) release_function "${name}" "${folder}" "${mark}" ;;
    run) release_service "${name}" "${folder}" ;;
    appengine) run gcloud app deploy "${folder}/app.yaml" --version="$(version "${mark}")" ;;
  esac
  [[ "${DRY_RUN}" == 1 ]] || try_out "${name}"
}

version() { printf '%s-%s' "$(git -C "${ROOT}" rev-parse --short=12 HEAD)" "${1:0:8}"; }

release_function() {
  local name="$1" folder="$2" mark="$3" found access=--no-allow-unauthenticated traffic current
  found="$(gcloud functions describe "${name}" --region="${REGION}" \
    --format='value(state,labels.source)' 2>/dev/null)" || found=""
  if [[ "${found}" == "ACTIVE"$'\t'"${mark}" && -z "${CANARY}" ]]; then
    say "${name}: unchanged"
    return
  fi
  [[ "${PUBLIC}" == 1 ]] && access=--allow-unauthenticated
  traffic=(--serve-all-traffic-latest-revision)
  if [[ -n "${CANARY}" ]]; then
    [[ -n "${found}" ]] || die "${name} is not deployed yet, there is nothing to compare it with: leave --canary out"
    current="$(serving_revision "${name}")"
    # Pinned, so that the new revision gets nothing until it is told to.
    run gcloud run services update-traffic "${name}" --region="${REGION}" --to-revisions="${current}=100"
    traffic=()
  fi
  run gcloud functions deploy "${name}" --gen2 --region="${REGION}" --runtime="${RUNTIME}" \
    --source="${folder}" --entry-point=predict --trigger-http "${access}" \
    --memory="$(memory "${name}")" --cpu="${CPU}" --concurrency="${CONCURRENCY}" \
    --min-instances="${MIN_INSTANCES}" --max-instances="${MAX_INSTANCES_PER_FUNCTION}" --timeout="${TIMEOUT}s" \
    --service-account="$(service_account "${name}")" --env-vars-file="${folder}.env.yaml" \
    --update-labels="commit=$(git -C "${ROOT}" rev-parse --short=12 HEAD),source=${mark}" \
    "${traffic[@]+"${traffic[@]}"}" --format=none
  [[ -z "${CANARY}" ]] || split_traffic "${name}" "${current}"
}

# The new revision gets CANARY percent, the old one the rest.
split_traffic() {
  local name="$1" old="$2" new=NEW
  if [[ "${DRY_RUN}" != 1 ]]; then
    new="$(gcloud run services describe "${name}" --region="${REGION}" \
      --format='value(status.latestReadyRevisionName)')"
    [[ "${new}" != "${old}" ]] || die "${name} has no new revision: look at './deploy.sh logs ${name}'"
  fi
  run gcloud run services update-traffic "${name}" --region="${REGION}" \
    --to-revisions="${new}=${CANARY},${old}=$((100 - CANARY))"
}

# Cloud Run, where CPU is boosted and traffic kept away until the model is in memory.
release_service() {
  local name="$1" folder="$2" access=--no-allow-unauthenticated
  [[ "${PUBLIC}" == 1 ]] && access=--allow-unauthenticated
  printf 'WARM_UP: "1"\n' >>"${folder}.env.yaml"
  run gcloud run deploy "${name}" --source="${folder}" --function=predict --base-image="${RUNTIME}" \
    --region="${REGION}" "${access}" --memory="$(memory "${name}")" --cpu="${CPU}" --cpu-boost \
    --concurrency="${CONCURRENCY}" --min-instances="${MIN_INSTANCES}" \
    --max-instances="${MAX_INSTANCES_PER_FUNCTION}" --timeout="${TIMEOUT}" \
    --startup-probe=httpGet.path=/ready,httpGet.port=8080,periodSeconds=1,timeoutSeconds=1,failureThreshold=60 \
    --service-account="$(service_account "${name}")" --env-vars-file="${folder}.env.yaml" \
    --labels="commit=$(git -C "${ROOT}" rev-parse --short=12 HEAD)" --format=none
}

address() {
  case "${TARGET}" in
    functions) gcloud functions describe "$1" --region="${REGION}" --format='value(serviceConfig.uri)' ;;
    run) gcloud run services describe "$1" --region="${REGION}" --format='value(status.url)' ;;
    appengine) printf 'https://%s\n' "$(gcloud app describe --format='value(defaultHostname)')" ;;
  esac
}

# A token that opens a private function, empty for a public one.
token() {
  if [[ "${PUBLIC}" != 1 ]]; then
    if [[ -n "${INVOKER}" ]]; then
      gcloud auth print-identity-token --impersonate-service-account="${INVOKER}" --audiences="$1"
    else
      gcloud auth print-identity-token
    fi || die "no identity token: sign in with 'gcloud auth login', or name a service account with --invoker"
  fi
}

# One real request, whose answer must have the right label.
try_out() {
  local name="$1" url bearer
  url="$(address "${name}")"
  [[ -n "${url}" ]] || die "${name} has no address: look at './deploy.sh logs ${name}'"
  bearer="$(token "${url}")"
  TOKEN="${bearer}" python3 "${ROOT}/deploy/try_out.py" "${url}" "${ROOT}/functions/${name}" ||
    die "${name} does not answer as it should: look at './deploy.sh logs ${name}'," \
      "go back with './deploy.sh rollback ${name}'"
  printf '%s: %s\n' "${name}" "${url}"
  if [[ -n "${bearer}" ]]; then
    # shellcheck disable=SC2016 # for the reader's shell
    printf '  curl -H "Authorization: Bearer $(gcloud auth print-identity-token)" %s\n' "${url}"
  else
    printf '  open it in a browser, or: curl %s\n' "${url}"
  fi
}
