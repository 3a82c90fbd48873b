//! The report of the command line: JSON in, a table, a page and an exit code out.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

fn compare(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zabkeeper"))
        .arg("compare")
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn rows(different: u64) -> Value {
    json!({
        "left": {"name": "java", "version": "3.9.4"},
        "right": {"name": "zabkeeper", "version": "0.1.0"},
        "took_ms": 1000,
        "rows": [
            {"kind": "scenario", "name": "nodes", "operations": 10, "same": 10 - different,
             "different": different},
        ],
        "differences": if different == 0 { json!([]) } else { json!([
            {"kind": "scenario", "name": "nodes", "operation": "create \"/<script>alert(1)</script>\"",
             "left": "OK & <b>\u{7}", "right": "]]> NONODE", "replay": "zabkeeper compare --script 'x'",
             "sequence": ["a open 20000", "a create \"/<i>\""]},
        ]) },
    })
}

fn bench() -> Value {
    json!({"machine": "1 CPU <&>", "commit": "abc", "pairs": 1, "medians": [
        {"row": "get8", "metric": "throughput", "unit": "ops/s", "better": "more",
         "java": 10000.5, "ours": 20000, "limit": 90000, "ratio": 2},
    ]})
}

fn write(dir: &TempDir, name: &str, value: &Value) {
    std::fs::write(dir.path().join(name), value.to_string()).unwrap();
}

#[test]
fn the_page_parses_as_xml_and_refers_to_nothing_outside() {
    let dir = TempDir::new().unwrap();
    write(&dir, "compare.json", &rows(1));
    write(&dir, "bench.json", &bench());
    let args = ["report", "--json", "compare.json", "--bench", "bench.json", "--html", "out.html"];
    let output = compare(&args, dir.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let page = std::fs::read_to_string(dir.path().join("out.html")).unwrap();
    for word in ["src=", "href=", "url(", "@import", "<script", "https:"] {
        assert!(!page.contains(word), "{word}");
    }
    for part in ["&lt;script&gt;", "OK &amp; &lt;b&gt;", "getData, 100 sessions", "<svg", "<rect"] {
        assert!(page.contains(part), "{part}");
    }
    // Python's parser is strict: an unclosed tag or an unescaped character is an error.
    let script = "import sys, xml.dom.minidom as m; d = m.parse(sys.argv[1]); \
                  print(len(d.getElementsByTagName('details')), len(d.getElementsByTagName('svg')))";
    let parsed =
        Command::new("python3").args(["-c", script, "out.html"]).current_dir(dir.path()).output();
    match parsed {
        Ok(parsed) => {
            assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
            assert_eq!(parsed.stdout, b"1 1\n");
        }
        Err(error) => eprintln!("skipped: there is no python3: {error}"),
    }
}

#[test]
fn several_files_are_put_together_and_the_exit_code_tells() {
    let dir = TempDir::new().unwrap();
    write(&dir, "same.json", &rows(0));
    write(&dir, "bad.json", &rows(3));
    let output = compare(&["report", "--json", "same.json", "--out", "all.json"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("No unexplained difference between java and zabkeeper in 10"), "{text}");
    let args = ["report", "--json", "same.json", "--json", "bad.json", "--out", "all.json"];
    let output = compare(&args, dir.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let all = std::fs::read_to_string(dir.path().join("all.json")).unwrap();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all["operations"], &all["unexplained"]), (&json!(20), &json!(3)));
}

#[test]
fn files_that_are_no_report_are_named() {
    let dir = TempDir::new().unwrap();
    write(&dir, "bench.json", &bench());
    for (name, words) in [("bench.json", "no report"), ("missing.json", "missing.json")] {
        let output = compare(&["report", "--json", name], dir.path());
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(words), "{text}");
    }
}
