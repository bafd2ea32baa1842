# shellcheck shell=bash
# App Engine: a version of a service of the project's one application.

# A line for each version: service, version, share of the traffic, address.
look_at_app() {
  gcloud app describe --format='value(id)' >/dev/null 2>&1 ||
    die "there is no App Engine application, whose region is for ever: run 'gcloud app create --region=REGION'"
  SERVICES="$(gcloud app versions list --format='csv[no-heading](service,id,traffic_split,version.versionUrl)')"
}

# The first service of an application must be `default`: it is the first function's that comes.
service_of() {
  if [[ -z "${SERVICES}" ]] || grep -q "^default,$1-" <<<"${SERVICES}"; then
    printf default
  else
    printf '%s' "$1"
  fi
}

release_version() {
  local name="$1" folder="$2" service version url shown
  service="$(service_of "${name}")"
  printf 'service: %s\n' "${service}" >>"${folder}/app.yaml"
  version="${name}-$(commit)-$(fingerprint "${name}" "${folder}" | cut -c1-8)"
  if grep -q "^${service},${version},1\(\.0*\)\?," <<<"${SERVICES}"; then
    say "${name}: unchanged"
    url="$(awk -F, -v service="${service}" -v version="${version}" \
      '$1 == service && $2 == version {print $4}' <<<"${SERVICES}")"
  else
    url="$(run gcloud app deploy "${folder}/app.yaml" --version="${version}" \
      --service-account="$(service_account "${name}")" --format='value(versions[0].version.versionUrl)')"
  fi
  [[ "${DRY_RUN}" != 1 ]] || return 0
  shown="$(gcloud app browse --service="${service}" --no-launch-browser --format='value(url)')"
  try_out "${name}" "${url}" "${shown}"
}
