//! `ReferenceCountedACLCache`: every distinct ACL once, counted by the nodes that have it.
//!
//! The ids in snapshots are Java's: they start at 1 and grow, -1 is the open ACL. In memory a node
//! holds the number of a slot. Differences: counts are those of the nodes in the tree, always
//! (Java counts again what a fuzzy replay repeats, and forgets what it replaces, ZOOKEEPER-4846);
//! an id that a snapshot uses and does not declare gets a slot of its own, which admits nobody
//! until the transaction that follows sets the ACL.

use std::collections::HashMap;
use std::sync::Arc;

use crate::jute::{Jute, OutputExt};
use crate::proto::Acl;

/// The slot of the open ACL.
pub(super) const OPEN_SLOT: u32 = 0;
/// Its id in snapshots (`OPEN_UNSAFE_ACL_ID`).
const OPEN_ID: i64 = -1;

#[derive(Debug)]
struct Slot {
    id: i64,
    acl: Arc<[Acl]>,
    uses: u64,
}

/// The distinct ACLs of a tree.
#[derive(Debug)]
pub(super) struct ReferenceCountedAclCache {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_acl: HashMap<Arc<[Acl]>, u32>,
    by_id: HashMap<i64, u32>,
    /// The largest id given out or read (`aclIndex`).
    acl_index: i64,
    /// The slot interned last: mostly it is wanted again.
    latest: u32,
}

impl ReferenceCountedAclCache {
    pub(super) fn new() -> Self {
        let open = Slot { id: OPEN_ID, acl: Acl::open_unsafe().into(), uses: 0 };
        ReferenceCountedAclCache {
            slots: vec![open],
            free: Vec::new(),
            by_acl: HashMap::new(),
            by_id: HashMap::new(),
            acl_index: 0,
            latest: OPEN_SLOT,
        }
    }

    /// The slot of `acl` with one use more (`convertAcls`). An empty list is a null one of an old
    /// log: the open ACL.
    pub(super) fn intern(&mut self, acl: &[Acl]) -> u32 {
        if acl.is_empty() {
            return OPEN_SLOT;
        }
        let latest = self.latest;
        if let Some(slot) = self.slots.get_mut(latest as usize)
            && latest != OPEN_SLOT
            && slot.uses > 0
            && *slot.acl == *acl
        {
            slot.uses += 1;
            return latest;
        }
        let slot = match self.by_acl.get(acl) {
            Some(slot) => *slot,
            None => {
                let acl: Arc<[Acl]> = acl.into();
                let id = self.next_id();
                let slot = self.add(id, Arc::clone(&acl));
                self.by_acl.insert(acl, slot);
                slot
            }
        };
        self.latest = slot;
        self.add_usage(slot);
        slot
    }

    /// The ACL in a slot (`convertLong`).
    pub(super) fn acl(&self, slot: u32) -> Arc<[Acl]> {
        match self.slots.get(slot as usize) {
            Some(slot) => Arc::clone(&slot.acl),
            None => nobody(),
        }
    }

    /// The id of a slot in snapshots.
    pub(super) fn id(&self, slot: u32) -> i64 {
        self.slots.get(slot as usize).map_or(OPEN_ID, |slot| slot.id)
    }

    /// One node more has this ACL.
    pub(super) fn add_usage(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.uses += 1;
        }
    }

    /// One node less has this ACL; the last one takes it along.
    pub(super) fn remove_usage(&mut self, slot: u32) {
        if slot == OPEN_SLOT {
            return;
        }
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.uses = entry.uses.saturating_sub(1);
            if entry.uses == 0 {
                self.drop_slot(slot);
            }
        }
    }

    /// Distinct ACLs in use, the implied open one not counted (`size`).
    pub(super) fn len(&self) -> usize {
        self.by_acl.len()
    }

    /// A declaration of a snapshot.
    pub(super) fn declare(&mut self, id: i64, acl: Vec<Acl>) {
        if id == OPEN_ID {
            return;
        }
        self.acl_index = self.acl_index.max(id);
        let acl: Arc<[Acl]> = acl.into();
        let slot = match self.by_id.get(&id) {
            Some(slot) => {
                let slot = *slot;
                if let Some(entry) = self.slots.get_mut(slot as usize) {
                    entry.acl = Arc::clone(&acl);
                }
                slot
            }
            None => self.add(id, Arc::clone(&acl)),
        };
        self.by_acl.insert(acl, slot);
    }

    /// The slot of an id that a node in a snapshot has, with one use more, and whether the id was
    /// known before.
    pub(super) fn use_id(&mut self, id: i64) -> (u32, bool) {
        if id == OPEN_ID {
            return (OPEN_SLOT, true);
        }
        let (slot, declared) = match self.by_id.get(&id) {
            Some(slot) => (*slot, true),
            None => {
                self.acl_index = self.acl_index.max(id);
                (self.add(id, nobody()), false)
            }
        };
        self.add_usage(slot);
        (slot, declared)
    }

    /// Forgets what no node uses, at the end of a load.
    pub(super) fn purge_unused(&mut self) {
        for slot in 1..self.slots.len() as u32 {
            // A free slot is not listed under its id any more.
            let unused = self
                .slots
                .get(slot as usize)
                .is_some_and(|entry| entry.uses == 0 && self.by_id.get(&entry.id) == Some(&slot));
            if unused {
                self.drop_slot(slot);
            }
        }
    }

    /// Appends the map of a snapshot: count, then id and ACL of each, ids rising.
    ///
    /// | int count | long id | vector of ACL | … |
    pub(super) fn serialize(&self, out: &mut Vec<u8>) {
        let mut ids: Vec<(i64, u32)> = self.by_id.iter().map(|(id, slot)| (*id, *slot)).collect();
        ids.sort_unstable();
        out.put_count(ids.len());
        for (id, slot) in ids {
            out.put_i64(id);
            let acl = self.acl(slot);
            out.put_count(acl.len());
            for entry in acl.iter() {
                entry.encode(out);
            }
        }
    }

    fn next_id(&mut self) -> i64 {
        loop {
            self.acl_index = self.acl_index.wrapping_add(1);
            if self.acl_index != OPEN_ID && !self.by_id.contains_key(&self.acl_index) {
                return self.acl_index;
            }
        }
    }

    fn add(&mut self, id: i64, acl: Arc<[Acl]>) -> u32 {
        let entry = Slot { id, acl, uses: 0 };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = entry;
                }
                slot
            }
            None => {
                self.slots.push(entry);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    fn drop_slot(&mut self, slot: u32) {
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            let acl = std::mem::replace(&mut entry.acl, Arc::from([]));
            self.by_id.remove(&entry.id);
            // Two ids of one snapshot may have had equal lists.
            if self.by_acl.get(&*acl) == Some(&slot) {
                self.by_acl.remove(&*acl);
            }
            self.free.push(slot);
        }
    }
}

/// An ACL that admits no one: of a node whose real one is not known.
fn nobody() -> Arc<[Acl]> {
    Arc::from([Acl::new(0, "world", "anyone")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(perms: i32) -> Vec<Acl> {
        vec![Acl::new(perms, "world", "anyone")]
    }

    #[test]
    fn ids_start_at_one_and_are_shared() {
        let mut cache = ReferenceCountedAclCache::new();
        let first = cache.intern(&acl(1));
        let second = cache.intern(&acl(2));
        assert_eq!((cache.id(first), cache.id(second)), (1, 2));
        assert_eq!(cache.intern(&acl(1)), first);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn the_last_use_takes_the_acl_along_and_its_id_is_not_given_out_again() {
        let mut cache = ReferenceCountedAclCache::new();
        let slot = cache.intern(&acl(1));
        cache.intern(&acl(1));
        cache.remove_usage(slot);
        assert_eq!(cache.len(), 1);
        cache.remove_usage(slot);
        assert_eq!(cache.len(), 0);
        let again = cache.intern(&acl(1));
        assert_eq!(cache.id(again), 2);
    }

    #[test]
    fn an_empty_list_is_the_open_acl() {
        let mut cache = ReferenceCountedAclCache::new();
        let slot = cache.intern(&[]);
        assert_eq!(cache.id(slot), -1);
        assert_eq!(*cache.acl(slot), *Acl::open_unsafe());
        cache.remove_usage(slot);
        assert_eq!(*cache.acl(slot), *Acl::open_unsafe());
    }

    #[test]
    fn an_undeclared_id_admits_nobody_and_keeps_its_id() {
        let mut cache = ReferenceCountedAclCache::new();
        cache.declare(3, acl(3));
        let (slot, declared) = cache.use_id(7);
        assert!(!declared);
        assert_eq!(cache.id(slot), 7);
        assert_eq!(*cache.acl(slot), [Acl::new(0, "world", "anyone")]);
        let next = cache.intern(&acl(1));
        assert_eq!(cache.id(next), 8);
    }

    #[test]
    fn declared_ids_without_a_node_are_purged() {
        let mut cache = ReferenceCountedAclCache::new();
        cache.declare(3, acl(3));
        cache.declare(4, acl(4));
        // The same list twice, as an old fuzzy snapshot may have it.
        cache.declare(5, acl(4));
        let (four, _) = cache.use_id(4);
        cache.purge_unused();
        assert_eq!(cache.id(four), 4);
        let mut out = Vec::new();
        cache.serialize(&mut out);
        assert_eq!(&out[..12], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4]);
    }
}
