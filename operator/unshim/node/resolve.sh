#!/bin/sh
# Asks registries for the manifests of images the way containerd would, with the registry settings
# and proxies that it is going to get. Prints a line for each that cannot be had: image, tab, why.
# Nothing is pulled or kept; the settings lie in a folder of our own that goes with us.
# Given: the playbook's variables; UNSHIM_HOSTS, rows of a file's content in base64 and its path
# below /etc/containerd/certs.d. POSIX sh, coreutils, xargs and ctr, without which nothing is said.

command -v ctr >/dev/null || exit 0
hosts=$(mktemp -d) || exit 0
trap 'rm -rf "$hosts"' EXIT
trap 'exit 1' HUP INT TERM
[ ! -d /etc/containerd/certs.d ] || cp -a /etc/containerd/certs.d/. "$hosts"
printf '%s\n' "$UNSHIM_HOSTS" | while read -r content path; do
  [ -n "$path" ] || continue
  mkdir -p "$(dirname "$hosts/$path")"
  printf '%s' "$content" | base64 -d >"$hosts/$path"
done
export hosts
[ -z "$UNSHIM_HTTP_PROXY" ] || export HTTP_PROXY="$UNSHIM_HTTP_PROXY"
[ -z "$UNSHIM_HTTPS_PROXY" ] || export HTTPS_PROXY="$UNSHIM_HTTPS_PROXY"
[ -z "$UNSHIM_NO_PROXY" ] || export NO_PROXY="$UNSHIM_NO_PROXY"

# Without a pull secret the registry's refusal is as good an answer as any.
# shellcheck disable=SC2016 # the inner shell expands them
printf '%s' "$UNSHIM_REHEARSE" | xargs -r -n 1 -P 4 sh -c '
  said=$(timeout 20 ctr content fetch-object --hosts-dir "$hosts" "$1" 2>&1)
  code=$?
  case $code:$said in
  0:*\"schemaVersion\":\ 1,* | 0:*\"schemaVersion\":1,*) why="the registry has it as schema 1 only" ;;
  0:* | *[!0-9a-f]40[13][!0-9a-f]* | *nauthorized* | *orbidden* | *"authorization failed"* | *denied*) exit 0 ;;
  124:*) why="no answer within 20 s" ;;
  *) why=$(printf "%s" "$said" | tail -n 1 | cut -c 1-300) ;;
  esac
  printf "%s\t%s\n" "$1" "$why"
' sh
exit 0
