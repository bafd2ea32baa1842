# shellcheck shell=bash
# The folder that is uploaded: one function of HEAD, whole, and nothing else.

# Usage: stage NAME DIR. DIR is new or empty. Without a bucket the pinned model goes along, and is served from there.
stage() {
  local name="$1" folder="$2" unpacked package paths=("functions/$1" shared)
  [[ ! -d "${folder}" || -z "$(ls -A "${folder}")" ]] || die "${folder} is not empty: name a new folder"
  unpacked="$(mktemp -d)"
  [[ -n "${BUCKET}" ]] || paths+=("models/$(pin "${name}" file)")
  git -C "${ROOT}" archive HEAD "${paths[@]}" | tar -x -C "${unpacked}"
  mkdir -p "${folder}"
  mv "${unpacked}/functions/${name}"/* "${unpacked}/shared" "${folder}/"
  [[ ! -d "${unpacked}/models" ]] || mv "${unpacked}/models" "${folder}/"
  rm -r "${unpacked}"
  for package in $(needed_packages "${name}"); do
    printf '%s\n' "${package}" >>"${folder}/requirements.txt"
  done
  # shellcheck disable=SC2016 # for the host's shell
  printf 'web: functions-framework --target=predict --host=0.0.0.0 --port=$PORT\n' >"${folder}/Procfile"
  cat >"${folder}/app.yaml" <<EOF
runtime: ${RUNTIME}
entrypoint: functions-framework --target=predict --port=\$PORT
instance_class: F2
automatic_scaling:
  max_instances: ${MAX_INSTANCES_PER_FUNCTION}
env_variables:
$(environment | sed 's/^/  /')
EOF
}

# Packages that the format of the pinned model needs beside requirements.txt, at the versions it was trained with.
needed_packages() {
  local wanted
  case "$(pin "$1" format)" in
    keras | h5) wanted='^tensorflow' ;;
    joblib) wanted='^(scikit-learn|joblib)==' ;;
    *) return 0 ;;
  esac
  cat "${ROOT}"/models/*/requirements.txt | grep -E "${wanted}" | sort -u
}

memory() {
  case "${MEMORY}:$(pin "$1" format)" in
    :keras | :h5) printf 2Gi ;;
    :joblib) printf 1Gi ;;
    :*) printf 512Mi ;;
    *) printf '%s' "${MEMORY}" ;;
  esac
}

# The function's settings, as YAML.
environment() {
  [[ -z "${BUCKET}" ]] || printf 'MODEL_STORE: "gs://%s/%s"\n' "${BUCKET}" "${PREFIX}"
  [[ -z "${PROJECT_ID}" ]] || printf 'GOOGLE_CLOUD_PROJECT: "%s"\n' "${PROJECT_ID}"
  printf 'ALLOWED_ORIGINS: "%s"\nTHREADS: "%s"\n' "${ALLOWED_ORIGINS}" "${CONCURRENCY}"
}

# Names what was staged and how it is set: the same twice means there is nothing to deploy.
fingerprint() {
  local name="$1" folder="$2"
  {
    (cd "${folder}" && find . -type f -print0 | sort -z | xargs -0 sha1sum)
    environment
    printf '%s\n' "${RUNTIME}" "$(memory "${name}")" "${CPU}" "${CONCURRENCY}" "${MIN_INSTANCES}" \
      "${MAX_INSTANCES_PER_FUNCTION}" "${TIMEOUT}" "${PUBLIC}"
  } | sha1sum | cut -c1-40
}
