//! `DataTree.deserialize`: a tree from the ACL and node part of a snapshot.
//!
//! The reader is any `BufRead`, so nothing behind the end mark is taken from it. A record that lies
//! in its buffer as a whole is decoded in place; else it is collected first, never trusting a
//! length beyond the bytes that are there.

use std::io::{BufRead, Error, ErrorKind, Read};

use super::data_node::{DataNode, NodeId};
use super::data_tree::java_length;
use super::{DataTree, TreeError, TreeOptions};
use crate::jute::{Buffer, Input, Jute, JuteError};
use crate::proto::{Acl, StatPersisted};

/// ACL id and statistics of a node: what follows its data.
const TAIL_BYTES: usize = 8 + 60;
/// The length in front of a path.
const LENGTH_BYTES: usize = 4;

/// One node as read.
struct Record<'a> {
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: i64,
    stat: StatPersisted,
}

/// Where the last node went, since the next one is mostly its sibling or child.
struct Cursor {
    /// The path of the parent of the last node.
    parent_path: String,
    parent: NodeId,
    /// The path of the last node.
    path: String,
    id: NodeId,
}

impl DataTree {
    /// Reads a tree up to and with the end mark. Quotas are counted anew, ACLs that no node has
    /// are dropped. The last processed zxid is the caller's to set.
    pub fn load(options: TreeOptions, reader: &mut impl BufRead) -> Result<DataTree, TreeError> {
        let mut tree = DataTree::bare(options);
        tree.load_acls(reader)?;
        let mut scratch = Vec::new();
        let root = NodeId::ROOT;
        let mut at =
            Cursor { parent_path: String::new(), parent: root, path: String::new(), id: root };
        loop {
            let in_place = match reader.fill_buf() {
                Ok(bytes) => tree.load_from_slice(bytes, &mut at)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            match in_place {
                Some(Loaded { consumed, at_end }) => {
                    reader.consume(consumed);
                    if at_end {
                        break;
                    }
                }
                // The record goes on behind the buffer.
                None => {
                    scratch.clear();
                    if collect_record(reader, &mut scratch)? {
                        break;
                    }
                    tree.load_from_slice(&scratch, &mut at)?;
                }
            }
        }
        // The root once more, as "/": Compat, see `approximate_data_size`.
        tree.node_data_size += 1 + tree.nodes.node(root).data_len() as i64;
        tree.setup_quota();
        tree.acls.purge_unused();
        Ok(tree)
    }

    fn load_acls(&mut self, reader: &mut impl BufRead) -> Result<(), TreeError> {
        let mut scratch = Vec::new();
        for _ in 0..read_i32(reader)?.max(0) {
            let id = i64::from_be_bytes(read_array(reader)?);
            let count = read_i32(reader)?;
            if count == -1 {
                return Err(JuteError::Null("acls").into());
            }
            let mut list = Vec::new();
            for _ in 0..count.max(0) {
                scratch.clear();
                read_exact_to(reader, 4, &mut scratch)?;
                for _ in 0..2 {
                    collect_bytes(reader, &mut scratch)?;
                }
                list.push(Acl::decode(&mut Input::unbounded(&scratch))?);
            }
            self.acls.declare(id, list);
        }
        Ok(())
    }

    /// Loads all nodes that are complete in `bytes`; `None` if not even one is.
    fn load_from_slice(
        &mut self,
        bytes: &[u8],
        at: &mut Cursor,
    ) -> Result<Option<Loaded>, TreeError> {
        let mut input = Input::unbounded(bytes);
        let mut consumed = 0;
        loop {
            let record = match read_record(&mut input) {
                Ok(record) => record,
                // What is read so far counts; the rest is for the next call.
                Err(JuteError::Eof { .. }) => {
                    return Ok((consumed > 0).then_some(Loaded { consumed, at_end: false }));
                }
                Err(error) => return Err(error.into()),
            };
            consumed = bytes.len() - input.rest().len();
            match record {
                Some(record) => self.load_node(&record, at)?,
                None => return Ok(Some(Loaded { consumed, at_end: true })),
            }
        }
    }

    fn load_node(&mut self, record: &Record<'_>, at: &mut Cursor) -> Result<(), TreeError> {
        let path = record.path;
        let (acl, declared) = self.acls.use_id(record.acl);
        if !declared {
            log::warn!("ACL {} of {path} is not declared in the snapshot", record.acl);
        }
        let data: Buffer = record.data.map(Into::into);
        self.node_data_size += java_length(path) + record.data.map_or(0, <[u8]>::len) as i64;
        if path.is_empty() {
            self.replace_loaded(NodeId::ROOT, path, data, record, acl);
            return Ok(());
        }
        let no_parent = || TreeError::NoParent { path: path.to_owned() };
        let (parent_path, name) = path.rsplit_once('/').ok_or_else(no_parent)?;
        if name.is_empty() || parent_path.ends_with('/') {
            return Err(no_parent());
        }
        if parent_path != at.parent_path {
            at.parent = if parent_path == at.path {
                at.id
            } else {
                self.nodes.find(parent_path).ok_or_else(no_parent)?
            };
            at.parent_path.clear();
            at.parent_path.push_str(parent_path);
        }
        let hash = self.nodes.hash(path);
        at.id = match self.nodes.find_hashed(path, hash) {
            // Not by any walk of Java's; its map would take the second one.
            Some(id) => {
                self.replace_loaded(id, path, data, record, acl);
                id
            }
            None => {
                let node = DataNode::new(name, data, &record.stat, acl);
                let id = self.nodes.insert(at.parent, node, hash);
                self.update_digest(id, path);
                id
            }
        };
        at.path.clear();
        at.path.push_str(path);
        let owner = record.stat.ephemeral_owner;
        self.ephemerals.add(owner, at.id, self.options.extended_types);
        Ok(())
    }

    /// Gives a node that is there the content of a record.
    fn replace_loaded(
        &mut self,
        id: NodeId,
        path: &str,
        data: Buffer,
        record: &Record<'_>,
        acl: u32,
    ) {
        let node = self.nodes.node_mut(id);
        let (old_owner, old_acl) = (node.ephemeral_owner, node.acl);
        let old_size = java_length(path) + node.data_len() as i64;
        node.data = data;
        node.acl = acl;
        node.set_stat_persisted(&record.stat);
        self.update_digest(id, path);
        self.acls.remove_usage(old_acl);
        if id != NodeId::ROOT {
            self.ephemerals.remove(old_owner, id, self.options.extended_types);
        }
        self.node_data_size -= old_size;
    }
}

/// How far a slice was read.
struct Loaded {
    consumed: usize,
    at_end: bool,
}

/// The next node; `None` at the end mark.
fn read_record<'a>(input: &mut Input<'a>) -> Result<Option<Record<'a>>, JuteError> {
    let path = input.read_bytes()?.ok_or(JuteError::Null("path"))?;
    if path == b"/" {
        return Ok(None);
    }
    let invalid = JuteError::Value { what: "path of a node, not UTF-8", value: 0 };
    let path = std::str::from_utf8(path).map_err(|_| invalid)?;
    let data = input.read_bytes()?;
    let acl = input.read_i64()?;
    let stat = StatPersisted::decode(input)?;
    Ok(Some(Record { path, data, acl, stat }))
}

/// Collects the bytes of one node; true if it was the end mark.
fn collect_record(reader: &mut impl BufRead, out: &mut Vec<u8>) -> Result<bool, TreeError> {
    collect_bytes(reader, out)?;
    if out.get(LENGTH_BYTES..) == Some(b"/") {
        return Ok(true);
    }
    collect_bytes(reader, out)?;
    read_exact_to(reader, TAIL_BYTES, out)?;
    Ok(false)
}

/// Collects a length and as many bytes.
fn collect_bytes(reader: &mut impl BufRead, out: &mut Vec<u8>) -> Result<(), TreeError> {
    let length = read_i32(reader)?;
    out.extend_from_slice(&length.to_be_bytes());
    match usize::try_from(length) {
        Ok(length) => read_exact_to(reader, length, out),
        Err(_) if length == -1 => Ok(()),
        Err(_) => Err(JuteError::Length(length).into()),
    }
}

/// Appends exactly `count` bytes, growing only with what is there.
fn read_exact_to(
    reader: &mut impl BufRead,
    count: usize,
    out: &mut Vec<u8>,
) -> Result<(), TreeError> {
    let read = reader.take(count as u64).read_to_end(out)?;
    if read < count {
        return Err(Error::from(ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn read_array<const N: usize>(reader: &mut impl BufRead) -> Result<[u8; N], TreeError> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_i32(reader: &mut impl BufRead) -> Result<i32, TreeError> {
    Ok(i32::from_be_bytes(read_array(reader)?))
}
