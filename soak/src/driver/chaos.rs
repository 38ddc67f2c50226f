//! What dies, when, and how often: one kind after another at random intervals, every kind in each round.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use rand::seq::SliceRandom;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{api::Api, cluster::Cluster, replica::Replica};

/// The ways in which things go wrong.
const KINDS: [&str; 6] = [
    "kill -9 of a replica",
    "SIGTERM of a replica",
    "SIGSTOP of a replica",
    "kill -9 of the postmaster",
    "kill -9 of a Postgres backend",
    "pg_terminate_backend",
];

/// How long everything may take to be ready once nothing disturbs it any more.
const READY_TRIES: usize = 240;

/// What is there to be killed, and what was.
#[derive(Debug)]
pub struct Chaos {
    /// The database of all replicas.
    pub cluster: Cluster,
    /// The service.
    pub replicas: Vec<Replica>,
    /// How often each kind was done.
    pub done: BTreeMap<&'static str, u64>,
    /// How often a replica had to be started again though nobody had killed it.
    pub revived: u64,
}

impl Chaos {
    /// Nothing has gone wrong yet.
    pub fn new(cluster: Cluster, replicas: Vec<Replica>) -> Self {
        Self { cluster, replicas, done: KINDS.iter().map(|kind| (*kind, 0)).collect(), revived: 0 }
    }

    /// Goes on until told to end.
    pub async fn run(&mut self, mut end: watch::Receiver<bool>) -> Result<(), Box<dyn Error>> {
        let mut round = Vec::new();
        loop {
            let pause = Duration::from_millis(rand::random_range(1000..4000));
            if timeout(pause, end.wait_for(|end| *end)).await.is_ok() {
                return Ok(());
            }
            self.revive()?;
            if round.is_empty() {
                round = KINDS.to_vec();
                round.shuffle(&mut rand::rng());
            }
            let Some(kind) = round.pop() else { continue };
            if self.strike(kind).await? {
                *self.done.entry(kind).or_default() += 1;
            } else {
                // There was nothing to strike at, as when Postgres is still recovering: this kind is due again.
                round.insert(0, kind);
            }
        }
    }

    async fn strike(&mut self, kind: &str) -> Result<bool, Box<dyn Error>> {
        let index = rand::random_range(0..self.replicas.len());
        let replica = &mut self.replicas[index];
        match kind {
            "kill -9 of a replica" => replica.kill(Duration::from_millis(rand::random_range(0..500))).await?,
            "SIGTERM of a replica" => replica.roll().await?,
            "SIGSTOP of a replica" => replica.freeze(Duration::from_millis(rand::random_range(200..3000))).await?,
            "kill -9 of the postmaster" => {
                self.cluster.wait().await?;
                self.cluster.kill_postmaster().await?;
            }
            "kill -9 of a Postgres backend" => return Ok(self.cluster.kill_backend().await.unwrap_or(false)),
            _ => return Ok(self.cluster.terminate_backends().await.unwrap_or(false)),
        }
        Ok(true)
    }

    /// Waits until Postgres and every replica are ready.
    pub async fn settle(&mut self, api: &Arc<Api>) -> Result<(), Box<dyn Error>> {
        self.cluster.wait().await?;
        for _ in 0..READY_TRIES {
            self.revive()?;
            let mut ready = 0;
            for replica in 0..api.replicas() {
                ready += usize::from(api.is_ready(replica).await);
            }
            if ready == api.replicas() {
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
        Err("the replicas did not become ready".into())
    }

    /// What a supervisor does: a replica that ended by itself is started again.
    fn revive(&mut self) -> Result<(), Box<dyn Error>> {
        for replica in &mut self.replicas {
            self.revived += u64::from(replica.revive()?);
        }
        Ok(())
    }
}
