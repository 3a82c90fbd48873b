//! What single settings change.

use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::ReconfigRequest;
use zabkeeper::proto::{Acl, OpCode, perms};

use crate::story;
use crate::support::both::Flavor;

static ENFORCED_AUTH: Flavor =
    Flavor::bare(&["enforce.auth.enabled=true", "enforce.auth.schemes=digest"], &[]);
static SKIP_ACL: Flavor =
    Flavor::new(&["skipACL=yes", "reconfigEnabled=true", "4lw.commands.whitelist=ruok, isro"], &[]);
static SHA_256: Flavor = Flavor::bare(
    &["closeSessionTxn.enabled=false", "4lw.commands.whitelist=*"],
    &["zookeeper.DigestAuthenticationProvider.digestAlg=SHA-256", "zookeeper.digest.enabled=false"],
);

story!(enforced_authentication on ENFORCED_AUTH, |s| {
    s.hide_zxids();
    let mut a = s.client_for("a", 8000);
    // Everything but auth ends the connection.
    // Java answers a ping of an unauthenticated client with the error, too.
    a.wire.send(-2, OpCode::Ping.as_i32(), &[]);
    s.note_raw("a", &mut a.wire);
    a.expect_closed();
    for op in [OpCode::Exists, OpCode::Create, OpCode::WhoAmI, OpCode::CloseSession] {
        let mut b = s.client_for("b", 8000);
        if b.call_raw(op.as_i32(), &[], op.name()).is_some() {
            b.expect_closed();
        }
    }
    let mut c = s.client_for("c", 8000);
    c.auth("digest", "u:p");
    c.create("/enforced", "", 1);
    c.exists("/enforced", false);
    c.ping();
    c.close();
    let mut d = s.client_for("d", 8000);
    if d.auth("ip", "x").is_some() {
        d.exists("/", false);
        d.expect_closed();
    }
    // A session of its own does not come back with its identities.
    let mut e = s.client_for("e", 8000);
    e.auth("digest", "u:p");
    e.cut();
    let mut again = s.reattach("again", &e);
    if again.exists("/x", false).is_some() {
        again.expect_closed();
    }
});

story!(skip_acl_checks_nothing on SKIP_ACL, |s| {
    let mut a = s.client("a");
    a.create_acl("/t/n", "secret", vec![Acl::new(0, "world", "anyone")], 0);
    a.get("/t/n", false);
    a.set("/t/n", "x", -1);
    a.create("/t/n/c", "", 0);
    a.children("/t/n", false);
    a.get_acl("/t/n");
    a.set_acl("/t/n", vec![Acl::new(perms::READ, "digest", "a:b")], -1);
    a.get_acl("/t/n");
    a.delete("/t/n/c", -1);
    a.create_acl("/t/empty", "", vec![], 0);
    a.create_acl("/t/bad", "", vec![Acl::new(31, "nonsense", "x")], 0);
    a.get_acl("/t/bad");
    a.create_acl("/t/auth", "", vec![Acl::new(31, "auth", "")], 0);
    a.get_acl("/t/auth");
    a.set_acl("/t/n", vec![], -1);
    a.add_watch("/t/n", 1);
    a.set("/t/n", "y", -1);
    a.get("/zookeeper/config", false);
    a.set("/zookeeper/config", "y", 77);
});

story!(reconfig_of_a_standalone_server_is_unimplemented on SKIP_ACL, |s| {
    let mut a = s.client("a");
    for new_members in [None, Some("server.1=127.0.0.1:1:2;3".to_owned())] {
        let request = ReconfigRequest {
            joining_servers: None,
            leaving_servers: None,
            new_members,
            cur_config_id: -1,
        };
        a.call_raw(OpCode::Reconfig.as_i32(), &request.to_bytes(), "reconfig");
    }
    a.ping();
});

story!(b39_the_whitelist_names_words on SKIP_ACL, |s| {
    for word in ["ruok", "isro", "srvr", "stat", "conf", "mntr"] {
        let answer = s.server.word(word);
        let first = answer.lines().next().unwrap_or_default();
        s.note(format!("{word}: {}", first.split('-').next().unwrap_or_default()));
    }
});

story!(another_digest_algorithm on SHA_256, |s| {
    let mut a = s.client_for("a", 8000);
    a.auth("digest", "user:password");
    a.who_am_i();
    a.create_acl("/sha256", "x", vec![Acl::new(31, "auth", "")], 1);
    a.get_acl("/sha256");
    let mut b = s.client_for("b", 8000);
    b.get("/sha256", false);
    b.auth("digest", "user:password");
    b.get("/sha256", false);
    b.auth("digest", "super:secret");
    b.who_am_i();
    s.note(format!("hash: {:?}", s.server.word("hash")));
    a.close();
    b.exists("/sha256", false);
});
