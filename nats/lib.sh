# shellcheck shell=sh disable=SC2154
# What `run` and `cluster` share: nats-servers that live as long as one command.
#
# The servers and their temporary folder belong to a keeper (see `keep`), which
# cleans up as soon as nobody has file descriptor 9 open for writing. The system
# closes it however this script ends, so no way of ending needs care of its own.
#
# The script that reads this file has set `me` (its name) and `here` (its folder).

keeper=
dir=

say() { printf '%s: %s\n' "$me" "$*" >&2; }

usage() {
    echo "usage: $me CMD [ARG...]" >&2
    exit 2
}

find_server() {
    NATS_SERVER_BIN=$(sh "$here/install")
    export NATS_SERVER_BIN
}

# start CONF [PORT...]: one server, or a cluster with a node for each route port.
start() {
    trap stop EXIT
    trap 'exit 130' INT
    nodes=$(($# > 1 ? $# - 1 : 1))
    dir=$(mktemp -d "${TMPDIR:-/tmp}/natslock-nats.XXXXXX")
    mkfifo "$dir/alive"
    exec 9<>"$dir/alive"
    in_own_session sh "$here/keep" "$dir" $$ "$PPID" "$@" <"$dir/alive" >"$dir/keep.log" 2>&1 9>&- &
    keeper=$!
}

# Neither Ctrl-C nor a signal to the script's process group may reach the keeper.
in_own_session() {
    if command -v setsid >/dev/null; then
        exec setsid "$@"
    elif command -v perl >/dev/null; then
        exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"
    else
        exec "$@"
    fi
}

stop() {
    exec 9>&-
    [ -z "$keeper" ] || wait "$keeper" || true
    [ -z "$dir" ] || rm -rf "$dir"
    keeper=
    dir=
}

# Waits until every server takes connections and every log has each PATTERN.
await() {
    deadline=$(($(date +%s) + 15))
    until [ "$(urls | wc -l)" -eq "$nodes" ] && all_logs_have "$@"; do
        if cannot_start || [ "$(date +%s)" -gt "$deadline" ]; then return 1; fi
        sleep 0.05
    done
}

# A server writes its ports file, one line of JSON without an end, once it listens.
urls() { cat "$dir"/n*/*.ports 2>/dev/null | tr '}' '\n' | sed -n 's/.*"nats":\["\([^"]*\)".*/\1/p'; }

all_logs_have() {
    for pattern; do
        [ "$(grep -ls -e "$pattern" "$dir"/n*/log | wc -l)" -eq "$nodes" ] || return 1
    done
}

cannot_start() { grep -qs -e '\[FTL\]' -e '^nats-server: ' "$dir"/n*/log; }

port_taken() { grep -qs 'address already in use' "$dir"/n*/log; }

give_up() {
    say 'the server did not become ready; its log ends with'
    tail -n 20 "$dir"/keep.log "$dir"/n*/log >&2
    exit 1
}

# Runs the command in the foreground, or Ctrl-C would not reach it. Ctrl-C reaches
# this script too: the trap lets it wait for the command's own answer. All other
# signals end the script, and the keeper then ends the command by the pid noted here.
run_command() {
    NATS_URL=$(urls | paste -s -d , -)
    export NATS_URL
    trap : INT
    code=0
    # shellcheck disable=SC2016 # The inner shell expands these.
    sh -c 'echo $$ >"$1"; shift; exec "$@" 9>&-' "$me" "$dir/command" "$@" || code=$?
    rm -f "$dir/command"
    exit "$code"
}
