# Sourced by the scripts that test clients: steps that print one line each, and a sandbox of the script's own.
# It expects the path of the binary in $binary.
# shellcheck shell=bash
set -euo pipefail
[ -x "$binary" ] || { echo "$binary is not a program" >&2; exit 2; }
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mkdir -p "${CARGO_TARGET_DIR:-target}/integration"
target=$(cd "${CARGO_TARGET_DIR:-target}/integration" && pwd)
temporary=$(mktemp -d)
chmod 755 "$temporary" # when root runs this, Postgres runs as another user
server=
proxy=
step=

finish() {
    local status=$? process
    trap '' INT TERM
    if [ "$status" != 0 ] && [ -n "$step" ]; then
        printf '%s: FAILED\n' "$step"
        cat "$temporary/step"
        if [ -s "$temporary/server" ]; then
            printf '%s\n' '--- output of the server' "$(cat "$temporary/server")"
        fi
    fi >&2
    for process in $proxy $server; do
        kill -TERM "$process" 2>/dev/null || true # the server also stops its Postgres
        wait "$process" || true
    done
    rm -rf "$temporary"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step NAME COMMAND...: prints one line if the command succeeds. If it fails, prints its output and exits.
step() {
    step=$1
    shift
    local began=$SECONDS
    ("$@") >"$temporary/step" 2>&1
    printf '%-52s ok  %3d s\n' "$step" $((SECONDS - began))
    step=
}

# npm_packages SOURCE TARGET: installs into TARGET what the lock of SOURCE pins, unless it is there.
npm_packages() {
    mkdir -p "$2"
    cp "$1"/{.npmrc,package.json,package-lock.json} "$2"
    cd "$2"
    if ! cmp -s package-lock.json installed.json; then
        rm -f installed.json
        npm ci --no-audit --no-fund --prefer-offline
        cp package-lock.json installed.json
    fi
}

ready() {
    local _
    for _ in $(seq 300); do
        address=$(sed -En 's/.* is up at (http[^ ]+).*/\1/p' "$temporary/server")
        if [ -n "$address" ] && curl -fs "$address/health/ready"; then
            return 0
        fi
        kill -0 "$server" 2>/dev/null || { echo 'the server ended'; return 1; }
        sleep 0.2
    done
    echo 'the server was not ready after a minute'
    return 1
}

# Starts a sandbox without limits, and sets API to its address and token to an admin's token.
start_sandbox() {
    local limit limits=()
    for limit in PER_HOUR FAILED_{AUTHENTICATIONS_PER_MINUTE,LOGINS_PER_{MINUTE,EMAIL_AND_ADDRESS,EMAIL,ADDRESS}}; do
        limits+=("CORE_API__RATE_LIMIT__$limit=1000000")
    done
    env -u DATABASE_URL -u CORE_API__DATABASE__URL CORE_API_ENV=sandbox CORE_API__SERVER__LISTEN=127.0.0.1:0 \
        CORE_API__DATABASE__DATA_DIR="$temporary/data" CORE_API__LOG__LEVEL=warn "${limits[@]}" \
        "$binary" >"$temporary/server" 2>&1 </dev/null &
    server=$!
    step 'start a sandbox' ready
    API=$(sed -En 's/.* is up at (http[^ ]+).*/\1/p' "$temporary/server")
    export API
    token=$(curl -fsS "$API/auth/login" -H 'Content-Type: application/json' \
        -d '{"email":"admin@company.com","password":"secure_password"}' | sed -E 's/.*"token":"([^"]*)".*/\1/')
}

# Asserts that the customer with this email has one card in the state that the example leaves. integration.mjs does not check.
card_is_ready() {
    local customer cards
    customer=$(curl -fsS "$API/customers?email=$1" -H "Authorization: Bearer $token")
    customer=$(sed -E 's/.*"customerId":"([^"]*)".*/\1/' <<<"$customer")
    cards=$(curl -fsS "$API/cards?customerId=$customer" -H "Authorization: Bearer $token")
    echo "the cards of $1: $cards"
    grep -Eq '^\{"cards":\[\{"cardId":"[^"]+","status":"active","currency":"USD","balance":500,([^{]|\{\})*\}\]\}$' <<<"$cards"
}

# example EMAIL COMMAND...
example() {
    local email=$1
    shift
    EMAIL=$email "$@"
    card_is_ready "$email"
}

# node_example ADDRESS EMAIL: runs the verbatim copy of the reference's example, whose host and email have to be replaced.
node_example() {
    sed "s|http://127.0.0.1:8080|$1|; s|juan@email.com|$2|" examples/integration.mjs >"$temporary/integration.mjs"
    node "$temporary/integration.mjs"
}
