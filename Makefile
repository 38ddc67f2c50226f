# The commands for developers. `make` without a target lists them.

.DEFAULT_GOAL := help
.PHONY: help sandbox test test-shards check integration clients queries openapi soak slow-clients login-attack previous-release bench bench-long

MINUTES ?= 10

# The API tests of what writes money, and of what else has statements of its own on shards. Two of them are left out: one runs a
# migration again whose guards are not those of shards, and no release before knows shards.
ON_SHARDS = audit:: authorization_races authorization_steps balances:: captures cards:: commit_order controls customer_search \
	customers:: distribution event_order guards:: held_money idempotency limit_races lives rate_limit replacements shard_rules \
	status_history transfer

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

sandbox: ## build the release binary and serve the sandbox on 127.0.0.1:8080
	@scripts/postgres
	cargo build --release --locked
	@exec env -u DATABASE_URL CORE_API_ENV=sandbox target/release/core-api

test: ## run every test with every feature, on a private Postgres
	@scripts/postgres
	skip=$$(scripts/tests-to-skip) && cargo test --locked --workspace --all-features $$skip

test-shards: ## run the tests of what writes with the guards and the statements of shards, on a Postgres that is not distributed
	@scripts/postgres
	TEST_SHARDS=1 cargo test --locked --workspace --all-features -p core-api --test api -- $(ON_SHARDS) --skip a_migration_waits_for_a_locked_table --skip previous_release

check: ## check formatting, lints with every feature and with none, licences, and that .sqlx is up to date
	@scripts/postgres
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	cargo clippy --locked -- -D warnings
	scripts/prepare-queries --check
	scripts/deny

integration: ## lint openapi.json; run the examples, the generated clients, the /docs page in a browser and schemathesis against a sandbox
	@scripts/postgres
	cargo build --release --locked
	scripts/integration target/release/core-api

clients: ## run the clients that openapi-generator makes for five languages, and the examples through prism; three minutes
	@scripts/postgres
	cargo build --release --locked
	scripts/clients target/release/core-api

queries: ## update .sqlx after a SQL query has changed
	@scripts/postgres
	scripts/prepare-queries

openapi: ## update openapi.json after an endpoint has changed
	cargo run --quiet --locked -- openapi > openapi.json

soak: ## kill replicas and Postgres under load for MINUTES (10), then prove that no cent was lost or doubled
	@scripts/postgres
	cargo build --release --locked --workspace
	target/release/soak --minutes $(MINUTES) --binary target/release/core-api

slow-clients: ## measure how 2,000 slow connections affect other clients; four minutes
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/slow-clients --binary target/release/core-api

login-attack: ## attack the login with guesses and a flood, and time its answers; four minutes, best on an idle machine
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/login-attack --binary target/release/core-api

previous-release: ## run the newest release beside this version, on this version's schema and data
	@scripts/postgres
	scripts/previous-release

bench: ## benchmark against pgbench on the same Postgres; six minutes, best on an idle machine
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/bench --binary target/release/core-api

bench-long: ## benchmark top-ups and lists with millions of rows, and webhooks; ten minutes and 8 GB of temporary disk
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/bench --binary target/release/core-api --only growth,lists,deliveries --table target/bench/long.md
