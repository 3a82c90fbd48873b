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

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::jute::OutputExt;

    /// `DataTree.serialize` of a new tree of 3.9.4.
    const FRESH: &str = "\
        000000010000000000000001000000010000000100000005776f726c6400000006616e796f6e65000000000000\
        0000ffffffffffffffff0000000000000000000000000000000000000000000000000000000000000000000000\
        000000000000000000000000000000000000000000000000000000000a2f7a6f6f6b656570657200000000ffff\
        ffffffffffff000000000000000000000000000000000000000000000000000000000000000000000000000000\
        000000000000000000000000000000000000000000000000112f7a6f6f6b65657065722f636f6e666967000000\
        000000000000000001000000000000000000000000000000000000000000000000000000000000000000000000\
        00000000ffffffff00000000000000000000000000000000000000102f7a6f6f6b65657065722f71756f746100\
        000000ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000\
        0000000000000000000000000000000000000000000000000000000000012f";

    fn fresh() -> Vec<u8> {
        let digits = FRESH.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn load(mut bytes: &[u8]) -> Result<DataTree, TreeError> {
        DataTree::load(TreeOptions::default(), &mut bytes)
    }

    /// A snapshot of these nodes, all with the ACL id `acl`.
    fn snapshot(paths: &[&str], acl: i64) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i32(1);
        out.put_i64(5);
        out.put_count(1);
        Acl::new(1, "world", "anyone").encode(&mut out);
        for path in paths {
            out.put_str(path);
            out.put_bytes(Some(b"data"));
            out.put_i64(acl);
            StatPersisted::default().encode(&mut out);
        }
        out.put_str("/");
        out
    }

    #[test]
    fn a_fresh_tree_of_java_is_read_and_written_byte_for_byte() {
        let tree = load(&fresh()).unwrap();
        assert_eq!(tree.tree_digest(), 1371985504);
        assert_eq!((tree.node_count(), tree.cached_approximate_data_size()), (5, 44));
        assert_eq!(tree.serialize().len(), fresh().len());
        // Java's order of children is its own; ours is newest first.
        assert_eq!(DataTree::new(TreeOptions::default()).serialize(), fresh());
    }

    #[test]
    fn nothing_behind_the_end_mark_is_taken() {
        let mut bytes = fresh();
        bytes.extend(b"rest");
        for capacity in [1, 7, 64, 100, 4096] {
            let mut reader = BufReader::with_capacity(capacity, &bytes[..]);
            let tree = DataTree::load(TreeOptions::default(), &mut reader).unwrap();
            assert_eq!(tree.node_count(), 5);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "rest", "{capacity}");
        }
    }

    #[test]
    fn a_cut_is_an_error_wherever_it_is() {
        let bytes = fresh();
        for cut in 0..bytes.len() {
            assert!(load(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn flipped_bits_never_panic_and_claim_no_memory() {
        let bytes = fresh();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let _ = load(&bytes); // An error or another tree.
            }
        }
    }

    #[test]
    fn nodes_without_a_parent_or_a_name_are_refused() {
        for path in ["/a/b", "foo", "//", "/a/", "//a"] {
            assert!(
                matches!(load(&snapshot(&["", path], 5)), Err(TreeError::NoParent { .. })),
                "{path}"
            );
        }
        assert!(load(&snapshot(&["", "/a", "/a/b", "/c", "/a/d"], 5)).is_ok());
    }

    #[test]
    fn a_node_that_comes_twice_is_the_second() {
        let tree = load(&snapshot(&["", "/a", "/a", ""], 5)).unwrap();
        assert_eq!((tree.node_count(), tree.node("/").unwrap().child_count()), (3, 1));
        assert_eq!(tree.cached_approximate_data_size(), tree.approximate_data_size());
        assert_eq!(tree.tree_digest(), load(&snapshot(&["", "/a"], 5)).unwrap().tree_digest());
    }

    #[test]
    fn an_undeclared_acl_admits_nobody_until_it_is_set() {
        let mut tree = load(&snapshot(&["", "/a"], 9)).unwrap();
        assert_eq!(*tree.node("/a").unwrap().acl(), [Acl::new(0, "world", "anyone")]);
        // The declared one has no node.
        assert_eq!(tree.acl_cache_size(), 0);
        tree.set_acl("/a", &Acl::open_unsafe(), 1).unwrap();
        assert_eq!(*tree.node("/a").unwrap().acl(), *Acl::open_unsafe());
    }
}
