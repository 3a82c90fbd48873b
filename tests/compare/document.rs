//! The tables of docs/COMPARE.md are those of the code. `ZABKEEPER_BLESS=1` writes them anew.

use std::fmt::Write;
use std::path::Path;

use zabkeeper::compare::data_dirs::CASES;
use zabkeeper::compare::deliberate::TABLE;
use zabkeeper::compare::report::shown_by;

/// The document with `table` behind the mark of this name, up to the next heading.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let mark = format!("<!-- {name}: written by tests/compare with ZABKEEPER_BLESS=1. -->\n");
    let (head, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("no mark {name}"));
    let tail = rest.find("\n## ").map_or("", |at| &rest[at..]);
    format!("{head}{mark}\n{table}{tail}")
}

fn deliberate() -> String {
    let mut table =
        String::from("| difference | what and why | see | shown by |\n| --- | --- | --- | --- |\n");
    for one in TABLE {
        let scenario = match shown_by(one) {
            name if name.is_empty() => "–".into(),
            name => format!("`{name}`"),
        };
        writeln!(table, "| `{}` | {} | {} | {scenario} |", one.id, one.reason, one.reference)
            .unwrap();
    }
    table
}

fn cases() -> String {
    let mut table = String::from("| case | what is handed over |\n| --- | --- |\n");
    for case in CASES {
        writeln!(table, "| `{}` | {} |", case.name, case.about).unwrap();
    }
    table
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/COMPARE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = with_table(&text, "DELIBERATE", &deliberate());
    let expected = with_table(&expected, "CASES", &cases());
    if std::env::var_os("ZABKEEPER_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert!(
        text == expected || std::env::var_os("ZABKEEPER_BLESS").is_some(),
        "run: ZABKEEPER_BLESS=1 cargo test --test compare document"
    );
}
