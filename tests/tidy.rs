//! What the compiler does not check: layers, file headers and lengths, forbidden words, thread
//! names, licences. Each test names the file and line to look at; the tables are at the top.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: failing is its work")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may import whom, as `ARCHITECTURE.md` draws it. A new edge is a design decision: argue for
/// it in the commit that adds it here.
const LAYERS: &[(&str, &[&str])] = &[
    ("jute", &[]),
    ("proto", &["jute"]),
    ("common", &["jute", "proto"]),
    ("metrics", &["jute", "proto", "common"]),
    ("tree", &["jute", "proto", "common", "metrics"]),
    ("persistence", &["jute", "proto", "common", "metrics", "tree"]),
    ("session", &["jute", "proto", "common", "metrics", "tree", "persistence"]),
    ("auth", &["jute", "proto", "common", "metrics", "tree", "persistence"]),
    ("server", &["jute", "proto", "common", "metrics", "tree", "persistence", "session", "auth"]),
    (
        "quorum",
        &["jute", "proto", "common", "metrics", "tree", "persistence", "session", "auth", "server"],
    ),
    (
        "run",
        &[
            "jute",
            "proto",
            "common",
            "metrics",
            "tree",
            "persistence",
            "session",
            "auth",
            "server",
            "quorum",
        ],
    ),
    ("client", &["jute", "proto", "common"]),
    ("bench", &["jute", "proto", "common", "client"]),
    ("compare", &["jute", "proto", "common", "metrics", "tree", "persistence", "client", "bench"]),
];

/// Longer than this, a file asks to be split.
const LINES_MAX: usize = 900;

/// Tables, which are read by search and may be longer.
const TABLES: &[&str] = &[];

/// The only files with unsafe code.
const UNSAFE_ALLOWED: [&str; 2] = ["src/common/allocator.rs", "src/persistence/mapped_file.rs"];

struct Source {
    /// Relative to the package, with forward slashes.
    path: String,
    text: String,
    /// `text` with comments blanked out; as many lines.
    without_comments: String,
    /// `text` with comments and the insides of literals blanked out; as many lines.
    code: String,
    /// True for a file that holds nothing but tests and what they need.
    is_test_file: bool,
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (without_comments, code) = strip(&text);
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        let is_test_file = !path.starts_with("src/");
        Source { path, text, without_comments, code, is_test_file }
    }

    fn layer(&self) -> Option<&str> {
        let (layer, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(layer)
    }

    /// The number of lines before the first `#[cfg(test)]` module with a body, which stands at the
    /// foot; and the names of the `#[cfg(test)]` modules without one.
    fn test_modules(&self) -> (usize, Vec<&str>) {
        let lines: Vec<&str> = self.code.lines().collect();
        let mut files = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let Some(behind) = line.trim().strip_prefix("#[cfg(test)]") else { continue };
            let mut next = std::iter::once(&behind)
                .chain(&lines[n + 1..])
                .map(|next| next.trim())
                .filter(|next| !next.is_empty() && !next.starts_with("#["));
            let Some((visibility, module)) = next.next().and_then(|next| next.split_once("mod "))
            else {
                continue;
            };
            if !visibility.is_empty() && !visibility.starts_with("pub") {
                continue;
            }
            match module.split_once(';') {
                Some((name, _)) => files.push(name),
                None => return (n, files),
            }
        }
        (lines.len(), files)
    }

    /// The path of this file's module `name`.
    fn child(&self, name: &str) -> [String; 2] {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]
    }

    /// Numbered lines of code outside tests, literals blanked out.
    fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let count = if self.is_test_file { 0 } else { self.test_modules().0 };
        self.code.lines().take(count).enumerate().map(|(n, line)| (n + 1, line))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => return,
    };
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_folder = path.symlink_metadata().unwrap().is_dir();
        if is_folder && !["target", ".git", "logs", "corpus", "artifacts"].contains(&&*name) {
            walk(&path, found);
        } else if !is_folder {
            found.push(path);
        }
    }
}

fn rust_files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let mut sources: Vec<Source> = found.iter().map(|path| Source::read(path)).collect();
    let test_files: Vec<String> = sources
        .iter()
        .flat_map(|source| source.test_modules().1.into_iter().flat_map(|name| source.child(name)))
        .collect();
    for source in &mut sources {
        source.is_test_file |= test_files.iter().any(|path| source.path.starts_with(path));
    }
    sources
}

/// `text` without comments, and without comments and literals; every newline stays where it was.
fn strip(text: &str) -> (String, String) {
    let mut without_comments = String::with_capacity(text.len());
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let blank = |part: &str| -> String {
        part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
    };
    while let Some(first) = rest.chars().next() {
        let before_is_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (length, is_comment) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else if first == '"' {
            (quoted(rest, 1), false)
        } else if !before_is_name && (rest.starts_with("b\"") || rest.starts_with("c\"")) {
            (quoted(rest, 2), false)
        } else if !before_is_name && let Some(length) = raw_string(rest) {
            (length, false)
        } else if let Some(length) = character(rest) {
            (length, false)
        } else {
            without_comments.push(first);
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (part, behind) = rest.split_at(length);
        without_comments.push_str(&if is_comment { blank(part) } else { part.to_owned() });
        code.push_str(&blank(part));
        rest = behind;
    }
    (without_comments, code)
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str, opening: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text[opening..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return opening + at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let body = after_r[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| opening + at + end.len()))
}

/// A character literal, not a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let escaped = chars.next()?.0 + 1;
        return body[escaped..].find('\'').map(|at| 1 + escaped + at + 1);
    }
    match chars.next()? {
        (at, '\'') => Some(1 + at + 1),
        _ => None,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The numbers of the lines in which `word` stands as a whole word.
fn lines_with_word(lines: impl Iterator<Item = (usize, String)>, word: &str) -> Vec<usize> {
    lines
        .filter(|(_, line)| {
            line.match_indices(word).any(|(at, _)| {
                !line[..at].ends_with(is_name)
                    && (word.ends_with(|c| !is_name(c))
                        || !line[at + word.len()..].starts_with(is_name))
            })
        })
        .map(|(n, _)| n)
        .collect()
}

/// The layers that follow `crate::` anywhere in `code`: in imports (also grouped) and in paths.
fn crate_edges(code: &str) -> Vec<(usize, String)> {
    let mut edges = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + "crate::".len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            edges.push((line, rest.chars().take_while(|c| is_name(*c)).collect()));
            continue;
        };
        let (mut depth, mut name) = (0, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    edges.push((line, std::mem::take(&mut name)));
                    continue;
                }
                _ => {}
            }
            if depth == 0 && !c.is_whitespace() {
                name.push(c);
            }
        }
        edges.push((line, name));
    }
    for (_, name) in &mut edges {
        *name = name.chars().take_while(|c| is_name(*c)).collect();
    }
    edges.retain(|(_, name)| !name.is_empty());
    edges
}

fn report(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

#[test]
fn lower_layers_do_not_import_upper_ones() {
    let table: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut findings = Vec::new();
    for source in rust_files("src") {
        let Some(layer) = source.layer() else { continue };
        let Some(allowed) = table.get(layer) else {
            findings.push(format!("{}: the layer {layer} is not in the table", source.path));
            continue;
        };
        // Tests may look at anything.
        let code: Vec<&str> = source.product_code().map(|(_, line)| line).collect();
        for (line, target) in crate_edges(&code.join("\n")) {
            // A macro or an item at the crate's root is no layer.
            if table.contains_key(&*target) && target != layer && !allowed.contains(&&*target) {
                findings.push(format!("{}:{line}: {layer} imports {target}", source.path));
            }
        }
    }
    report("imports against the order of the layers", &findings);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let mut findings = Vec::new();
    for folder in ["src", "tests", "fuzz"] {
        for source in rust_files(folder) {
            // `#![…]` of a crate root may come first.
            let first = source.text.lines().find(|line| !line.starts_with("#!["));
            if !first.is_some_and(|line| line.starts_with("//! ")) {
                findings.push(source.path);
            }
        }
    }
    report("files without a `//!` header", &findings);
}

#[test]
fn no_file_is_too_long() {
    let mut findings = Vec::new();
    for source in rust_files("src").into_iter().chain(rust_files("tests")) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX && !TABLES.contains(&&*source.path) {
            findings.push(format!("{}: {lines} lines", source.path));
        }
    }
    report("files that ask to be split", &findings);
}

#[test]
fn unsafe_code_has_two_homes() {
    let mut findings = Vec::new();
    for source in rust_files("src") {
        let lines = source.code.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned()));
        if !UNSAFE_ALLOWED.contains(&source.path.as_str()) {
            for line in lines_with_word(lines, "unsafe") {
                findings.push(format!("{}:{line}", source.path));
            }
        }
    }
    report("unsafe code outside its homes", &findings);
}

#[test]
fn product_code_neither_stops_short_nor_unwraps() {
    const FORBIDDEN: &[&str] = &["todo!", "unimplemented!", "dbg!", "panic!", "unwrap()"];
    let mut findings = Vec::new();
    for source in rust_files("src") {
        for word in FORBIDDEN {
            let lines = source.product_code().map(|(n, line)| (n, line.to_owned()));
            for line in lines_with_word(lines, word) {
                findings.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    report("forbidden in product code", &findings);
}

/// Long-lived threads carry Java's names, and the map of the threads lists them.
#[test]
fn threads_of_the_source_are_in_the_architecture() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut findings = Vec::new();
    for source in rust_files("src") {
        if source.path == "src/common/thread.rs" {
            continue;
        }
        let code: Vec<&str> = source.product_code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        for call in ["thread::spawn(", "thread::spawn_critical(", "spawn_critical("] {
            for (at, _) in code.match_indices(call) {
                let line = code[..at].matches('\n').count() + 1;
                if call == "spawn_critical(" && code[..at].ends_with("thread::") {
                    continue;
                }
                let Some(name) = literal_behind(&source.without_comments, line, call) else {
                    continue; // Named by a constant or a variable, whose text is checked below.
                };
                if !name.is_empty() && !map.contains(&name) {
                    findings.push(format!("{}:{line}: thread {name:?}", source.path));
                }
            }
        }
        for (n, line) in source.without_comments.lines().enumerate().take(code.lines().count()) {
            if let Some((_, value)) = line.split_once("THREAD_NAME: &str = \"") {
                let name = value.split(['"', '{']).next().unwrap_or_default();
                if !map.contains(name) {
                    findings.push(format!("{}:{}: thread {name:?}", source.path, n + 1));
                }
            }
        }
    }
    report("threads that ARCHITECTURE.md does not name", &findings);
}

/// The fixed beginning of the first string literal that is an argument of the `call` on `line`.
fn literal_behind(text: &str, line: usize, call: &str) -> Option<String> {
    let from: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let arguments = &text[from..];
    let arguments = &arguments[arguments.find(call)? + call.len()..];
    let (before, literal) = arguments.split_once('"')?;
    let before = before.trim();
    let is_first = before.is_empty() || before == "&format!(" || before == "format!(";
    // A number at the end is one instance's.
    let fixed = literal.split(['"', '{']).next().unwrap_or_default();
    is_first.then(|| fixed.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
}

/// Nobody else has the machine that a file was written on.
#[test]
fn no_file_names_a_path_of_one_machine() {
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tmp/", "hub"),
        concat!("/tmp/", "zksrc"),
        concat!("/Us", "ers/"),
    ];
    let mut files = Vec::new();
    walk(root(), &mut files);
    let mut findings = Vec::new();
    for path in files {
        // Data of tests need not be text.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            for word in forbidden {
                // The end of a URL's path is no path of a machine.
                if line
                    .match_indices(word)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| is_name(c) || ".-~".contains(c)))
                {
                    let path = path.strip_prefix(root()).unwrap().display();
                    findings.push(format!("{path}:{}: {word}", n + 1));
                }
            }
        }
    }
    report("paths of one machine", &findings);
}

/// `[text](place)` in the documents, places in the tree only.
#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut files = Vec::new();
    walk(root(), &mut files);
    files.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    assert!(files.len() >= 3, "the documents were not found");
    let mut findings = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("](") {
            let place = text[at + 2..].split(')').next().unwrap_or_default();
            let file = place.split('#').next().unwrap_or_default();
            let is_elsewhere = place.contains("://") || file.is_empty();
            if !is_elsewhere && !path.parent().unwrap().join(file).exists() {
                let path = path.strip_prefix(root()).unwrap().display();
                findings.push(format!("{path}: {place}"));
            }
        }
    }
    report("links that lead nowhere", &findings);
}

/// The table of options in the document is the one in the code. `ZABKEEPER_UPDATE_DOCS=1` makes this
/// test write it anew.
/// `scripts/compare-mutants.sh` and `scripts/simulate.sh --patches` apply them to copies of the tree.
#[test]
fn patches_with_bugs_fit_the_tree() {
    let mut found = Vec::new();
    walk(&root().join("tests"), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "patch"));
    assert!(!found.is_empty());
    let mut findings = Vec::new();
    for path in found {
        let patch = format!("\n{}", fs::read_to_string(&path).unwrap());
        let mut source = String::new();
        // Headers end a hunk like its successor does.
        for hunk in patch.replace("\ndiff --git ", "\n@@").split("\n@@").skip(1) {
            if let Some(file) = hunk.lines().find_map(|line| line.strip_prefix("--- a/")) {
                source = fs::read_to_string(root().join(file)).unwrap();
                continue;
            }
            let lines = hunk.lines().skip(1).filter(|line| line.starts_with([' ', '-']));
            let before: String = lines.map(|line| format!("{}\n", &line[1..])).collect();
            if before.is_empty() || !source.contains(&before) {
                findings.push(format!("{}: there is no\n{before}", path.display()));
            }
        }
        if source.is_empty() {
            findings.push(format!("{}: no file is named", path.display()));
        }
    }
    report("patches do not fit", &findings);
}

#[test]
fn the_document_of_the_configuration_has_the_table_of_the_code() {
    const MARK: &str =
        "<!-- The table is written by tests/tidy.rs with ZABKEEPER_UPDATE_DOCS=1. -->\n";
    let path = root().join("docs/CONFIGURATION.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, table) = text.split_once(MARK).expect("the mark before the table");
    let expected = format!("\n{}", zabkeeper::common::config::options_markdown());
    if std::env::var_os("ZABKEEPER_UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{MARK}{expected}")).unwrap();
    } else {
        assert!(table == expected, "run: ZABKEEPER_UPDATE_DOCS=1 cargo test --test tidy");
    }
}

/// What `cargo deny check licenses` would say, for machines that have no cargo-deny.
#[test]
fn licences_of_all_dependencies_are_allowed() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let allow = deny.split_once("\nallow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: BTreeSet<&str> = allow.split('"').skip(1).step_by(2).collect();

    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            findings.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    report("licences that deny.toml does not allow", &findings);
}

/// An SPDX expression: one side of an OR suffices, AND needs both. `A/B` is the old way to say OR.
fn is_allowed(licence: &str, allowed: &BTreeSet<&str>) -> bool {
    let licence = licence.replace('/', " OR ");
    // Splitting inside brackets would be wrong, so they are resolved first, innermost to the left.
    if let Some(close) = licence.find(')') {
        let open = licence[..close].rfind('(').unwrap();
        let inner = is_allowed(&licence[open + 1..close], allowed);
        let word = if inner { "ALLOWED" } else { "REFUSED" };
        let resolved = format!("{}{word}{}", &licence[..open], &licence[close + 1..]);
        return is_allowed(&resolved, allowed);
    }
    licence.split(" OR ").any(|choice| {
        choice.split(" AND ").all(|id| id == "ALLOWED" || allowed.contains(id.trim()))
    })
}

#[test]
fn stripping_keeps_lines_and_drops_comments_and_literals() {
    let check = |text: &str, code: &str| assert_eq!(strip(text).1, code, "{text}");
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"f("a\"b") // c"#, r#"f(      )     "#);
    check("r#\"a\"b\"# + 1", "         + 1");
    check("'a' 'x: &'a str", "    'x: &'a str");
    check(r"'\'' '\u{41}' b", "              b");
}

#[test]
fn edges_are_found_in_imports_groups_and_paths() {
    let check = |code: &str, layers: &[&str]| {
        let found: Vec<String> = crate_edges(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, layers, "{code}");
    };
    check("use crate::jute::Input;", &["jute"]);
    check("use crate::{jute::{Input, Jute}, proto};", &["jute", "proto"]);
    check("let x = crate::tree::DataTree::new();", &["tree"]);
    check("pub(crate) fn f() {}", &[]);
    check("mycrate::server::x", &[]);
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"]);
    let check = |licence: &str, expected| assert_eq!(is_allowed(licence, &allowed), expected);
    check("MIT", true);
    check("GPL-3.0", false);
    check("MIT/Apache-2.0", true);
    check("GPL-3.0 OR MIT", true);
    check("GPL-3.0 AND MIT", false);
    check("(MIT OR GPL-3.0) AND Unicode-3.0", true);
    check("(GPL-2.0 OR GPL-3.0) AND Unicode-3.0", false);
}
