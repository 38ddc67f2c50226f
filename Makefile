# The commands a person types. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help sandbox test check integration queries openapi soak slow-clients login-attack bench bench-long

MINUTES ?= 10

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

sandbox: ## build the release binary and serve the sandbox on 127.0.0.1:8080
	@scripts/postgres
	cargo build --release --locked
	@exec env -u DATABASE_URL CORE_API_ENV=sandbox target/release/core-api

test: ## run every test with every feature, on a Postgres of their own
	@scripts/postgres
	cargo test --locked --workspace --all-features

check: ## formatting, lints with every feature and with none, licences, and that .sqlx matches the source
	@scripts/postgres
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	cargo clippy --locked -- -D warnings
	scripts/prepare-queries --check
	scripts/deny

integration: ## run the examples, the generated clients, the /docs page in a browser and schemathesis against a sandbox
	@scripts/postgres
	cargo build --release --locked
	scripts/integration target/release/core-api

queries: ## describe the SQL queries anew, after one was changed
	@scripts/postgres
	scripts/prepare-queries

openapi: ## write openapi.json anew, after an endpoint was changed
	cargo run --quiet --locked -- openapi > openapi.json

soak: ## kill replicas and Postgres for MINUTES (10) under load, then prove that no cent was lost or doubled
	@scripts/postgres
	cargo build --release --locked --workspace
	target/release/soak --minutes $(MINUTES) --binary target/release/core-api

slow-clients: ## measure what 2,000 slow connections cost everybody else; four minutes
	@scripts/postgres
	cargo build --release --locked --workspace
	target/release/slow-clients --binary target/release/core-api

login-attack: ## guess at passwords, flood the login with hashes, time its answers: four minutes, best on an idle machine
	@scripts/postgres
	cargo build --release --locked --workspace
	target/release/login-attack --binary target/release/core-api

bench: ## measure against pgbench on the same Postgres, turn by turn; six minutes, best on an idle machine
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/bench --binary target/release/core-api

bench-long: ## measure whether millions of rows make top-ups, lists or memory worse; six to eight minutes and 8 GB of temporary disk
	@scripts/postgres
	cargo build --release --locked --workspace
	PG_BIN="$$(scripts/postgres --find)" target/release/bench --binary target/release/core-api --only growth,lists --table target/bench/long.md
