//! What can go wrong while a tree is read or walked. Errors of operations are client codes.

use crate::jute::JuteError;

/// A tree that cannot be loaded, or a walk that lost its tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The reader failed, or ended before the end mark.
    #[error("cannot read the tree: {0}")]
    Io(#[from] std::io::Error),
    /// A field is malformed.
    #[error("malformed tree: {0}")]
    Jute(#[from] JuteError),
    /// A node came before its parent, or its path is none.
    #[error("Invalid Datatree, unable to find parent of path {path}")]
    NoParent {
        /// The node's path.
        path: String,
    },
    /// The tree was replaced while it was walked.
    #[error("the tree was replaced during the walk")]
    Replaced,
}
