//! Scripts are parsed and printed without loss.

use super::Script;

fn check(text: &str) {
    let script: Script = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(script.to_string().trim_end(), text);
}

#[test]
fn every_step_is_printed_as_it_was_read() {
    for line in [
        "a open 20000",
        "a open -1 protocol=7 zxid=+1000 passwd=null readOnly=none more=0909",
        "a open 5000 zxid=-1 session=0xffffffffffffffff passwd=hex:01 readOnly=true",
        "b take a",
        "b take a 5000 passwd=wrong",
        "a create \"/t/n\" \"da\\nta\" (31 world:anyone, 1 ip:::1) 0",
        "a create2 \"\" null () 3 &",
        "a createContainer \"/t/\\u{1}\" hex:ff00 (31 auth:) 4",
        "a createTTL \"/t/n\" fill:5000 (31 digest:\"a b:c\") 5 1000",
        "a delete \"/t\" -1",
        "a deleteContainer \"/t\"",
        "a exists \"/t\" watch",
        "a getData \"/t\"",
        "a setData \"/t\" \"\" 3",
        "a getACL \"/t\"",
        "a setACL \"/t\" (1 x:y) -1",
        "a getChildren \"/\" watch &",
        "a getChildren2 \"/\"",
        "a getEphemerals null",
        "a getAllChildrenNumber \"/\"",
        "a sync null",
        "a check \"/\" 4",
        "a multi [create \"/a\" \"m\" (31 world:anyone) 0; delete \"/b\" 1; check \"/\" 2]",
        "a multiRead []",
        "a multiRead [getData \"/t\" watch; getChildren \"/t\"]",
        "a addWatch \"/t\" 1",
        "a checkWatches \"/t\" 3",
        "a removeWatches \"/t\" 2 &",
        "a setWatches +7 [\"/a\", \"/b\"] [] [\"/\"]",
        "a setWatches2 -1 [] [] [] [\"/\"] []",
        "a reconfig null \"1\" null -1",
        "a auth \"digest\" \"u:p\"",
        "a xid=7 reply=-2 ping",
        "a whoAmI",
        "a closeSession",
        "a op 99 hex:00ff",
        "a raw \"GET / HTTP/1.1\\r\\n\"",
        "a raw hex:00000001",
        "a receive",
        "a ends",
        "a event 700",
        "a cut",
        "a reset",
        "a half",
        "a word \"ruok\"",
        "a wait 300",
    ] {
        check(line);
    }
}

#[test]
fn a_bad_line_is_named() {
    let error = "a ping\n\na jump".parse::<Script>().unwrap_err();
    assert_eq!((error.line, &*error.why), (3, "unknown verb jump"));
    for line in ["a", "a create", "a delete \"/t\"", "a ping ping", "a multi [ping]", "a raw hex:0"]
    {
        assert!(line.parse::<Script>().is_err(), "{line}");
    }
}
