//! The replica that holds an endpoint's lease, and so is the only one that sends to the endpoint.
//!
//! It renews the lease every two seconds and reads the endpoint with it. It starts no attempt that could outlive the lease. A
//! delivery counts an attempt when it is claimed, so that a message which ends the process is given up some day. Results are
//! written together. What was claimed by a replica that died is due again for the next one: an event can reach the endpoint
//! twice, with the same id, but only if it was being sent at that moment.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{
    Render, Webhooks,
    lease::{GiveUp, LEASE, MakeDeliveries, Record, prepare, renew},
    message::{Config, EndpointKey, Finished, Message, Sent, send},
    store,
};
use crate::domain::{
    id::{DeliveryId, MessageId},
    webhook::{
        endpoint::DisabledReason,
        health::{Breaker, must_disable},
        outcome::AttemptOutcome,
        signature::SigningSecret,
        url::EndpointUrl,
    },
};
use crate::egress::Target;
use crate::service::{error::Result, events::Header, unit};
use crate::telemetry::metrics;
use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::Bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// How long results wait for others, to be written together.
const RECORD_EVERY: Duration = Duration::from_millis(50);

/// The most results that are written together.
const RECORD_BATCH: usize = 100;

/// How many events become deliveries at a time.
const FAN_OUT: i64 = 500;

/// With as many deliveries that are not done, an endpoint gets no further ones: the events wait in the feed.
const MAX_WAITING: i64 = 10_000;

/// How long an endpoint with nothing to send keeps its lease and its connections.
const IDLE: Duration = Duration::from_secs(10);

/// How long and how often it is tried to give an endpoint back while the database is away. Nobody else sends to the endpoint
/// before its lease ends.
const GIVE_BACK_FOR: Duration = Duration::from_secs(10);
const GIVE_BACK_EVERY: Duration = Duration::from_millis(500);

/// How often deliveries are looked for that somebody else has scheduled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The owner of one endpoint.
pub(super) struct Owner {
    webhooks: Webhooks,
    render: Render,
    key: EndpointKey,
    timeout: Duration,
    config: Config,
    url: EndpointUrl,
    secrets: Vec<SigningSecret>,
    /// Until when the lease is certain, and when it is to be renewed.
    lease_until: Instant,
    renew_at: Instant,
    /// The database's clock at some moment.
    clock: (DateTime<Utc>, Instant),
    breaker: Breaker,
    queue: VecDeque<Message>,
    sending: JoinSet<Sent>,
    /// Connections at rest.
    targets: Vec<Target>,
    finished: Vec<Finished>,
    record_at: Instant,
    /// When deliveries are to be looked for again.
    look_at: Instant,
    /// Since when there is nothing to send.
    idle_since: Option<Instant>,
}

impl Owner {
    /// Takes over an endpoint whose lease was claimed. None if it is lost already, or if nothing can be sent.
    pub(super) async fn take(webhooks: Webhooks, render: Render, key: EndpointKey, timeout: Duration) -> Result<Option<Self>> {
        let asked = Instant::now();
        let Some(config) = renew(&webhooks, key).await? else { return Ok(None) };
        unit::autocommit(&webhooks.pool, move |connection| Box::pin(store::adopt(connection, key))).await?;
        let (url, secrets) = prepare(&webhooks, key, &config)?;
        let clock = (config.now, asked);
        Ok(Some(Self {
            webhooks,
            render,
            key,
            timeout,
            url,
            secrets,
            config,
            lease_until: asked + LEASE,
            renew_at: asked + RENEW_EVERY,
            clock,
            breaker: Breaker::default(),
            queue: VecDeque::new(),
            sending: JoinSet::new(),
            targets: Vec::new(),
            finished: Vec::new(),
            record_at: asked,
            look_at: asked,
            idle_since: None,
        }))
    }

    /// Sends until there is nothing more to send, the lease is lost or the process ends. Then it gives the lease back.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        if let Err(error) = self.work(stop.clone()).await {
            tracing::warn!(cause = crate::service::error::chain(&error), "webhooks could not be sent; trying again");
        }
        // Whatever ended the work often ends the connection that gives the endpoint back as well.
        let until = Instant::now() + GIVE_BACK_FOR;
        while let Err(error) = self.end().await {
            if *stop.borrow() || Instant::now() >= until.min(self.lease_until) {
                tracing::warn!(cause = crate::service::error::chain(&error), "an endpoint could not be given back; its lease will end");
                return;
            }
            sleep(GIVE_BACK_EVERY).await;
        }
    }

    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut news = self.webhooks.events.subscribe(self.key.account);
        while !*stop.borrow_and_update() {
            if Instant::now() >= self.renew_at && !self.renew().await? {
                return Ok(());
            }
            let is_due = self.finished.len() >= RECORD_BATCH || (!self.finished.is_empty() && Instant::now() >= self.record_at);
            if is_due && !self.record().await? {
                return Ok(());
            }
            if self.config.is_enabled && self.has_room() && Instant::now() >= self.look_at {
                self.look().await?;
            }
            self.start();
            if self.breaker.is_open() {
                // What waits for the next attempt has not been started, and anybody may schedule it anew.
                self.give_back().await?;
            }
            let is_idle = self.queue.is_empty() && self.sending.is_empty() && self.finished.is_empty();
            if is_idle && (!self.config.is_enabled || self.idle_since.is_some_and(|since| since.elapsed() >= IDLE)) {
                return Ok(());
            }
            let wake_at = self.wake_at();
            tokio::select! {
                Some(ended) = self.sending.join_next() => self.finish(ended),
                () = news.changed() => self.look_at = Instant::now(),
                () = sleep_until(wake_at) => {}
                // Without its sender nothing would say any more that the process ends.
                changed = stop.changed() => if changed.is_err() { return Ok(()) },
            }
        }
        Ok(())
    }

    /// When there may be something to do that nothing else announces.
    fn wake_at(&self) -> Instant {
        let mut at = self.renew_at;
        if !self.finished.is_empty() {
            at = at.min(self.record_at);
        }
        if self.has_room() {
            at = at.min(self.look_at);
        }
        let now = std::time::Instant::now();
        let permitted = self.breaker.next_permitted(now);
        if permitted > now {
            at = at.min(permitted.into());
        }
        at
    }

    /// Whether more deliveries are to be claimed. While the breaker is open, one at a time.
    fn has_room(&self) -> bool {
        let now = std::time::Instant::now();
        if self.breaker.next_permitted(now) > now {
            return false;
        }
        self.queue.len() < if self.breaker.is_open() { 1 } else { self.config.max_concurrency }
    }

    async fn renew(&mut self) -> Result<bool> {
        let asked = Instant::now();
        let Some(config) = renew(&self.webhooks, self.key).await? else { return Ok(false) };
        (self.lease_until, self.renew_at, self.clock) = (asked + LEASE, asked + RENEW_EVERY, (config.now, asked));
        if config.url != self.config.url {
            self.targets.clear();
        }
        (self.url, self.secrets) = prepare(&self.webhooks, self.key, &config)?;
        self.config = config;
        if !self.config.is_enabled {
            self.give_back().await?;
        }
        Ok(true)
    }

    /// Claims what is due, and makes deliveries of further events if there is room.
    async fn look(&mut self) -> Result<()> {
        let room = if self.breaker.is_open() { 1 } else { self.config.max_concurrency.saturating_mul(2) };
        let wanted = room.saturating_sub(self.queue.len()).max(1);
        let mut claimed = self.claim(wanted).await?;
        let has_moved = claimed < wanted && self.make_deliveries().await?;
        if has_moved {
            claimed += self.claim(wanted - claimed).await?;
        }
        // Events that the endpoint does not want make no deliveries, and more may follow them.
        if claimed > 0 || has_moved {
            self.idle_since = None;
            self.look_at = Instant::now();
        } else {
            self.idle_since = self.idle_since.or(Some(Instant::now()));
            self.look_at = Instant::now() + LOOK_EVERY;
        }
        Ok(())
    }

    /// Claims deliveries, and reads what is to be sent. Returns how many it claimed.
    async fn claim(&mut self, limit: usize) -> Result<usize> {
        let (key, by_card) = (self.key, self.config.by_card);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claimed =
            unit::autocommit(&self.webhooks.pool, move |connection| Box::pin(store::claim_deliveries(connection, key, limit, by_card)))
                .await?;
        let count = claimed.len();
        if count == 0 {
            return Ok(0);
        }
        let ids: Vec<MessageId> = claimed.iter().map(|each| each.event).collect();
        let events = self.webhooks.events.with_ids(key.account, ids).await?;
        let mut bodies: HashMap<MessageId, Bytes> = events.iter().map(|event| (event.id, (self.render)(event).into())).collect();
        let mut messages: Vec<Message> = Vec::new();
        for claimed in claimed {
            match bodies.remove(&claimed.event) {
                Some(body) => messages.push(Message { claimed, body }),
                None => self.finished.push(Finished::without_event(&claimed, self.now())),
            }
        }
        // In the order of the feed, as far as the ids show it.
        messages.sort_by_key(|message| (message.claimed.occurred_at, message.claimed.event));
        self.queue.extend(messages);
        Ok(count)
    }

    /// Makes deliveries of the next events of the feed. Returns whether there were any, wanted or not.
    async fn make_deliveries(&mut self) -> Result<bool> {
        let key = self.key;
        let waiting = unit::read(&self.webhooks.pool, move |connection| Box::pin(store::waiting(connection, key, MAX_WAITING))).await?;
        if waiting >= MAX_WAITING {
            return Ok(false);
        }
        let (from, types) = (self.config.cursor, self.config.types.clone());
        let page = self.webhooks.events.headers(key.account, types, from, FAN_OUT).await?;
        if page.end == from {
            return Ok(false);
        }
        let made: Vec<(DeliveryId, Header)> = page.headers.into_iter().map(|header| (DeliveryId::new(), header)).collect();
        let to = page.end;
        let has_moved = unit::write(&self.webhooks.pool, &MakeDeliveries { key, from, to, made: &made }).await?;
        if !has_moved {
            // The endpoint has changed. The next renewal reads how.
            self.renew_at = Instant::now();
            return Ok(false);
        }
        self.config.cursor = to;
        Ok(true)
    }

    /// Starts attempts, as many as may run and as the lease outlives.
    fn start(&mut self) {
        while self.sending.len() < self.config.max_concurrency
            && !self.queue.is_empty()
            && self.lease_until.saturating_duration_since(Instant::now()) > self.timeout
            && self.breaker.start(std::time::Instant::now())
        {
            let Some(Message { claimed, body }) = self.queue.pop_front() else { return };
            let mut target = self.targets.pop().unwrap_or_else(|| self.webhooks.egress.target(&self.url));
            let (secrets, started_at) = (self.secrets.clone(), self.now());
            self.sending.spawn(async move {
                let response = send(&mut target, &secrets, claimed.event, body).await;
                Sent { claimed, target, started_at, response }
            });
        }
    }

    /// The database's clock, as far as this process can tell.
    fn now(&self) -> DateTime<Utc> {
        self.clock.0 + TimeDelta::from_std(self.clock.1.elapsed()).unwrap_or_default()
    }

    fn finish(&mut self, ended: std::result::Result<Sent, tokio::task::JoinError>) {
        // A panic leaves its delivery claimed. The next owner makes it due again.
        let Ok(Sent { claimed, target, started_at, response }) = ended else { return };
        if self.finished.is_empty() {
            self.record_at = Instant::now() + RECORD_EVERY;
        }
        let has_succeeded = response.outcome == AttemptOutcome::Succeeded;
        self.breaker.record(has_succeeded, std::time::Instant::now());
        metrics::webhook_attempted(response.outcome.name());
        if has_succeeded {
            metrics::webhook_delivered((self.now() - claimed.occurred_at).to_std().unwrap_or_default());
            self.targets.push(target);
        }
        self.finished.push(Finished::of(&claimed, started_at, response, self.now()));
    }

    /// Writes results down, and disables the endpoint if it is to be. Returns whether the lease is still there.
    async fn record(&mut self) -> Result<bool> {
        let is_gone = self.finished.iter().any(Finished::says_gone);
        // After an error it is written down once more later: if it took effect, only its failures count twice.
        let health = unit::write(&self.webhooks.pool, &Record { key: self.key, finished: &self.finished }).await?;
        self.finished.clear();
        // With `card`, the next events of these cards can go.
        self.look_at = Instant::now();
        let Some(health) = health else { return Ok(false) };
        let failing_for = health.failing_since.and_then(|since| (health.now - since).to_std().ok());
        let failures = u32::try_from(health.failures).unwrap_or(0);
        let reason = if is_gone {
            Some(DisabledReason::Gone)
        } else {
            failing_for.filter(|period| must_disable(*period, failures)).map(|_| DisabledReason::Failing)
        };
        if let Some(reason) = reason {
            self.disable(reason).await?;
        }
        Ok(true)
    }

    async fn disable(&mut self, reason: DisabledReason) -> Result<()> {
        if unit::write(&self.webhooks.pool, &GiveUp { key: self.key, reason }).await? {
            tracing::warn!(
                event = "webhook_endpoint_disabled",
                account = %self.key.account,
                webhook_endpoint = %self.key.id,
                reason = reason.name(),
            );
            metrics::webhook_endpoint_disabled(reason.name());
        }
        self.renew_at = Instant::now();
        Ok(())
    }

    /// Gives back what was claimed and is not sent.
    async fn give_back(&mut self) -> Result<()> {
        let (key, queue) = (self.key, std::mem::take(&mut self.queue));
        if queue.is_empty() {
            return Ok(());
        }
        let events: Vec<MessageId> = queue.iter().map(|message| message.claimed.event).collect();
        unit::autocommit(&self.webhooks.pool, move |connection| Box::pin(async move { store::give_back(connection, key, &events).await }))
            .await
    }

    /// Waits for what is being sent, writes it down and gives everything back.
    async fn end(&mut self) -> Result<()> {
        self.give_back().await?;
        while let Some(ended) = self.sending.join_next().await {
            self.finish(ended);
        }
        if !self.finished.is_empty() {
            self.record().await?;
        }
        let key = self.key;
        unit::autocommit(&self.webhooks.pool, move |connection| Box::pin(store::release(connection, key))).await
    }
}
