#!/bin/sh
# Ends this machine when its time to live is over. A timer runs it once a minute; nothing is scheduled ahead.
#
#   ogc-end                   look whether the time is over, and power off if so
#   ogc-end extend SECONDS    let the machine end that many seconds from now instead; prints when, in epoch seconds
#
# Two counters run side by side: the uptime of all boots, and the clock. The first to run out ends the machine.
life=@LIFE_S@    # seconds
then=@THEN@    # "stop": a start after the end begins another life

state=/var/lib/ogc-end
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

sane=1767225600    # 2026: a clock that reads less was never set
slow=300           # seconds that a reboot may take; a machine that was off for longer was stopped

fail() {
    echo "ogc-end: $*" >&2
    exit 1
}

# A copy that is tried out elsewhere, by another name, leaves that computer alone.
case $0 in
ogc-end | */ogc-end) ;;
*) fail "works under the name ogc-end alone; under another one, such as '$0', it changes nothing" ;;
esac

# A whole number that the shell can count with.
is_number() {
    case $1 in
    0) ;;
    '' | [!1-9]* | *[!0-9]* | ?????????????*) return 1 ;;
    esac
}

# write FILE VALUE...: whole or not at all. The dot at the end shows that nothing is missing.
write() {
    file=$state/$1
    shift
    { [ -d "$state" ] || mkdir -p "$state"; } 2>/dev/null
    { [ ! -d "$file" ] && echo "$* ." > "$file.new" && mv -f "$file.new" "$file"; } 2>/dev/null
}

# What the machine says now: $up, $boot, and $clock, which is 0 where it is not to be believed.
read_machine() {
    up='' boot=''
    { read -r up rest < /proc/uptime; } 2>/dev/null
    up=${up%%.*}
    is_number "$up" || up=0
    { read -r boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null
    boot=${boot:--}
    clock=$(date +%s) && is_number "$clock" && [ "$clock" -ge "$sane" ] || clock=0
}

# What is on record: uptime of the boots before ($before), and how often this one was told to end ($tries).
read_used() {
    dot=''
    { read -r last before seen tries dot < "$state/used"; } 2>/dev/null
    if ! { [ "$dot" = . ] && is_number "$before" && is_number "$seen" && is_number "$tries"; }; then
        last=$boot before=0 seen=0 tries=0
    fi
    was_told='' is_new_boot=''
    if [ "$last" != "$boot" ] || [ "$up" -lt "$seen" ]; then
        [ "$tries" -eq 0 ] || was_told=yes
        is_new_boot=yes before=$((before + seen)) tries=0
    fi
    used=$((before + up))
}

# When it ends: at $limit seconds of uptime, and when the clock reads $deadline, or 0 where that was never believed.
read_end() {
    dot='' is_new_end=''
    { read -r limit deadline dot < "$state/end"; } 2>/dev/null
    if ! { [ "$dot" = . ] && is_number "$limit" && is_number "$deadline"; }; then
        is_new_end=yes limit=$life deadline=0
    fi
    if [ "$then" = stop ] && [ "$is_new_boot" ] && is_started_again; then
        is_new_end=yes before=0 used=$up limit=$life deadline=0
    fi
    if [ "$deadline" -eq 0 ] && [ "$clock" -gt 0 ]; then
        is_new_end=yes deadline=$((clock + limit - used))
    fi
    [ -z "$is_new_end" ] || write end "$limit" "$deadline"
}

# It came to its end before this boot: it was told to, or was off at that time, and for longer than a reboot is.
is_started_again() {
    [ "$was_told" ] || { [ "$deadline" -gt 0 ] && [ $((clock - up)) -ge $((deadline + slow)) ]; }
}

# By how many seconds the time is over, below 0 where it is not.
read_late() {
    late=$((used - limit))
    if [ "$deadline" -gt 0 ] && [ "$clock" -gt 0 ] && [ $((clock - deadline)) -gt "$late" ]; then
        late=$((clock - deadline))
    fi
}

look() {
    if [ "$late" -lt 0 ]; then
        write used "$boot" "$before" "$up" 0
        return 0
    fi
    tries=$((tries + 1))
    # Where it cannot be written how often it was tried, it shows by how late it is.
    write used "$boot" "$before" "$up" "$tries" || tries=$((late / 60 + 1))
    echo "ogc-end: the time to live of this machine has been over for $late s; powering off, try $tries"
    if [ "$tries" -le 2 ]; then
        systemctl poweroff || shutdown -h now || poweroff
    else
        # The kernel does not come back from either, and the last asks no other program.
        systemctl poweroff -ff || poweroff -f
        { echo o > /proc/sysrq-trigger; } 2>/dev/null
    fi
}

extend() {
    is_number "$1" && [ "$1" -gt 0 ] && [ "$1" -lt 1000000000 ] ||
        fail "extend takes a number of seconds from 1 to 999999999, such as 7200, not '$1'"
    [ "$tries" -eq 0 ] || fail "this machine is powering off already; launch another one"
    [ "$clock" -gt 0 ] || fail "this machine's clock is not set ('date' says $(date)); set it, then extend again"
    write used "$boot" "$before" "$up" 0 && write end $((used + $1)) $((clock + $1)) ||
        fail "cannot write to $state; run this as root, and see that the disk is neither full nor read-only"
    echo $((clock + $1))
}

read_machine
read_used
read_end
read_late
case ${1-} in
'') look ;;
extend) extend "${2-}" ;;
*) fail "no such command: '$1'; use 'extend SECONDS', or nothing" ;;
esac
