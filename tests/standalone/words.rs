//! Four-letter words: their texts with the numbers masked, line by line as Java's.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use zabkeeper::compare::words::numbers_masked;
use zabkeeper::jute::Jute;
use zabkeeper::proto::{Acl, OpCode};

use crate::support::both::check_lines;
use crate::support::peer::{Story, create, op_children, op_create, op_delete, op_get, op_set};
use crate::support::server::{Setup, Target, TestServer, targets};
use crate::support::wait_until;
use crate::{DEFAULTS, PLAIN, story};

/// `#` for decimal numbers (with or without a fraction, negative too), `0x#` for hexadecimal ones,
/// `DIR` for the server's directory, `DATE` for dates; the build of the version line is dropped.
fn mask(server: &TestServer, text: &str) -> String {
    let text = text.replace(&server.dir().display().to_string(), "DIR");
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let line = if line.starts_with("Zookeeper version: 3.9.4") {
            "Zookeeper version: 3.9.4".to_owned()
        } else if let Some(at) = line.find(" expire at ") {
            format!("{} expire at DATE:", numbers_masked(&line[..at]))
        } else {
            numbers_masked(line)
        };
        lines.push(line);
    }
    lines.join("\n")
}

fn note_word(s: &Story<'_>, word: &str) {
    let answer = s.server.word(word);
    for line in mask(s.server, &answer).split('\n') {
        s.note(format!("{word}: {line}"));
    }
}

/// As [`note_word`], for answers whose lines have no fixed order.
fn note_word_sorted(s: &Story<'_>, word: &str) {
    let answer = mask(s.server, &s.server.word(word));
    let mut lines: Vec<&str> = answer.split('\n').collect();
    lines.sort_unstable();
    for line in lines {
        s.note(format!("{word} (sorted): {line}"));
    }
}

story!(b39_only_srvr_is_on_by_default on DEFAULTS, |s| {
    for word in [
        "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok",
        "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
    ] {
        note_word(s, word);
    }
    // The end of a telnet session.
    let mut stream = TcpStream::connect(s.server.addr()).unwrap();
    stream.write_all(&[0xff, 0xf4, 0xff, 0xfd]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    s.note(format!("telnet: {:?}", String::from_utf8_lossy(&answer)));
});

story!(b39_unknown_words_close_the_connection on PLAIN, |s| {
    for word in ["abcd", "SRVR", "quit", "help", "zzzz", "ruo\n"] {
        let mut stream = TcpStream::connect(s.server.addr()).unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset is a close, too.
        let end = stream.read_to_end(&mut answer).map_or("closed", |_| "closed");
        s.note(format!("{word:?}: {} bytes, {end}", answer.len()));
    }
});

story!(b39_words_with_a_newline_or_more_behind_them on PLAIN, |s| {
    for words in ["ruok\n", "ruok\r\n", "ruokruok", "isro and more"] {
        let mut stream = TcpStream::connect(s.server.addr()).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The unread rest may turn the close into a reset, behind the answer.
        let _ = stream.read_to_end(&mut answer);
        s.note(format!("{words:?}: {:?}", String::from_utf8_lossy(&answer)));
    }
});

story!(a_word_in_pieces on PLAIN, |s| {
    let mut stream = TcpStream::connect(s.server.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"ruok" {
        stream.write_all(&[*byte]).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    s.note(answer);
});

story!(short_words on PLAIN, |s| {
    for word in ["ruok", "isro", "gtmk", "srst", "crst", "dirs", "conf"] {
        note_word(s, word);
    }
    for line in s.server.word("conf").lines() {
        let settled = ["tickTime", "max", "min", "clientPortListen", "serverId", "secure"];
        if settled.iter().any(|name| line.starts_with(name)) {
            s.note(line);
        }
    }
});

story!(b16_hash_lists_a_digest_every_128_zxids on PLAIN, |s| {
    let mut a = s.client("a");
    for xid in 0..260 {
        let body = create("/t/n-", "", Acl::open_unsafe(), 2).to_bytes();
        a.wire.send(xid, OpCode::Create.as_i32(), &body);
        assert_eq!(a.wire.packet().header.err, 0);
    }
    let hash = s.server.word("hash");
    let mut zxids: Vec<i64> = hash
        .lines()
        .map(|line| {
            let (zxid, digest) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            assert!(digest.parse::<u64>().is_ok() || digest.parse::<i64>().is_ok(), "{line:?}");
            i64::from_str_radix(zxid, 16).unwrap()
        })
        .collect();
    // Behaviour 18: an undecodable write of an earlier story uses a zxid twice in Java.
    zxids.dedup();
    assert!(zxids.len() >= 2, "{hash}");
    assert!(zxids.iter().all(|zxid| zxid % 128 == 0), "{hash}");
    assert!(zxids.windows(2).all(|pair| pair[1] - pair[0] == 128), "{hash}");
    s.note("every 128 zxids");
});

story!(stmk_sets_the_trace_mask on PLAIN, |s| {
    for mask in [0x3ffi64, 306] {
        let mut stream = TcpStream::connect(s.server.addr()).unwrap();
        let mut bytes = b"stmk".to_vec();
        bytes.extend(mask.to_be_bytes());
        stream.write_all(&bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        s.note(format!("stmk: {answer}"));
        s.note(format!("gtmk: {}", s.server.word("gtmk")));
    }
});

story!(srvr_and_stat on PLAIN, |s| {
    wait_for_quiet(s);
    note_word(s, "srvr");
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    note_word(s, "srvr");
    note_word_sorted(s, "stat");
    a.close();
});

/// Connections of earlier stories may still be on their way out.
fn wait_for_quiet(s: &Story<'_>) {
    let quiet = wait_until(super::support::PATIENCE, || {
        // The asking connection itself is not counted in Java: it has ended by then, or not.
        let srvr = s.server.word("srvr");
        let line = srvr.lines().find(|line| line.starts_with("Connections: "))?;
        let count: u32 = line["Connections: ".len()..].parse().ok()?;
        (count <= 1).then_some(())
    });
    assert!(quiet.is_some(), "connections stay open");
}

story!(srvr_counts_nodes_and_connections on DEFAULTS, |s| {
    wait_for_quiet(s);
    let field = |name: &str| {
        let srvr = s.server.word("srvr");
        srvr.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    s.note(field("Node count: "));
    s.note(field("Connections: "));
    s.note(field("Mode: "));
    let mut a = s.client("a");
    let b = s.client("b");
    a.create("/t/n", "", 0);
    s.note(field("Node count: "));
    s.note(field("Connections: "));
    s.note(field("Outstanding: "));
    let zxid = a.ping().unwrap().header.zxid;
    assert_eq!(field("Zxid: "), format!("Zxid: {zxid:#x}"));
    drop(b);
});

story!(cons_shows_each_connection on PLAIN, |s| {
    wait_for_quiet(s);
    let mut a = s.client("a");
    note_word_sorted(s, "cons");
    a.create("/t/n", "", 0);
    a.get("/t/n", true);
    a.ping();
    note_word_sorted(s, "cons");
    let id = format!("sid={:#x}", a.id);
    assert!(s.server.word("cons").contains(&id), "{id}");
    for (op, expected) in [("children", "GETC"), ("set", "SETD"), ("exists", "EXIS"), ("sync", "SYNC")] {
        match op {
            "children" => a.children("/t", false),
            "set" => a.set("/t/n", "x", -1),
            "exists" => a.exists("/t/n", false),
            _ => a.sync("/t"),
        };
        let cons = s.server.word("cons");
        let line = cons.lines().find(|line| line.contains(&id)).unwrap_or_default();
        let lop = line.split(',').find(|field| field.starts_with("lop=")).unwrap_or_default();
        s.note(format!("after {op} ({expected}): {lop}"));
    }
});

story!(crst_and_srst_reset_the_counters on PLAIN, |s| {
    let mut a = s.client("a");
    for _ in 0..20 {
        a.ping();
    }
    note_word(s, "crst");
    note_word(s, "srst");
    let count = |name: &str| -> i64 {
        let srvr = s.server.word("srvr");
        let line = srvr.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(count("Received: ") < 10);
    assert!(count("Sent: ") < 10);
});

story!(packets_are_counted_as_java_counts_them on PLAIN, |s| {
    wait_for_quiet(s);
    let mut a = s.client("a");
    let mut b = s.client("b");
    s.server.word("srst");
    s.server.word("crst");
    let counts = |what: &str| {
        let srvr = s.server.word("srvr");
        let count = |name: &str| {
            srvr.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
        };
        s.note(format!("{what}: {}, {}", count("Received: "), count("Sent: ")));
    };
    counts("at the beginning");
    for _ in 0..10 {
        a.ping();
    }
    counts("10 pings later");
    a.get("/t", true);
    b.add_watch("/t", 1);
    a.set("/t", "x", -1);
    b.ping();
    counts("a read, two watches, a write, two events, a ping later");
    let cons = s.server.word("cons");
    for peer in [&a, &b] {
        let id = format!("sid={:#x},", peer.id);
        let line = cons.lines().find(|line| line.contains(&id)).unwrap_or_default();
        let shown = ["(queued", "recved", "sent", "lop", "to", "lcxid"];
        let fields: Vec<&str> = line
            .trim_end_matches(')')
            .split(',')
            .map(|field| field.rsplit('(').next().unwrap_or_default())
            .filter(|field| shown.iter().any(|name| field.starts_with(name)))
            .collect();
        s.note(format!("cons: {}", fields.join(" ")));
    }
    a.exists("/missing", false);
    a.auth("digest", "x:y");
    a.set("/missing", "x", -1);
    counts("three more");
    b.close();
    counts("and a close");
});

story!(watch_words on PLAIN, |s| {
    wait_for_quiet(s);
    note_word(s, "wchs");
    note_word(s, "wchc");
    note_word(s, "wchp");
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/n", "", 0);
    a.get("/t/n", true);
    a.exists("/t/m", true);
    a.children("/t", true);
    b.get("/t/n", true);
    b.add_watch("/t", 1);
    b.add_watch("/t/p", 0);
    for line in s.server.word("wchs").lines() {
        s.note(format!("wchs: {line}"));
    }
    note_word_sorted(s, "wchc");
    note_word_sorted(s, "wchp");
});

story!(dump_shows_sessions_and_ephemerals on PLAIN, |s| {
    let mut a = s.client_for("a", 30_000);
    a.create("/t/e1", "", 1);
    a.create("/t/e2", "", 1);
    let dump = mask(s.server, &s.server.word("dump"));
    // How sessions fall into buckets is a matter of time: which kinds of lines there are is not.
    let kinds: BTreeSet<&str> = dump.split('\n').collect();
    for kind in kinds {
        s.note(format!("dump: {kind}"));
    }
    let dump = s.server.word("dump");
    assert!(dump.contains(&format!("{:#x}:\n\t/t/e", a.id)), "{dump}");
});

story!(envi_lists_the_environment on PLAIN, |s| {
    let envi = s.server.word("envi");
    for line in envi.lines() {
        let key = line.split('=').next().unwrap_or_default();
        s.note(format!("envi: {key}"));
    }
    s.note(envi.lines().find(|line| line.contains("3.9.4")).map_or("no version", |_| "version 3.9.4"));
});

/// Lines of `mntr` as key and value.
fn mntr(server: &TestServer) -> Vec<(String, String)> {
    let text = server.word("mntr");
    text.lines()
        .map(|line| {
            let (key, value) = line.split_once('\t').unwrap_or_else(|| panic!("{line:?}"));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn b39_mntr_has_every_name_that_java_has() {
    let mut java = BTreeSet::new();
    for &target in targets() {
        let server = PLAIN.server(target);
        let lines = mntr(&server);
        assert_eq!(lines[0].0, "zk_version");
        assert!(lines[0].1.starts_with("3.9.4-"), "{:?}", lines[0]);
        assert_eq!(lines[1], ("zk_server_state".into(), "standalone".into()));
        for (key, value) in &lines[2..] {
            assert!(key.starts_with("zk_"), "{key}");
            let number: f64 = value.parse().unwrap_or_else(|e| panic!("{key}\t{value}: {e}"));
            // Integers plain, other numbers as Java's doubles.
            assert!(
                value.contains('.') || value.parse::<i64>().is_ok() || !number.is_finite(),
                "{key}\t{value}"
            );
        }
        // Sets by key (reads per namespace) depend on what ran before.
        let names: BTreeSet<String> = lines
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !key.contains("_per_namespace") && !key.contains("_t_"))
            .collect();
        match target {
            Target::Java => java = names,
            Target::Zabkeeper => {
                let jvm = |key: &str| key.starts_with("zk_jvm_") || key.starts_with("zk_process_");
                let missing: Vec<&String> =
                    java.difference(&names).filter(|key| !jvm(key)).collect();
                assert!(missing.is_empty(), "missing in mntr: {missing:?}");
                let new: Vec<&String> = names.difference(&java).collect();
                assert!(java.is_empty() || new.is_empty(), "unknown to Java: {new:?}");
            }
        }
    }
}

#[test]
fn mntr_values_follow_what_happens() {
    for &target in targets() {
        PLAIN.tell(target, &|s| {
            let value = |name: &str| -> f64 {
                let lines = mntr(s.server);
                let line = lines.iter().find(|(key, _)| key == name);
                line.unwrap_or_else(|| panic!("{name} is missing")).1.parse().unwrap()
            };
            let nodes = value("zk_znode_count");
            let mut a = s.client("a");
            a.create("/t/n", "0123456789", 0);
            a.create("/t/e", "", 1);
            a.get("/t/n", true);
            assert_eq!(value("zk_znode_count"), nodes + 2.0);
            assert_eq!(value("zk_ephemerals_count"), 1.0);
            assert_eq!(value("zk_watch_count"), 1.0);
            assert!(value("zk_approximate_data_size") > 0.0);
            assert!(value("zk_packets_received") > 0.0);
            assert!(value("zk_num_alive_connections") >= 1.0);
            assert!(value("zk_open_file_descriptor_count") > 0.0);
            assert_eq!(value("zk_outstanding_requests"), 0.0);
            assert_eq!(value("zk_global_sessions"), 1.0);
        });
    }
}

/// Values and all: what is read, what is written, what a start reads from the log, and quotas.
#[test]
fn bytes_are_counted_by_namespace() {
    check_lines("bytes_are_counted_by_namespace", &|target| {
        let setup = Setup::new(&["4lw.commands.whitelist=mntr", "extendedTypesEnabled=true"], &[]);
        let mut server = TestServer::start(target, &setup);
        let mut lines = Vec::new();
        let counts = |server: &TestServer, lines: &mut Vec<String>| {
            let mut counts = mntr(server);
            counts.retain(|(key, _)| key.contains("_per_namespace"));
            counts.sort();
            lines.extend(counts.into_iter().map(|(key, value)| format!("{key} {value}")));
        };
        {
            let s = Story::new(&server);
            let mut a = s.client("a");
            a.create("/a", "0123456789", 0);
            a.create("/a/b", "01234", 0);
            a.create2("/b", "0", 2);
            a.create_container("/c", 4);
            a.create_ttl("/d", 5, 1_000_000);
            a.create("/e", "", 1);
            a.create("/f", "01234567", 1);
            a.set("/a", "012", -1);
            a.set("/a/b", "", -1);
            a.delete("/a/b", -1);
            a.delete("/none", -1);
            a.create("/a", "x", 0);
            a.set_acl("/a", Acl::open_unsafe(), -1);
            a.multi(vec![op_create("/m", 0), op_set("/m", "01", -1), op_delete("/m", -1)]);
            a.multi(vec![op_create("/n", 0), op_delete("/none", -1)]);
            a.get("/a", false);
            a.get("/", false);
            a.get("/none", false);
            a.exists("/a", false);
            a.exists("/none", false);
            a.children("/", false);
            a.children("/a", false);
            a.children2("/a", false);
            a.get_acl("/a");
            a.multi_read(vec![op_get("/a"), op_children("/a")]);
            a.all_children_number("/a");
            a.ephemerals("/");
            a.create("/zookeeper/quota/a", "", 0);
            a.create("/zookeeper/quota/a/zookeeper_limits", "count=9,bytes=99", 0);
            a.create("/zookeeper/quota/a/zookeeper_stats", "count=1,bytes=3", 0);
            a.create("/a/c", "0", 0);
            a.close();
        }
        counts(&server, &mut lines);
        lines.push("restarted".to_owned());
        server.stop();
        server.restart();
        counts(&server, &mut lines);
        lines
    });
}
