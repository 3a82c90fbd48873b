//! The password of a session (`ZooKeeperServer.generatePasswd`, `checkPasswd`).
//!
//! It is derived from the id alone, with a constant that all servers share: a client can move to any
//! server. It is no secret in the sense of cryptography; it keeps clients from mixing up sessions.

use super::JavaRandom;
use crate::proto::SessionId;

/// The password of the session `id`.
#[must_use]
pub fn generate(id: SessionId) -> [u8; 16] {
    let mut password = [0; 16];
    JavaRandom::new(id.0 ^ SUPER_SECRET).next_bytes(&mut password);
    password
}

/// Whether `password` is that of the session `id`. Never true for id 0, "no session".
#[must_use]
pub fn check(id: SessionId, password: &[u8]) -> bool {
    id.0 != 0 && password == generate(id)
}

/// Java: `ZooKeeperServer.superSecret`.
const SUPER_SECRET: i64 = 0xb341_5c00;
