//! What a server holds, as clients see it: every node with data, all stat fields and ACL; counters.
//! Nothing is masked: a directory that is handed over has the same zxids, times and sessions in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::session::Session;
use crate::client::four_letter_word;
use crate::compare::script::{acl_text, data_text};
use crate::jute::Buffer;
use crate::proto::messages::{
    GetAclRequest, GetAclResponse, GetChildrenRequest, GetChildrenResponse, GetDataRequest,
    GetDataResponse,
};
use crate::proto::{Acl, OpCode, Stat};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Null and empty are kept apart.
    pub data: Buffer,
    /// As sent.
    pub stat: Stat,
    /// As the super user sees it.
    pub acl: Vec<Acl>,
}

/// Nodes by path, and what else is compared, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dump {
    /// The tree.
    pub nodes: BTreeMap<String, Node>,
    /// Counters of `mntr`.
    pub counters: BTreeMap<String, String>,
}

/// Counters that are facts about the tree.
const COUNTERS: &[&str] =
    &["zk_znode_count", "zk_ephemerals_count", "zk_approximate_data_size", "zk_watch_count"];

/// One thing that differs between two dumps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What: `node /path`.
    pub what: String,
    /// How it was.
    pub before: String,
    /// How it is.
    pub after: String,
}

impl Dump {
    /// All of it, read by the super user.
    pub fn of(addr: SocketAddr) -> anyhow::Result<Dump> {
        let mut session = Session::of_super_user(addr)?;
        let mut nodes = BTreeMap::new();
        let mut todo = vec!["/".to_owned()];
        while let Some(path) = todo.pop() {
            let watch = false;
            let data = GetDataRequest { path: path.clone(), watch };
            let data: GetDataResponse = session.must(OpCode::GetData, &data)?.decode()?;
            let acl = GetAclRequest { path: path.clone() };
            let acl: GetAclResponse = session.must(OpCode::GetAcl, &acl)?.decode()?;
            let list = GetChildrenRequest { path: path.clone(), watch };
            let list: GetChildrenResponse = session.must(OpCode::GetChildren, &list)?.decode()?;
            let slash = if path == "/" { "" } else { "/" };
            todo.extend(list.children.iter().map(|child| format!("{path}{slash}{child}")));
            nodes.insert(path, Node { data: data.data, stat: data.stat, acl: acl.acl });
        }
        session.close()?;
        let mntr = four_letter_word(addr, "mntr", Duration::from_secs(10))?;
        let counter = |line: &str| {
            let (name, value) = line.split_once('\t')?;
            COUNTERS.contains(&name).then(|| (name.to_owned(), value.trim().to_owned()))
        };
        Ok(Dump { nodes, counters: mntr.lines().filter_map(counter).collect() })
    }

    /// Without a node and all below it, and without the counters, which count them.
    pub fn without(mut self, path: &str) -> Dump {
        let below = format!("{path}/");
        self.nodes.retain(|one, _| one != path && !one.starts_with(&below));
        self.counters.clear();
        self
    }

    /// Number of things that are compared.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.counters.len()
    }

    /// True for nothing at all, which no server holds.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What differs. Counters are compared that both sides have.
    pub fn mismatches(&self, after: &Dump) -> Vec<Mismatch> {
        let paths: BTreeSet<&String> = self.nodes.keys().chain(after.nodes.keys()).collect();
        let mut found = Vec::new();
        for path in paths {
            let (one, other) = (self.nodes.get(path), after.nodes.get(path));
            if one != other {
                found.push(Mismatch {
                    what: format!("node {path}"),
                    before: text(one),
                    after: text(other),
                });
            }
        }
        for (name, before) in &self.counters {
            if let Some(now) = after.counters.get(name).filter(|now| *now != before) {
                found.push(Mismatch {
                    what: format!("counter {name}"),
                    before: before.clone(),
                    after: now.clone(),
                });
            }
        }
        found
    }
}

/// A field a line, so that the differing ones show.
fn text(node: Option<&Node>) -> String {
    let Some(Node { data, stat, acl }) = node else { return "no such node".into() };
    let mut text = format!("data {}\nacl {}\n", data_text(data), acl_text(acl));
    let numbers = [
        ("czxid", stat.czxid),
        ("mzxid", stat.mzxid),
        ("pzxid", stat.pzxid),
        ("ephemeralOwner", stat.ephemeral_owner),
    ];
    for (name, number) in numbers {
        let _ = writeln!(text, "{name} {number:#x}"); // Writing to a string does not fail.
    }
    let numbers = [
        ("ctime", stat.ctime),
        ("mtime", stat.mtime),
        ("version", stat.version.into()),
        ("cversion", stat.cversion.into()),
        ("aversion", stat.aversion.into()),
        ("dataLength", stat.data_length.into()),
        ("numChildren", stat.num_children.into()),
    ];
    for (name, number) in numbers {
        let _ = writeln!(text, "{name} {number}"); // Likewise.
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(paths: &[(&str, i32)]) -> Dump {
        let node = |version| Node {
            data: None,
            stat: Stat { version, ..Stat::default() },
            acl: Acl::open_unsafe(),
        };
        let nodes = paths.iter().map(|(path, version)| ((*path).to_owned(), node(*version)));
        let counters = BTreeMap::from([("zk_znode_count".to_owned(), paths.len().to_string())]);
        Dump { nodes: nodes.collect(), counters }
    }

    #[test]
    fn whatever_differs_is_found_on_both_sides() {
        let before = dump(&[("/", 0), ("/a", 1), ("/b", 0)]);
        let after = dump(&[("/", 0), ("/a", 2), ("/c", 0)]);
        let what: Vec<String> =
            before.mismatches(&after).into_iter().map(|found| found.what).collect();
        assert_eq!(what, ["node /a", "node /b", "node /c"]);
        assert_eq!(before.mismatches(&before), []);
        let fewer = dump(&[("/", 0)]);
        assert!(before.mismatches(&fewer).iter().any(|one| one.what == "counter zk_znode_count"));
    }

    #[test]
    fn a_part_can_be_left_out() {
        let all = dump(&[("/", 0), ("/lost", 0), ("/lost/x", 0), ("/lost-not", 0)]);
        let left: Vec<String> = all.without("/lost").nodes.into_keys().collect();
        assert_eq!(left, ["/", "/lost-not"]);
    }
}
