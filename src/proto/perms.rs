//! `ZooDefs.Perms`: the bits of an ACL entry.

/// Read data and children, receive watch events.
pub const READ: i32 = 1 << 0;
/// Set data.
pub const WRITE: i32 = 1 << 1;
/// Create children.
pub const CREATE: i32 = 1 << 2;
/// Delete children.
pub const DELETE: i32 = 1 << 3;
/// Set the ACL, see digests in it.
pub const ADMIN: i32 = 1 << 4;
/// All of them.
pub const ALL: i32 = READ | WRITE | CREATE | DELETE | ADMIN;
