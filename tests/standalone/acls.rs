//! ACLs and authentication.

use zabkeeper::proto::{Acl, perms};

use crate::PLAIN;
use crate::support::server::{Target, targets};

fn one(perms: i32, scheme: &str, id: &str) -> Vec<Acl> {
    vec![Acl::new(perms, scheme, id)]
}

// Java checks what follows in a pipeline against the old ACL until the new one is applied: it leaves
// it out of its pending record. What a client may do must not depend on the speed of the disk.
#[test]
fn requests_behind_a_set_acl_are_checked_against_the_new_one() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    PLAIN.tell(Target::Zabkeeper, &|s| {
        let mut a = s.client("a");
        for _ in 0..20 {
            a.create("/t/n", "", 0);
            a.begin_burst();
            a.set_acl("/t/n", one(perms::READ | perms::ADMIN, "world", "anyone"), -1);
            a.set("/t/n", "refused", -1);
            a.set_acl("/t/n", Acl::open_unsafe(), -1);
            a.set("/t/n", "done", -1);
            let codes: Vec<i32> = a.end_burst();
            assert_eq!(codes, [0, -102, 0, 0]);
            a.delete("/t/n", -1);
        }
    });
}
