#!/bin/sh
# Make the virtual environment in $1, installing Debian packages that are missing (as root).
set -eu
venv=$1

missing=""
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
command -v shellcheck >/dev/null || missing="$missing shellcheck"
command -v git >/dev/null || missing="$missing git"
command -v ssh-keygen >/dev/null || missing="$missing openssh-client"
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v strace >/dev/null || missing="$missing strace"

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Missing Debian packages:$missing. Install them, or run as root." >&2
        exit 1
    fi
    echo "Installing:$missing"
    apt-get update -q
    # a policy script keeps the packages' own daemons from starting on this machine
    # shellcheck disable=SC2086  # a list of words on purpose
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -yq --no-install-recommends $missing
fi

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
echo "Installing Python packages into $venv"
extras=dev
[ "$(id -u)" != 0 ] || extras=dev,lab
"$venv/bin/python" -m pip install -q --disable-pip-version-check -e ".[$extras]"
