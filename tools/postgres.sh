#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own, in a temporary folder, on a socket, gone afterwards:
#     tools/postgres.sh make test
# The command finds its address in TUNESMITH_TEST_POSTGRES. Where that is set already, it is used as
# it is. Debian's package is installed when there are no server programs and we are root.
set -euo pipefail

if [ -n "${TUNESMITH_TEST_POSTGRES:-}" ]; then
    exec "$@"
fi

programs() { # the newest server programs on this machine
    local found
    found=$(command -v pg_ctl || ls -d /usr/lib/postgresql/*/bin/pg_ctl 2>/dev/null | sort -V | tail -1)
    [ -z "$found" ] || dirname "$(readlink -f "$found")"
}

if [ -z "$(programs)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing PostgreSQL ..." >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
fi
bin=$(programs)
if [ -z "$bin" ]; then
    echo "There is no PostgreSQL on this machine: install it, or set TUNESMITH_TEST_POSTGRES." >&2
    exit 1
fi

# The server refuses to run as root; it then runs as the user that the package made.
as_server=()
folder=$(mktemp -d /tmp/pg.XXXXXX) # short: the path of a socket has 107 characters at most
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || useradd --system --no-create-home postgres
    chown postgres "$folder"
    as_server=(runuser -u postgres --)
fi

cd_quietly() { (cd "$folder" && "$@"); } # the server's user may not see our own folder
stop() {
    cd_quietly "${as_server[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT

cd_quietly "${as_server[@]}" "$bin/initdb" -N -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C >/dev/null
# Its data need not survive a loss of power, so no commit waits for the disk.
careless="-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
cd_quietly "${as_server[@]}" "$bin/pg_ctl" -w -D "$folder/data" -l "$folder/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c max_connections=200 $careless" start >/dev/null ||
    { cat "$folder/log" >&2; exit 1; }

export TUNESMITH_TEST_POSTGRES="postgresql://postgres@/postgres?host=$folder"
"$@"
