"""The programs of a machine's own: shell scripts that ask the sandbox for what would reach this computer otherwise.

Semantics: ``shutdown(8)``, ``systemctl(1)``, ``halt(8)`` of systemd. ``halt`` leaves an EC2 instance running:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Stop_Start.html
"""

from __future__ import annotations

from ogc_async.sandbox.guest.places import KERNEL_FILES, ROOTS, Places

BROKEN = "is-broken"
"""In the kernel's folder: no polite way to shut down works."""
SYSTEMD = "has-systemd"

_SCRIPT = r"""#!/bin/sh
# One of the machine's own programs, by the name that it is called by.
root=@ROOT@ kernel=@KERNEL@ programs=@PROGRAMS@
units=$root/etc/systemd/system

ask() { printf '%s\n' "$*" > "$kernel/requests"; }
die() { code=$1; shift; echo "$*" >&2; exit "$code"; }
be_polite() { [ ! -e "$kernel/is-broken" ] || die 1 "Failed to connect to bus: Connection refused"; }

end() { # kind, then options
    kind=$1 force=0; shift
    for each do
        case $each in
            -ff) force=2 ;;
            -f | --force) force=$((force + 1)) ;;
            -p | --poweroff) kind=poweroff ;;
            --reboot) kind=reboot ;;
            --halt) kind=halt ;;
        esac
    done
    [ "$force" -ge 2 ] || be_polite
    ask "$kind"
}

shutdown() {
    kind=poweroff when= is_cancelled=
    for each do
        case $each in
            -c) is_cancelled=1 ;;
            -r | --reboot) kind=reboot ;;
            -H | --halt) kind=halt ;;
            -*) ;;
            *) [ -n "$when" ] || when=$each ;;
        esac
    done
    be_polite
    if [ -n "$is_cancelled" ]; then ask cancel; return; fi
    case ${when:=+1} in
        now | +0) ask "$kind" ;;
        + | +*[!0-9]*) die 1 "Failed to parse time specification: $when" ;;
        +*) ask schedule "$kind" "${when#+}" ;;
        *) die 1 "Failed to parse time specification: $when" ;;
    esac
}

find_unit() {
    for place in "$units" "$root/run/systemd/system" "$root/usr/local/lib/systemd/system"; do
        file=$place/$1
        [ ! -f "$file" ] || return 0
    done
    return 1
}

is_enabled() {
    for link in "$units"/*.wants/"$1"; do [ ! -L "$link" ] || return 0; done
    return 1
}

manage() { # verb, unit
    active=$root/run/systemd/active/$2
    case $1 in
        enable)
            find_unit "$2" || die 1 "Failed to enable unit: Unit file $2 does not exist."
            for target in $(sed -n 's/^WantedBy=//p' "$file"); do
                mkdir -p "$units/$target.wants" && ln -sf "$file" "$units/$target.wants/$2" || exit 1
            done
            [ -z "$now" ] || manage start "$2"
            ;;
        disable)
            for link in "$units"/*.wants/"$2"; do rm -f "$link"; done
            [ -z "$now" ] || manage stop "$2"
            ;;
        start)
            find_unit "$2" || die 5 "Failed to start $2: Unit $2 not found."
            case $2 in *.timer) mkdir -p "$root/run/systemd/active" && : > "$active" ;; esac
            ask start "$2"
            ;;
        stop) rm -f "$active"; ask stop "$2" ;;
        restart) manage stop "$2"; manage start "$2" ;;
        is-enabled)
            if is_enabled "$2"; then say enabled; else say disabled; result=1; fi
            ;;
        is-active | status)
            if [ -e "$active" ]; then say active; else say inactive; result=3; fi
            ;;
    esac
}

say() { [ -n "$quiet" ] || echo "$1"; }

systemctl() {
    [ -e "$kernel/has-systemd" ] ||
        die 1 "System has not been booted with systemd as init system (PID 1). Can't operate."
    verb= names= now= quiet= options= result=0
    for each do
        case $each in
            --now) now=1 ;;
            -q | --quiet) quiet=1 ;;
            -*) options="$options $each" ;;
            *) if [ -z "$verb" ]; then verb=$each; else names="$names $each"; fi ;;
        esac
    done
    case $verb in
        poweroff | reboot | halt) end "$verb" $options ;;
        enable | disable | start | stop | restart | is-enabled | is-active | status)
            for each in $names; do
                case $each in *.*) ;; *) each=$each.service ;; esac
                manage "$verb" "$each"
            done
            ;;
        "" | daemon-reload | daemon-reexec | reset-failed | list-timers | list-units | is-system-running) ;;
        *) die 1 "Unknown command verb $verb." ;;
    esac
    return "$result"
}

date() { # by the machine's clock, to the second; a moment that is given is this computer's to write
    read -r now < "$kernel/now"
    case " $* " in
        " +%s ") echo "$now" ;;
        *" -s"* | *" --set"*) die 1 "date: cannot set date: Operation not permitted" ;;
        *" -d"* | *" --date"* | *" -r"* | *" --reference"*) command -p date "$@" ;;
        *) command -p date -d "@$now" "$@" ;;
    esac
}

translate() { # the machine's own paths, once for every second one, since two share what is between them
    here="s#(^|[^A-Za-z0-9_./}~*?)-])/(@ROOTS@)([^A-Za-z0-9_.-]|\$)#\1$root/\2\3#g"
    printf '%s=' "$1" | sed -E @KERNEL_FILES@ -e "$here" -e "$here"
}

run_as_root() { # as this very user, with the machine's paths in what it is told
    while :; do
        case ${1-} in
            -[ugphCTR]) shift 2 ;;
            --) shift; break ;;
            -*) shift ;;
            [A-Za-z_]*=*) export "$1"; shift ;;
            *) break ;;
        esac
    done
    [ $# -gt 0 ] || exit 0
    count=$#
    while [ "$count" -gt 0 ]; do
        given=$(translate "$1"); shift
        set -- "$@" "${given%=}"
        count=$((count - 1))
    done
    PATH=$programs:$root/usr/local/sbin:$root/usr/local/bin:$PATH
    export PATH
    exec "$@"
}

case ${0##*/} in
    shutdown) shutdown "$@" ;;
    poweroff | reboot | halt) end "${0##*/}" "$@" ;;
    init | telinit)
        case ${1-} in
            0) end poweroff ;;
            6) end reboot ;;
            *) die 1 "${0##*/}: only 0 and 6 are known here" ;;
        esac
        ;;
    systemctl) systemctl "$@" ;;
    date) date "$@" ;;
    logger) mkdir -p "$root/var/log" && printf '%s\n' "$*" >> "$root/var/log/messages" ;;
    sudo) run_as_root "$@" ;;
esac
"""


def script(places: Places) -> str:
    """The one script that is every stand-in, for the machine with these folders."""
    kernel_files = " ".join(f"-e 's#/{path}#{places.kernel}/{name}#g'" for path, name in KERNEL_FILES.items())
    return (
        _SCRIPT.replace("@ROOT@", places.root)
        .replace("@KERNEL@", places.kernel)
        .replace("@PROGRAMS@", places.programs)
        .replace("@ROOTS@", "|".join(ROOTS))
        .replace("@KERNEL_FILES@", kernel_files)
    )
