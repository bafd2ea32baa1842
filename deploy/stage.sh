# shellcheck shell=bash
# The folder that is uploaded: one function of HEAD, whole, and nothing else.

# Usage: stage NAME DIR. DIR is new or empty. Without a bucket the pinned model goes along, and is served from there.
stage() {
  local name="$1" folder="$2" unpacked package paths=("functions/$1" shared)
  [[ ! -d "${folder}" || -z "$(ls -A "${folder}")" ]] || die "${folder} is not empty: name a new folder"
  unpacked="$(mktemp -d)"
  [[ -n "${BUCKET}" ]] || paths+=("models/${PIN[${name}.file]}")
  git -C "${ROOT}" archive HEAD "${paths[@]}" | tar -x -C "${unpacked}"
  mkdir -p "${folder}"
  mv "${unpacked}/functions/${name}"/* "${unpacked}/shared" "${folder}/"
  [[ ! -d "${unpacked}/models" ]] || mv "${unpacked}/models" "${folder}/"
  rm -r "${unpacked}"
  for package in $(needed_packages "${name}"); do
    grep -qE "^${package%%=*}([^-a-z]|$)" "${folder}/requirements.txt" ||
      printf '%s\n' "${package}" >>"${folder}/requirements.txt"
  done
  # shellcheck disable=SC2016 # for the host's shell
  printf 'web: functions-framework --target=predict --host=0.0.0.0 --port=$PORT\n' >"${folder}/Procfile"
  cat >"${folder}/app.yaml" <<EOT
runtime: ${RUNTIME}
entrypoint: functions-framework --target=predict --port=\$PORT
instance_class: $(instance_class "${name}")
automatic_scaling:
  max_instances: ${MAX_INSTANCES_PER_FUNCTION}
env_variables:
$(environment | sed 's/^/  /')
EOT
}

# Packages that the format of the pinned model needs, at the versions of the training here: for a requirements.txt that
# names none.
needed_packages() {
  local wanted
  case "${PIN[$1.format]}" in
    keras | h5) wanted='^tensorflow' ;;
    joblib) wanted='^(scikit-learn|joblib)==' ;;
    *) return 0 ;;
  esac
  cat "${ROOT}"/models/*/requirements.txt | grep -E "${wanted}" | sort -u
}

memory() {
  case "${MEMORY}:${PIN[$1.format]}" in
    :keras | :h5) printf 2Gi ;;
    :joblib) printf 1Gi ;;
    :*) printf 512Mi ;;
    *) printf '%s' "${MEMORY}" ;;
  esac
}

# App Engine's smallest instance with that memory; what it calls F2 has 768 MB, F4 1536 MB, F4_1G 3072 MB.
instance_class() {
  local size
  size="$(memory "$1" | sed -E 's/Mi?$//; s/Gi?$/*1024/')"
  if ((size <= 768)); then
    printf F2
  elif ((size <= 1536)); then
    printf F4
  else
    printf F4_1G
  fi
}

# The function's settings, as YAML.
environment() {
  [[ -z "${BUCKET}" ]] || printf 'MODEL_STORE: "gs://%s/%s"\n' "${BUCKET}" "${PREFIX}"
  [[ -z "${PROJECT_ID}" ]] || printf 'GOOGLE_CLOUD_PROJECT: "%s"\n' "${PROJECT_ID}"
  [[ "${TARGET}" != run ]] || printf 'WARM_UP: "1"\n'
  # Python runs on one CPU at a time in each worker.
  printf 'ALLOWED_ORIGINS: "%s"\nTHREADS: "%s"\nWORKERS: "%s"\n' "${ALLOWED_ORIGINS}" "${CONCURRENCY}" "${CPU}"
}

# Names what was staged and how it is set: the same twice means there is nothing to deploy.
fingerprint() {
  local name="$1" folder="$2"
  {
    (cd "${folder}" && find . -type f -print0 | sort -z | xargs -0 sha1sum)
    environment
    printf '%s\n' "${RUNTIME}" "$(memory "${name}")" "${CPU}" "${CONCURRENCY}" "${MIN_INSTANCES}" \
      "${MAX_INSTANCES_PER_FUNCTION}" "${TIMEOUT}"
  } | sha1sum | cut -c1-40
}
