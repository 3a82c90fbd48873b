//! ACLs and authentication.

use zabkeeper::proto::{Acl, perms};

use crate::support::both::SUPER_TOKEN;
use crate::support::server::{Target, targets};
use crate::{PLAIN, story};

fn one(perms: i32, scheme: &str, id: &str) -> Vec<Acl> {
    vec![Acl::new(perms, scheme, id)]
}

story!(each_permission_bit_allows_its_operations on PLAIN, |s| {
    let mut a = s.client("a");
    for bits in [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN, 0, 32, -1] {
        let path = format!("/t/p{bits}");
        a.create_acl(&path, "", one(bits, "world", "anyone"), 0);
        a.exists(&path, false);
        a.get(&path, false);
        a.set(&path, "x", -1);
        a.create(&format!("{path}/c"), "", 0);
        a.children(&path, false);
        a.children2(&path, false);
        a.all_children_number(&path);
        a.get_acl(&path);
        a.delete(&format!("{path}/c"), -1);
        a.set_acl(&path, one(bits, "world", "anyone"), -1);
        a.sync(&path);
    }
});

story!(digest_identities on PLAIN, |s| {
    let mut a = s.client("a");
    a.create_acl("/t/early", "", one(31, "auth", ""), 0);
    a.auth("digest", "bob:secret");
    a.create_acl("/t/n", "", one(31, "auth", "ignored"), 0);
    a.create_acl("/t/d", "", one(1, "digest", "alice:whatever"), 0);
    a.get_acl("/t/n");
    a.get_acl("/t/d");
    a.get("/t/d", false);
    a.auth("digest", "carol:secret");
    a.create_acl("/t/two", "", one(31, "auth", ""), 0);
    a.get_acl("/t/two");
    a.who_am_i();
    let mut b = s.client("b");
    b.get("/t/n", false);
    b.get_acl("/t/n");
    b.exists("/t/n", false);
    b.auth("digest", "bob:wrong");
    b.get("/t/n", false);
    b.auth("digest", "bob:secret");
    b.get("/t/n", false);
    b.get_acl("/t/two");
    b.auth("digest", "bob:secret");
    b.who_am_i();
});

story!(get_acl_hides_digest_hashes_without_admin on PLAIN, |s| {
    let mut owner = s.client("owner");
    owner.auth("digest", "owner:pw");
    owner.create_acl(
        "/t/n",
        "",
        vec![
            Acl::new(perms::ALL, "auth", ""),
            Acl::new(perms::READ, "world", "anyone"),
            Acl::new(perms::READ, "digest", "other:hash"),
            Acl::new(perms::READ, "ip", "127.0.0.1"),
        ],
        0,
    );
    owner.get_acl("/t/n");
    let mut a = s.client("a");
    a.get_acl("/t/n");
    a.set_acl("/t/n", Acl::open_unsafe(), -1);
});

story!(acl_lists_are_fixed_up on PLAIN, |s| {
    let mut a = s.client("a");
    a.auth("digest", "u:p");
    let twice = vec![
        Acl::new(31, "world", "anyone"),
        Acl::new(31, "world", "anyone"),
        Acl::new(1, "world", "anyone"),
    ];
    a.create_acl("/t/twice", "", twice, 0);
    a.get_acl("/t/twice");
    let mixed = vec![Acl::new(1, "world", "anyone"), Acl::new(31, "auth", "x"), Acl::new(31, "auth", "y")];
    a.create_acl("/t/mixed", "", mixed, 0);
    a.get_acl("/t/mixed");
    for (scheme, id) in [
        ("world", ""), ("world", "Anyone"), ("", "x"), ("digest", ""), ("digest", ":"),
        ("digest", "a:"), ("digest", ":b"), ("super", "x"), ("super", ""), ("sasl", "x"),
        ("x509", "CN=a"), ("ip", ""), ("ip", "1.2.3.4"), ("ip", "1.2.3"), ("ip", "1.2.3.4/"),
        ("ip", "1.2.3.4/33"), ("ip", "1.2.3.4/32"), ("ip", "1.2.3.4/0"), ("ip", "1.2.3.4/-1"),
        ("ip", "1.2.3.4/8/8"), ("ip", "::1"), ("ip", "::1/128"), ("ip", "::1/129"),
        ("ip", "1.2.3.256"), ("ip", "fe80::1%lo"), ("ip", "::ffff:1.2.3.4"), ("ip", "a"),
        ("ip", "2001:db8:0:0:0:0:0:1"), ("ip", "2001:db8::1::2"), ("ip", "01.02.03.04"),
        ("ip", "1.2.3.4/08"), ("ip", " 1.2.3.4"), ("ip", ":::"), ("key", "x"), ("ensemble", "x"),
    ] {
        let path = format!("/t/{}", scheme.len() * 100 + id.len());
        a.create_acl(&path, "", one(1, scheme, id), 0);
        a.get_acl(&path);
        a.delete(&path, -1);
    }
});

story!(ip_identities_match_by_prefix on PLAIN, |s| {
    let mut a = s.client("a");
    for (n, id) in [
        "127.0.0.1", "127.0.0.1/32", "127.0.0.0/8", "127.0.0.2", "127.0.0.2/31", "127.0.0.2/30",
        "0.0.0.0/0", "128.0.0.0/1", "::1", "::/0", "126.0.0.0/7", "127.128.0.0/9",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/t/{n}");
        a.create_acl(&path, "data", one(perms::READ, "ip", id), 0);
        a.get(&path, false);
    }
    a.who_am_i();
    a.auth("ip", "10.0.0.1");
    a.who_am_i();
});

story!(super_user_passes_everything on PLAIN, |s| {
    let mut owner = s.client("owner");
    owner.auth("digest", "owner:pw");
    owner.create_acl("/t/n", "secret", one(31, "auth", ""), 0);
    let mut a = s.client("a");
    a.get("/t/n", false);
    a.auth("digest", "super:wrong");
    a.who_am_i();
    a.get("/t/n", false);
    a.auth("digest", SUPER_TOKEN);
    a.who_am_i();
    a.get("/t/n", false);
    a.set_acl("/t/n", one(1, "world", "anyone"), -1);
    a.set("/t/n", "x", -1);
    a.set("/zookeeper/config", "", 99);
    // Alone, because the order of several identities is that of a hash set in Java.
    let mut b = s.client("b");
    b.auth("digest", SUPER_TOKEN);
    b.create_acl("/t/auth", "", one(31, "auth", ""), 0);
    b.get_acl("/t/auth");
});

story!(b30_refused_auth_ends_the_connection on PLAIN, |s| {
    for (scheme, token) in [("nonsense", "x"), ("", "x"), ("world", "x"), ("sasl", "x"), ("super", "x")] {
        let mut a = s.client("a");
        if a.auth(scheme, token).is_some_and(|reply| reply.header.err != 0) {
            a.expect_closed();
        } else {
            a.who_am_i();
        }
    }
    // Not refused: any digest, even without a password.
    for token in ["x", "", ":", "user:", ":pw", "a:b:c", "\u{e4}:\u{f6}"] {
        let mut a = s.client("a");
        if a.auth("digest", token).is_some_and(|reply| reply.header.err == 0) {
            a.who_am_i();
            a.create_acl("/t/n", "", one(31, "auth", ""), 0);
            a.get_acl("/t/n");
            a.delete("/t/n", -1);
        } else {
            a.expect_closed();
        }
    }
});

story!(who_am_i_lists_all_identities on PLAIN, |s| {
    let mut a = s.client("a");
    a.who_am_i();
    a.auth("digest", "x:1");
    a.auth("digest", "x:2");
    a.auth("digest", "y:1");
    a.who_am_i();
});

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

story!(identities_end_with_their_connection on PLAIN, |s| {
    let mut a = s.client("a");
    a.auth("digest", "x:1");
    a.create_acl("/t/n", "", one(31, "auth", ""), 0);
    a.cut();
    let mut again = s.reattach("again", &a);
    again.get("/t/n", false);
    again.who_am_i();
});

story!(sasl_packet_without_a_sasl_server on PLAIN, |s| {
    use zabkeeper::jute::Jute;
    use zabkeeper::proto::OpCode;
    use zabkeeper::proto::messages::GetSaslRequest;
    let mut a = s.client("a");
    let body = GetSaslRequest { token: Some(b"token"[..].into()) };
    a.call_raw(OpCode::Sasl.as_i32(), &body.to_bytes(), "sasl");
    a.call_raw(OpCode::Sasl.as_i32(), &GetSaslRequest { token: None }.to_bytes(), "sasl null");
    a.ping();
});
