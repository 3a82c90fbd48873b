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

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values were printed by Java 17.
    fn check_password(id: i64, expected: u128) {
        let password = generate(SessionId(id));
        assert_eq!(password, expected.to_be_bytes(), "{id:#x}");
        assert!(check(SessionId(id), &password));
        assert!(!check(SessionId(id), password.get(1..).unwrap()));
        assert!(!check(SessionId(id), &[0; 16]));
    }

    #[test]
    fn passwords_are_those_of_java() {
        check_password(1, 0x054c_c74a_3732_7db2_15e7_02e2_0c73_f005);
        // Only 48 bits of the id count.
        check_password(0x0100_0000_0000_0001, 0x054c_c74a_3732_7db2_15e7_02e2_0c73_f005);
        check_password(-1, 0x20f6_2cb5_648d_c2d7_7147_1c8a_2486_a9ee);
        check_password(0x1001_2345_6789_0000, 0x9db3_0863_66b9_6483_4360_7d76_1f77_4485);
        check_password(0x0072_dead_beef_0001, 0x766a_f9be_54ae_5941_6ecd_215e_f17c_182a);
        check_password(0xb341_5c00, 0x60b4_20bb_3851_d9d4_7acb_933d_be70_399b);
    }

    #[test]
    fn no_session_has_no_password() {
        assert!(!check(SessionId(0), &generate(SessionId(0))));
        assert!(!check(SessionId(1), &[]));
    }
}
