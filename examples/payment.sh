#!/bin/sh
# A card's payment from authorisation to refund with curl, against the sandbox of `make sandbox`.
#   examples/payment.sh
#   API=http://127.0.0.1:8080 examples/payment.sh
# The admin makes the card and an API key of the role network. The processor's gateway, which has only that key, makes the
# card pay.
set -eu

API=${API:-http://127.0.0.1:8080}
token=

# member NAME: the first string or number of that name in $answer, which the server writes without spaces.
member() {
    printf '%s\n' "$answer" | grep -Eo '"'"$1"'":("([^"\\]|\\.)*"|-?[0-9.]+)' | sed -E '1!d; s/^[^:]*://; s/^"//; s/"$//'
}

# call METHOD PATH [BODY]: leaves what the server answers in $answer; anything but a success ends the script. The key is
# one for each call. A gateway makes it from the network's message, so that the message's repetition has the same key.
calls=0
call() {
    calls=$((calls + 1))
    answer=$(curl -sS -X "$1" "$API$2" ${token:+-H "Authorization: Bearer $token"} \
        -H 'Content-Type: application/json' -H "Idempotency-Key: payment-$$-$(date +%s)-$calls" \
        ${3:+-d "$3"} -w '%{http_code}')
    status=${answer#"${answer%???}"}
    answer=${answer%???}
    if [ "$status" != 200 ]; then
        detail=$(member detail)
        echo "$1 $2: $status $(member code): ${detail:-$answer}" >&2
        exit 1
    fi
}

# show STEP: prints it and what it left of the card's money. The object `balance` is the last one of an answer.
show() {
    whole=$answer
    answer=${answer##*'"balance":{'}
    echo "$1: balance $(member balance), held $(member held), available $(member available)"
    answer=$whole
}

# 1. The admin makes an active card with a balance of 500
call POST /auth/login '{"email":"admin@company.com","password":"secure_password"}'
admin=$(member token)
token=$admin
call POST /cards '{"currency":"USD"}'
card=$(member cardId)
call POST /balances/add '{"cardId":"'"$card"'","amount":500}'
call PATCH /cards/status '{"cardId":"'"$card"'","status":"active"}'

# 2. The admin makes a key for the gateway. It is shown only now
call POST /api-keys '{"name":"payment example","role":"network"}'
key=$(member apiKeyId)
token=$(member key)

# 3. A merchant asks whether the card can pay 100. The money is held
call POST /network/authorizations '{"cardId":"'"$card"'","amount":100,
    "merchant":{"id":"445291006","name":"HOTEL MIRADOR","mcc":"7011","city":"Bogota","country":"CO"}}'
authorization=$(member id)
show "Authorised 100, $(member status)"

# 4. The bill may be higher: hold 50 more
call POST "/network/authorizations/$authorization/increments" '{"amount":50}'
show 'Incremented by 50'

# 5. The merchant takes 120. The capture is final, so the rest is released
call POST "/network/authorizations/$authorization/captures" '{"amount":120}'
show "Captured 120, $(member status)"

# 6. Too much is declined: an answer with the reason and the numbers, not an error
call POST /network/authorizations '{"cardId":"'"$card"'","amount":1000}'
show "Asked for 1000, $(member status) with $(member code)"

# 7. The merchant gives 20 back
call POST /network/refunds '{"cardId":"'"$card"'","amount":20,"description":"Minibar corrected",
    "authorizationId":"'"$authorization"'"}'
show 'Refunded 20'

# 8. The card's movements are what was posted, newest first
token=$admin
call GET "/cards/$card/movements"
printf '%s\n' "$answer" | tr '}' '\n' | grep balanceAfter | while read -r answer; do
    echo "$(member type) $(member amount), $(member description): balance $(member balanceAfter)"
done

# 9. The key is no longer needed: from now on every replica refuses it
call DELETE "/api-keys/$key"
