# -- steps -----------------------------------------------------------------------------------------

# part STEP NAME LIMIT: run one script of a step; its last words go to $said
part() {
    # shellcheck disable=SC2016  # the inner shell expands them
    timeout -k 5 "$3" sh -eu -c '. "$1"; . "$2"' sh "$here/env" "$here/steps/$1/$2" \
        >"$here/said" 2>&1 </dev/null # a file: a pipe would wait for what the step left running
    code=$?
    said=$(tail -n 5 "$here/said" | tail -c 400)
    [ $code != 124 ] || said="no answer within $3 s. $said"
    return $code
}

fail() {
    note failed "$1" "$2"
    return 1
}

# apply STEP KIND LIMIT
apply() {
    [ "$(state_of "$1")" != "done" ] || return 0
    case $2 in
    file) apply_files "$1" ;;
    script) apply_script "$1" "$3" ;;
    esac
}

apply_script() {
    doubt=$(state_of "$1")
    if [ -f "$here/steps/$1/check" ]; then
        part "$1" check "$2"
        case $? in
        0)
            # a step that we began ourselves is ours to undo
            if [ "$doubt" = started ]; then note "done" "$1"; else note skipped "$1"; fi
            return 0
            ;;
        1) ;;
        *)
            fail "$1" "cannot tell whether it is so already: $said"
            return 1
            ;;
        esac
    fi
    note started "$1"
    part "$1" apply "$2" || { fail "$1" "exit code $code: $said"; return 1; }
    for proof in verify check; do
        [ -f "$here/steps/$1/$proof" ] || continue
        part "$1" $proof "$2" || { fail "$1" "$proof: exit code $code: $said"; return 1; }
        break
    done
    note "done" "$1"
}

sum() { if [ -e "$1" ]; then sha256sum <"$1" | cut -d' ' -f1; else echo absent; fi; }

apply_files() {
    [ -s "$here/steps/$1/files" ] || { note skipped "$1"; return 0; }
    note started "$1"
    while read -r index mode before after path <&4; do
        path=$root$path
        now=$(sum "$path")
        [ "$now" != "$after" ] || continue
        [ "$now" = "$before" ] || { fail "$1" "$path has changed since it was planned"; return 1; }
        put "$here/steps/$1/new.$index" "$path" "$mode" "$after" || { fail "$1" "writing $path"; return 1; }
    done 4<"$here/steps/$1/files"
    note "done" "$1"
}

# put SOURCE TARGET MODE SUM: replace a file in one rename, keeping its mode and owner
put() {
    folder=$(dirname "$2")
    if [ "$4" = absent ]; then
        rm -f "$2" && sync "$folder"
        return
    fi
    mkdir -p "$folder" && cp "$1" "$2.unshim-new" || return 1
    if [ -e "$2" ]; then
        chown --reference="$2" "$2.unshim-new" && chmod --reference="$2" "$2.unshim-new" &&
            { [ ! -d /sys/fs/selinux ] || chcon --reference="$2" "$2.unshim-new" || :; }
    else
        chown 0:0 "$2.unshim-new" && chmod "$3" "$2.unshim-new"
    fi || return 1
    sync "$2.unshim-new" && mv -T "$2.unshim-new" "$2" && sync "$folder"
}

undo_files() {
    while read -r index mode before after path <&4; do
        path=$root$path
        kept=$here/backup/$1.$index
        rm -f "$path.unshim-new"
        case $(sum "$path") in # somebody else's edit since then is kept beside the backup
        "$before" | "$after" | absent) ;;
        *) cp -a "$path" "$kept.found" && sync "$kept.found" ;;
        esac
        if [ -e "$kept.absent" ]; then
            rm -f "$path"
            while read -r folder <&5; do rmdir "$folder" 2>/dev/null || :; done 5<"$kept.absent"
        else
            cp -a "$kept" "$path.unshim-new" && { [ -L "$kept" ] || sync "$path.unshim-new"; } &&
                mv -T "$path.unshim-new" "$path" || return 1
        fi
        [ ! -d "$(dirname "$path")" ] || sync "$(dirname "$path")"
        [ "$(sum "$path")" = "$before" ] || return 1
    done 4<"$here/steps/$1/files"
}

# undo STEP KIND LIMIT: only what this run began; a skipped step was so before us
undo() {
    case $(state_of "$1") in started | done | failed | undo-failed) ;; *) return 0 ;; esac
    case $2 in
    file) undo_files "$1" || { note undo-failed "$1" "restoring its files"; return 1; } ;;
    script)
        [ -f "$here/steps/$1/undo" ] || return 0
        # an undo that stays half done needs a person, so what may pass by itself gets a second chance
        part "$1" undo "$3" || part "$1" undo "$3" ||
            { note undo-failed "$1" "exit code $code: $said"; return 1; }
        ;;
    esac
    note undone "$1"
}
