# -- before the switch: backups, recovery unit, dead-man ---------------------------------------------

# keep_files STEP: back every file up, or say that it was not there, with the folders we shall make
keep_files() {
    while read -r index mode before after path <&4; do
        path=$root$path
        kept=$here/backup/$1.$index
        [ "$(sum "$path")" = "$before" ] || { fail backup "$path has changed since it was planned"; return 1; }
        if [ -e "$kept" ] || [ -L "$kept" ] || [ -e "$kept.absent" ]; then continue; fi # the oldest backup wins
        if [ "$before" = absent ]; then
            missing_folders "$(dirname "$path")" >"$kept.new" && sync "$kept.new" && mv "$kept.new" "$kept.absent"
        else
            rm -f "$kept.new"
            cp -a "$path" "$kept.new" && mv "$kept.new" "$kept"
            [ -L "$kept" ] || { sync "$kept" && [ "$(sum "$kept")" = "$before" ]; }
        fi || { fail backup "$path cannot be backed up"; return 1; }
    done 4<"$here/steps/$1/files"
}

# folders that do not exist yet, the deepest first: the order in which undo removes them
missing_folders() {
    missing=$1
    while [ ! -d "$missing" ]; do
        echo "$missing"
        missing=$(dirname "$missing")
    done
}

keep_all() {
    mkdir -p "$here/backup"
    while read -r stage step kind limit <&3; do
        [ "$stage $kind" != "switch file" ] || keep_files "$step" || return 1
    done 3<"$here/order"
    sync "$here/backup" "$here"
}

# the unit that rolls back when the node boots in the middle of a switch
arm_recovery() {
    cat >"$units/$recover_unit.new" <<UNIT
[Unit]
Description=unshim: bring an unfinished migration of this node back
DefaultDependencies=no
After=local-fs.target
Before=containerd.service docker.socket docker.service cri-docker.socket cri-docker.service kubelet.service

[Service]
Type=oneshot
ExecStart=/bin/sh $here/runner.sh recover

[Install]
WantedBy=multi-user.target
UNIT
    sync "$units/$recover_unit.new" && mv "$units/$recover_unit.new" "$units/$recover_unit" &&
        systemctl daemon-reload && systemctl enable -q "$recover_unit" &&
        sync "$units" "$units/multi-user.target.wants"
}

# transient UNIT OPTIONS ARGUMENT...: hand a command to systemd; an old one may not know OPTIONS
transient() {
    name=$1 options=$2
    shift 2
    # shellcheck disable=SC2086 # a list of words
    systemd-run --unit="$name" --collect $options "$@" || systemd-run --unit="$name" "$@"
}

disarm() {
    systemctl stop "unshim-deadman-$run.timer" 2>/dev/null || :
    if [ -e "$units/$recover_unit" ]; then
        systemctl disable -q "$recover_unit" 2>/dev/null || :
        rm -f "$units/$recover_unit"
        sync "$units"
        systemctl daemon-reload || :
    fi
    rm -f "$base/current" "$here/room" "$here/said" "$here"/verdict.[0-9]* "$units/$recover_unit.new"
    sync "$base"
}

