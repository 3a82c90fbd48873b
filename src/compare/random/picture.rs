//! A rough picture of the tree that a sequence makes: which nodes there probably are, and with which
//! version. Refusals are not known to it, and need not be.

use std::collections::BTreeMap;

use super::Dice;

/// Names of nodes. Few, so that sessions meet.
const NAMES: &[&str] = &["a", "b", "c", "x", "y", "e"];

/// No node is deeper.
const DEPTH_MAX: usize = 5;

/// What there probably is.
#[derive(Debug)]
pub struct Picture {
    /// Path to version.
    nodes: BTreeMap<String, i32>,
}

impl Default for Picture {
    fn default() -> Picture {
        Picture { nodes: BTreeMap::from([("/t".to_owned(), 0)]) }
    }
}

impl Picture {
    /// A path to ask for: mostly one that there is. Never the root or /zookeeper, which remember
    /// what ran before.
    pub fn path(&self, dice: &mut Dice) -> String {
        match dice.roll(40) {
            0 => {
                let odd = ["/t/", "/t//a", "bad", "/t/a/.", "/t/\u{1}", "/t/é"];
                dice.one_of(&odd).to_owned()
            }
            1..=6 => self.new_path(dice),
            _ => self.known(dice),
        }
    }

    /// A path for a create: below one that there is.
    pub fn new_path(&self, dice: &mut Dice) -> String {
        if dice.is_one_in(40) {
            return dice.one_of(&["/t/a/..", "/t", "t", "/t/a/"]).to_owned();
        }
        let mut parent = self.known(dice);
        if parent.matches('/').count() >= DEPTH_MAX {
            "/t".clone_into(&mut parent);
        }
        match dice.roll(8) {
            0 => format!("{parent}/s-"),
            1 => format!("{parent}/{}", dice.one_of(&["s-0000000000", "s-0000000003", "é"])),
            _ => format!("{parent}/{}", dice.one_of(NAMES)),
        }
    }

    fn known(&self, dice: &mut Dice) -> String {
        let at = dice.roll(self.nodes.len());
        self.nodes.keys().nth(at).cloned().unwrap_or_else(|| "/t".to_owned())
    }

    /// The version that the node probably has.
    pub fn version(&self, path: &str) -> i32 {
        self.nodes.get(path).copied().unwrap_or_default()
    }

    /// A create with `flags` was sent.
    pub fn create(&mut self, path: &str, flags: i32) {
        let is_sequential = flags & 2 != 0 && flags < 4;
        if !is_sequential && path.starts_with("/t/") && !path.ends_with(['/', '.']) {
            self.nodes.entry(path.to_owned()).or_insert(0);
        }
    }

    /// A setData was sent.
    pub fn change(&mut self, path: &str) {
        if let Some(version) = self.nodes.get_mut(path) {
            *version += 1;
        }
    }

    /// A delete was sent.
    pub fn delete(&mut self, path: &str) {
        let below = format!("{path}/");
        let has_children = self.nodes.keys().any(|other| other.starts_with(&below));
        if !has_children && path != "/t" {
            self.nodes.remove(path);
        }
    }
}
