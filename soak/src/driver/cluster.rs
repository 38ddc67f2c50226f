//! The Postgres of the soak. With `TEST_CITUS` it is a distributed one: a coordinator, which the replicas connect to, and two
//! workers, which have the accounts.

use std::{error::Error, path::Path, time::Duration};

use core_api::database;
use tokio::time::sleep;

use crate::{citus, node::Node};

/// How often the nodes are asked whether every interrupted commit is completed, four times a second.
const RECOVERY_ATTEMPTS: usize = 240;

/// One node, or the coordinator and its workers.
#[derive(Debug)]
pub struct Cluster {
    first: Node,
    workers: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes in folders of this one. A log there collects the output of all runs of each.
    pub async fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        if citus::programs().is_none() {
            let first = Node::start(&folder.join("postgres"), &folder.join("postgres.log")).await?;
            return Ok(Self { first, workers: Vec::new() });
        }
        let mut nodes = Vec::new();
        for name in citus::NODES {
            nodes.push(Node::start(&folder.join(name), &folder.join(format!("{name}.log"))).await?);
        }
        let options = nodes.iter().map(Node::options).collect::<Result<Vec<_>, _>>()?;
        citus::join(&options).await?;
        database::migrate(&options[0], None).await?;
        database::distribute(&options[0], None).await?;
        Ok(Self { first: nodes.remove(0), workers: nodes })
    }

    /// Whether the accounts are on several nodes.
    pub fn is_distributed(&self) -> bool {
        !self.workers.is_empty()
    }

    /// The logs of the nodes, in the folder.
    pub fn logs(&self) -> Vec<String> {
        let distributed = citus::NODES.iter().map(|name| format!("{name}.log"));
        if self.is_distributed() { distributed.collect() } else { vec!["postgres.log".to_owned()] }
    }

    /// The `DATABASE_URL` of the replicas, which survives restarts.
    pub fn url(&self) -> Result<String, Box<dyn Error>> {
        let options = self.first.options()?;
        let socket = options.get_socket().ok_or("Postgres has no socket")?.display().to_string();
        Ok(format!("postgres://core_api@localhost/core_api?host={socket}"))
    }

    /// The node that the replicas connect to.
    pub const fn first(&mut self) -> &mut Node {
        &mut self.first
    }

    /// One of the nodes that have accounts, if there are any.
    pub fn worker(&mut self) -> Option<&mut Node> {
        let index = rand::random_range(0..self.workers.len().max(1));
        self.workers.get_mut(index)
    }

    /// Waits until every node accepts statements again.
    pub async fn wait(&self) -> Result<(), Box<dyn Error>> {
        for node in self.nodes() {
            node.wait().await?;
        }
        Ok(())
    }

    /// Waits until the nodes have completed the commits of several nodes that a fault has interrupted.
    pub async fn recover(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..RECOVERY_ATTEMPTS {
            let mut open = 0;
            for node in self.nodes() {
                open += node.open_commits().await?;
            }
            if open == 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
        Err("a node has not completed an interrupted commit".into())
    }

    /// Stops the nodes and completes their logs.
    pub async fn stop(self) -> Result<(), Box<dyn Error>> {
        self.first.stop().await?;
        for worker in self.workers {
            worker.stop().await?;
        }
        Ok(())
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.first].into_iter().chain(&self.workers)
    }
}
