# Sourced by the scripts that install programs: the package manager of this machine.
# shellcheck shell=sh

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# install NAME APT DNF APK BREW [ALTERNATIVE]: installs the packages that the package manager has for NAME.
install() {
    echo "$1 is not on this machine: installing it."
    # Each list of packages is split into words.
    # shellcheck disable=SC2086
    if has apt-get; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 >/dev/null
    elif has dnf; then
        as_root dnf install -y -q $3
    elif has apk; then
        as_root apk add --quiet $4
    elif has brew; then
        brew install --quiet $5
    else
        echo "No apt-get, dnf, apk or brew here: install $1 by hand${6:+, or $6}." >&2
        exit 1
    fi
}
