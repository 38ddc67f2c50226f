#!/bin/sh
# The complete integration example of the published reference with curl, against the sandbox of `make sandbox`.
#   examples/integration.sh
#   API=http://127.0.0.1:8080 EMAIL=maria@email.com examples/integration.sh
# An email names one customer of an account, so a second run needs another EMAIL.
set -eu

API=${API:-http://127.0.0.1:8080}
EMAIL=${EMAIL:-juan@email.com}
token=

# member NAME: the string of that name in $answer, which the server writes without spaces. A problem's `errors`
# have members of the same names and come last.
member() {
    printf '%s\n' "$answer" | sed -En 's/,"errors":.*//; s/.*"'"$1"'":"(([^"\\]|\\.)*)".*/\1/p'
}

# call METHOD PATH BODY: leaves what the server answers in $answer; anything but a success ends the script.
call() {
    answer=$(curl -sS -X "$1" "$API$2" ${token:+-H "Authorization: Bearer $token"} \
        -H 'Content-Type: application/json' -d "$3" -w '%{http_code}')
    status=${answer#"${answer%???}"}
    answer=${answer%???}
    if [ "$status" != 200 ]; then
        detail=$(member detail)
        echo "$1 $2: $status $(member code): ${detail:-$answer}" >&2
        exit 1
    fi
}

# 1. Login
call POST /auth/login '{"email":"admin@company.com","password":"secure_password"}'
token=$(member token)

# 2. Create customer
call POST /customers '{"name":"Juan Perez","email":"'"$EMAIL"'"}'
customer=$(member customerId)

# 3. Create virtual card
call POST /cards '{"currency":"USD"}'
card=$(member cardId)

# 4. Assign card to customer
call POST /cards/assign '{"cardId":"'"$card"'","customerId":"'"$customer"'"}'

# 5. Add balance
call POST /balances/add '{"cardId":"'"$card"'","amount":500}'

# 6. Activate card
call PATCH /cards/status '{"cardId":"'"$card"'","status":"active"}'

echo 'Card ready for use!'
