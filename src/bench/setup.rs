//! Makes the nodes that a workload needs, and removes them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};

use super::requests::Template;
use crate::client::{ClientError, ZooKeeper};
use crate::common::time::wall_ms;
use crate::proto::messages::DeleteRequest;
use crate::proto::{Acl, Code, CreateMode, OpCode};

/// How long a single reply may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Requests sent before their replies are read.
const BATCH: u64 = 500;

/// The directory of a run.
#[derive(Debug)]
pub struct Setup {
    server: SocketAddr,
    session_timeout_ms: i32,
    dir: String,
}

impl Setup {
    /// Makes `root` and a directory for this run in it.
    pub fn new(
        server: SocketAddr,
        session_timeout_ms: i32,
        root: &str,
        workload: &str,
    ) -> anyhow::Result<Setup> {
        let root = root.trim_end_matches('/');
        let dir = format!("{root}/{workload}-{:x}", wall_ms());
        let setup = Setup { server, session_timeout_ms, dir };
        let mut zk = setup.connect()?;
        for (end, _) in format!("{}/", setup.dir).match_indices('/').skip(1) {
            make(&mut zk, setup.dir.get(..end).unwrap_or_default())?;
        }
        zk.close()?;
        Ok(setup)
    }

    /// The directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// Makes directories in the directory.
    pub fn create_dirs(&self, names: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let mut zk = self.connect()?;
        for name in names {
            make(&mut zk, &format!("{}/{name}", self.dir))?;
        }
        Ok(zk.close()?)
    }

    /// Makes nodes 0 to `count` in the directory.
    pub fn create_nodes(&self, count: u64, size: usize) -> anyhow::Result<()> {
        let mut zk = self.connect()?;
        let template = Template::create(&self.dir, size);
        let mut made = 0;
        while made < count {
            let batch = BATCH.min(count - made);
            let mut bytes = Vec::new();
            for number in made..made + batch {
                template.append(&mut bytes, 1, number, u64::MAX);
            }
            zk.raw().send_bytes(&bytes)?;
            for _ in 0..batch {
                let reply = zk.raw().read_reply()?;
                ClientError::check(reply.header.err).context("creating a node")?;
            }
            made += batch;
        }
        Ok(zk.close()?)
    }

    /// Removes the directory with all in it.
    pub fn remove(&self) -> anyhow::Result<()> {
        let mut zk = self.connect()?;
        remove(&mut zk, &self.dir).with_context(|| format!("removing {}", self.dir))?;
        Ok(zk.close()?)
    }

    fn connect(&self) -> anyhow::Result<ZooKeeper> {
        ZooKeeper::connect(self.server, self.session_timeout_ms, TIMEOUT)
            .with_context(|| format!("connecting to {}", self.server))
    }
}

/// Waits until each server has all that was written so far.
pub fn catch_up(servers: &[SocketAddr], session_timeout_ms: i32) -> anyhow::Result<()> {
    let distinct: BTreeSet<_> = servers.iter().collect();
    if distinct.len() < 2 {
        return Ok(());
    }
    for server in distinct {
        let mut zk = ZooKeeper::connect(server, session_timeout_ms, TIMEOUT)
            .with_context(|| format!("connecting to {server}"))?;
        zk.sync("/")?;
        zk.close()?;
    }
    Ok(())
}

fn make(zk: &mut ZooKeeper, path: &str) -> anyhow::Result<()> {
    match zk.create(path, None, &Acl::open_unsafe(), CreateMode::Persistent) {
        Ok(_) | Err(ClientError::Code(Code::NodeExists)) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("creating {path}")),
    }
}

/// Deletes the children in batches; those that have children of their own come after.
fn remove(zk: &mut ZooKeeper, path: &str) -> anyhow::Result<()> {
    let children = zk.children(path, false)?;
    for batch in children.chunks(BATCH as usize) {
        let mut parents = Vec::new();
        let mut asked = Vec::new();
        for name in batch {
            let child = format!("{path}/{name}");
            let request = DeleteRequest { path: child.clone(), version: -1 };
            asked.push((zk.send(OpCode::Delete, &request)?, child));
        }
        for (xid, child) in asked {
            match ClientError::check(zk.receive(xid)?.header.err) {
                Ok(()) | Err(ClientError::Code(Code::NoNode)) => {}
                Err(ClientError::Code(Code::NotEmpty)) => parents.push(child),
                Err(error) => bail!("{child}: {error}"),
            }
        }
        for parent in parents {
            remove(zk, &parent)?;
        }
    }
    Ok(zk.delete(path, -1)?)
}
