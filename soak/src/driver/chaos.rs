//! Injects faults at random intervals: every kind once per round, in random order.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use rand::seq::SliceRandom;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{api::Api, cluster::Cluster, replica::Replica};

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to a replica.
    KillReplica,
    /// SIGTERM to a replica, as a deployment does.
    RestartReplica,
    /// SIGSTOP to a replica, and SIGCONT after a while.
    FreezeReplica,
    /// SIGKILL to the postmaster.
    KillPostmaster,
    /// SIGKILL to a Postgres backend.
    KillBackend,
    /// `pg_terminate_backend` on a few connections.
    TerminateBackends,
    /// SIGKILL to the postmaster of a worker.
    KillWorker,
    /// SIGKILL to a backend of a worker that commits.
    KillCommit,
    /// `pg_terminate_backend` on a few connections of the coordinator and the workers.
    TerminateLinks,
    /// `pg_terminate_backend` on such a connection that commits.
    TerminateCommit,
}

impl Fault {
    const ALL: [Self; 6] =
        [Self::KillReplica, Self::RestartReplica, Self::FreezeReplica, Self::KillPostmaster, Self::KillBackend, Self::TerminateBackends];

    /// Those that need workers.
    const DISTRIBUTED: [Self; 4] = [Self::KillWorker, Self::KillCommit, Self::TerminateLinks, Self::TerminateCommit];

    fn all(cluster: &Cluster) -> Vec<Self> {
        let distributed: &[_] = if cluster.is_distributed() { &Self::DISTRIBUTED } else { &[] };
        [&Self::ALL, distributed].concat()
    }

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillReplica => "kill -9 of a replica",
            Self::RestartReplica => "SIGTERM of a replica",
            Self::FreezeReplica => "SIGSTOP of a replica",
            Self::KillPostmaster => "kill -9 of the postmaster",
            Self::KillBackend => "kill -9 of a Postgres backend",
            Self::TerminateBackends => "pg_terminate_backend",
            Self::KillWorker => "kill -9 of a worker's postmaster",
            Self::KillCommit => "kill -9 of a worker's backend in COMMIT",
            Self::TerminateLinks => "pg_terminate_backend on a worker",
            Self::TerminateCommit => "pg_terminate_backend in a worker's COMMIT",
        }
    }
}

/// The number of readiness checks, four a second, after the last fault.
const READY_ATTEMPTS: usize = 240;

/// The processes to kill, and the faults so far.
#[derive(Debug)]
pub struct Chaos {
    /// The database of all replicas.
    pub cluster: Cluster,
    /// The service.
    pub replicas: Vec<Replica>,
    /// The number of faults of each kind.
    pub done: BTreeMap<Fault, u64>,
    /// The number of restarts of replicas that ended by themselves.
    pub revived: u64,
}

impl Chaos {
    /// No faults yet.
    pub fn new(cluster: Cluster, replicas: Vec<Replica>) -> Self {
        let done = Fault::all(&cluster).into_iter().map(|fault| (fault, 0)).collect();
        Self { cluster, replicas, done, revived: 0 }
    }

    /// Injects faults until the end.
    pub async fn run(&mut self, mut end: watch::Receiver<bool>) -> Result<(), Box<dyn Error>> {
        let mut round = Vec::new();
        loop {
            let pause = Duration::from_millis(rand::random_range(1000..4000));
            if timeout(pause, end.wait_for(|end| *end)).await.is_ok() {
                return Ok(());
            }
            self.revive()?;
            if round.is_empty() {
                round = Fault::all(&self.cluster);
                round.shuffle(&mut rand::rng());
            }
            let Some(fault) = round.pop() else { continue };
            if self.inject(fault).await? {
                *self.done.entry(fault).or_default() += 1;
            } else {
                // There was no target, for example during a recovery of Postgres: retry later in the round.
                round.insert(0, fault);
            }
        }
    }

    /// Returns whether there was a target.
    async fn inject(&mut self, fault: Fault) -> Result<bool, Box<dyn Error>> {
        let index = rand::random_range(0..self.replicas.len());
        let replica = &mut self.replicas[index];
        match fault {
            Fault::KillReplica => replica.kill(Duration::from_millis(rand::random_range(0..500))).await?,
            Fault::RestartReplica => replica.restart().await?,
            Fault::FreezeReplica => replica.freeze(Duration::from_millis(rand::random_range(200..3000))).await?,
            Fault::KillPostmaster => {
                self.cluster.wait().await?;
                self.cluster.first().kill_postmaster().await?;
            }
            Fault::KillBackend => return Ok(self.cluster.first().kill_backend().await.unwrap_or(false)),
            Fault::TerminateBackends => return Ok(self.cluster.first().terminate_backends().await.unwrap_or(false)),
            Fault::KillWorker | Fault::KillCommit | Fault::TerminateLinks | Fault::TerminateCommit => {
                return self.inject_on_worker(fault).await;
            }
        }
        Ok(true)
    }

    /// Returns whether there was a target.
    async fn inject_on_worker(&mut self, fault: Fault) -> Result<bool, Box<dyn Error>> {
        if fault == Fault::KillWorker {
            self.cluster.wait().await?;
        }
        let Some(worker) = self.cluster.worker() else { return Ok(false) };
        let had_target = match fault {
            Fault::KillWorker => return worker.kill_postmaster().await.map(|()| true),
            Fault::KillCommit => worker.kill_commit().await,
            Fault::TerminateCommit => worker.terminate_commit().await,
            _ => worker.terminate_backends().await,
        };
        Ok(had_target.unwrap_or(false))
    }

    /// Waits until Postgres and every replica are ready.
    pub async fn settle(&mut self, api: &Arc<Api>) -> Result<(), Box<dyn Error>> {
        self.cluster.wait().await?;
        for _ in 0..READY_ATTEMPTS {
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

    /// Restarts replicas that ended by themselves, as a supervisor does.
    fn revive(&mut self) -> Result<(), Box<dyn Error>> {
        for replica in &mut self.replicas {
            self.revived += u64::from(replica.revive()?);
        }
        Ok(())
    }
}
