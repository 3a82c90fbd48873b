//! Creating, reading, changing and deleting nodes: results, stat fields, order of checks.

use std::sync::Arc;

use zabkeeper::proto::Acl;

use crate::PLAIN;
use crate::story;

story!(b21_stat_shows_cversion_from_creates_and_children on PLAIN, |s| {
    let mut a = s.client("a");
    a.create2("/t/n", "abc", 0);
    a.exists("/t/n", false);
    a.create("/t/n/1", "", 0);
    a.create("/t/n/2", "", 0);
    a.delete("/t/n/1", -1);
    a.exists("/t/n", false);
    a.set("/t/n", "longer", 0);
    a.set("/t/n", "", 1);
    a.children2("/t/n", false);
    a.set_acl("/t/n", Acl::open_unsafe(), 0);
    a.get("/t/n", false);
    a.create2("/t/eph", "", 1);
    a.get("/t/eph", false);
    a.exists("/t", false);
});

story!(b33_null_and_empty_data_differ on PLAIN, |s| {
    let mut a = s.client("a");
    a.create_buffer("/t/null", None);
    a.create_buffer("/t/empty", Some(Arc::from(&b""[..])));
    a.get("/t/null", false);
    a.get("/t/empty", false);
    a.set_buffer("/t/empty", None, -1);
    a.get("/t/empty", false);
    a.set_buffer("/t/null", Some(Arc::from(&b""[..])), -1);
    a.get("/t/null", false);
});
