#!/bin/sh
# Mender update module of edgedistill: /usr/share/mender/modules/v3/edgedistill-bundle, mode 0755.
# Mender calls it, as root, as: edgedistill-bundle STATE FILES. It calls the board's own commands, which
# check the bundle's signature against the keys of `edgedistill enrol`.
# ROOT is the one line of /etc/edgedistill.root; everything in it runs as the user that owns it, never as root.
set -eu
umask 022
state=$1
files=$2

refuse() { # LINE
    echo "edgedistill-bundle: $1" >&2
    exit 1
}

case "$state" in
ArtifactInstall | ArtifactCommit | ArtifactRollback) ;;
SupportsRollback)
    echo Yes
    exit 0
    ;;
*) exit 0 ;; # the others need nothing; Mender asks for them all
esac

named=${EDGEDISTILL_ROOT:-}
if [ -z "$named" ]; then
    { read -r named < /etc/edgedistill.root || [ -n "$named" ]; } 2>/dev/null \
        || refuse "/etc/edgedistill.root: expected one line, the folder of edgedistill enrol"
fi
case "$named" in /*) ;; *) refuse "$named: expected an absolute path" ;; esac
# A link is followed first: the owner of the link is not the owner of the code.
root=$(readlink -f -- "$named") && [ -d "$root" ] || refuse "$named is no folder; edgedistill enrol makes it"

uid=$(stat -c %u -- "$root")
owner=$(stat -c %U -- "$root")
[ "$uid" -ne 0 ] || refuse "$root belongs to root, and no code of a board runs as root: chown it to another user"
[ "$(id -u -- "$owner" 2>/dev/null)" = "$uid" ] \
    || refuse "$root belongs to uid $uid, which is no user of this board: chown it to one"
# A private group, as Ubuntu gives each user, may write: it has no other member.
group=0
if [ "$(id -gn -- "$owner")" = "$owner" ]; then group=$(id -g -- "$owner"); fi

others_may_write() { # FIND'S WORDS: the first thing that somebody else could change
    find "$@" ! -type l \( ! \( -uid 0 -o -uid "$uid" \) -o -perm -002 -o \( -perm -020 ! -group "$group" \) \) \
        -print 2>/dev/null | head -n 1
}
# What leads to ROOT must not change between this look and its use; in a folder like /tmp, whose mode has
# the sticky bit, nobody renames what is not theirs.
place=$root
while [ "$place" != / ]; do
    place=$(dirname -- "$place")
    if [ -k "$place" ] && [ "$(stat -c %u -- "$place")" -eq 0 ]; then continue; fi
    writer=$(others_may_write "$place" -maxdepth 0)
    [ -z "$writer" ] || refuse "$writer can be changed by others than root and $owner, and with it $root: chmod go-w"
done
for part in "$root" "$root/releases"; do
    writer=$(others_may_write "$part" -maxdepth 0)
    [ -z "$writer" ] || refuse "$writer can be changed by others than $owner: chmod go-w $writer"
done
writer=$(others_may_write "$root/agent" "$root/trusted.d")
[ -z "$writer" ] || refuse "$writer can be changed by others than $owner: chmod -R go-w $root/agent $root/trusted.d"

home=$(getent passwd "$uid" | cut -d : -f 6)
as_owner() ( # from / because `python3 -m` looks in the folder that it is called from first
    cd /
    # Of Mender's environment only PATH: the rest is root's, and HOME would be /root.
    set -- env -i PATH="$PATH" HOME="${home:-/}" LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "$@"
    if [ "$(id -u)" -eq "$uid" ]; then "$@"; else runuser -u "$owner" -- "$@"; fi
)
package_in() { # FOLDER: version 0.1 called it jetson
    if [ -d "$1/edgedistill_device" ]; then echo edgedistill_device; else echo jetson; fi
}
agent() { # VERB [WORD...]: the trusted code that was put there at enrolment
    verb=$1
    shift
    as_owner PYTHONPATH="$root/agent" python3 -m "$(package_in "$root/agent")" "$verb" --root "$root" "$@"
}
backend() { # read as the owner: board.json is the owner's, and may be a link to what only root reads
    as_owner sed -n 's/.*"backend" *: *"\([^"]*\)".*/\1/p' "$root/board.json" | head -n 1
}
release() { # VERB: the release's own code, which refuses a backend that it does not know
    word=$(backend)
    [ -n "$word" ] || refuse "$root/board.json: expected a \"backend\", found none: run edgedistill enrol again"
    as_owner PYTHONPATH="$root/releases/$id" python3 -m "$(package_in "$root/releases/$id")" "$1" --bundle "$root/releases/$id" \
        --backend="$word"
}
id_named() { # KEY: the id that a verb's last line gives under it, or nothing
    tail -n 1 | sed -n 's/.*"'"$1"'": "\([0-9a-f]\{16\}\)".*/\1/p'
}
installed() { cat "$files/tmp/edgedistill-id" 2>/dev/null || true; }
current() { agent status | id_named current; }

case "$state" in
ArtifactInstall)
    set -- "$files"/files/*.edb.tar
    if [ $# -ne 1 ] || [ ! -f "$1" ]; then refuse "$files/files: expected one .edb.tar"; fi
    agent unpack - < "$1" > "$files/tmp/edgedistill-said"
    id=$(id_named id < "$files/tmp/edgedistill-said")
    [ -n "$id" ] || refuse "unpack named no id"
    echo "$id" > "$files/tmp/edgedistill-id"
    agent accept "$id"
    release build
    release verify
    agent status > "$files/tmp/edgedistill-before"
    sync # the switch below is on the disk before a power cut, so this must be too
    agent activate "$id"
    ;;
ArtifactCommit)
    id=$(installed)
    [ -n "$id" ] || refuse "nothing was installed by this update"
    [ "$(current)" = "$id" ] || refuse "the board does not serve $id"
    ;;
ArtifactRollback)
    # Only what this update switched to is taken back; `activate` may have done so by itself.
    id=$(installed)
    before=$files/tmp/edgedistill-before
    if [ -n "$id" ] && [ -s "$before" ] && [ "$(id_named current < "$before")" != "$id" ] && [ "$(current)" = "$id" ]; then
        agent rollback --leave "$id"
    fi
    ;;
esac
