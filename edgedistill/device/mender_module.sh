#!/bin/sh
# Mender update module of edgedistill: /usr/share/mender/modules/v3/edgedistill-bundle, mode 0755.
# Mender calls it as: edgedistill-bundle STATE FILES, and this one calls the board's own commands, which
# check the bundle's signature against the keys of `edgedistill enrol`.
# ROOT is the one line of /etc/edgedistill.root; everything runs as the user that owns it.
set -eu
state=$1
files=$2

root=${EDGEDISTILL_ROOT:-}
if [ -z "$root" ]; then
    read -r root < /etc/edgedistill.root || { echo "/etc/edgedistill.root: expected a folder" >&2; exit 1; }
fi

as_owner() ( # from / because `python3 -m` looks in the folder that it is called from first
    owner=$(stat -c %U "$root")
    cd /
    if [ "$owner" = "$(id -un)" ]; then "$@"; else runuser -u "$owner" -- "$@"; fi
)
agent() { # VERB [WORD...]: the trusted code that was put there at enrolment
    verb=$1
    shift
    as_owner env PYTHONPATH="$root/agent" python3 -m jetson "$verb" --root "$root" "$@"
}
release() { # VERB: the release's own code
    as_owner env PYTHONPATH="$root/releases/$id" python3 -m jetson "$1" --bundle "$root/releases/$id" \
        --backend "$(sed -n 's/.*"backend": *"\([a-z]*\)".*/\1/p' "$root/board.json")"
}
id_named() { # KEY: the id that a verb's last line gives under it, or nothing
    tail -n 1 | sed -n 's/.*"'"$1"'": "\([0-9a-f]\{16\}\)".*/\1/p'
}
installed() { cat "$files/tmp/edgedistill-id" 2>/dev/null || true; }
current() { agent status | id_named current; }

case "$state" in
SupportsRollback)
    echo Yes
    ;;
ArtifactInstall)
    set -- "$files"/files/*.edb.tar
    agent unpack - < "$1" > "$files/tmp/edgedistill-said"
    id=$(id_named id < "$files/tmp/edgedistill-said")
    test -n "$id"
    echo "$id" > "$files/tmp/edgedistill-id"
    agent accept "$id"
    release build
    release verify
    agent activate "$id"
    ;;
ArtifactCommit)
    id=$(installed)
    test -n "$id"
    test "$(current)" = "$id"
    ;;
ArtifactRollback)
    # Only what this update switched to is taken back; `activate` may have done so by itself.
    id=$(installed)
    if [ -n "$id" ] && [ "$(current)" = "$id" ]; then agent rollback; fi
    ;;
*) ;; # the others need nothing; Mender asks for them all
esac
