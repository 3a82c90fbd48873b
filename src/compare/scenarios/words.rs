//! Four-letter words, with sessions, watches and ephemerals for them to tell about.

use super::Scenario;
use crate::compare::flavor::{Flavor, PLAIN};
use crate::compare::script::Script;

/// What the group is about.
pub const ABOUT: &str =
    "Four-letter words: their texts, line by line, with times and counters masked.";

const WORDS: &[&str] = &[
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "wchc", "wchp", "wchs",
];

/// Words that there are not, or that come with more.
const ODD: &[&str] =
    &["abcd", "SRVR", "quit", "help", "ruo\n", "ruok\n", "ruok\r\n", "ruokruok", "isro and more"];

/// Something to tell about.
const BEGINNING: &str = "\
a open 30000
b open 30000
a create \"/t/n\" \"data\" (31 world:anyone) 0
a create \"/t/e1\" \"\" (31 world:anyone) 1
a create \"/t/e2\" \"\" (31 world:anyone) 1
a getData \"/t/n\" watch
a exists \"/t/m\" watch
a getChildren \"/t\" watch
b getData \"/t/n\" watch
b addWatch \"/t\" 1
b addWatch \"/t/p\" 0
";

/// All of them.
pub fn all() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = WORDS
        .iter()
        .filter_map(|word| {
            let text = format!("{BEGINNING}w word {word:?}\na ping\nw word {word:?}\n");
            scenario(PLAIN, &format!("word_{word}"), &text)
        })
        .collect();
    let lines = |words: &[&str]| -> String {
        words.iter().map(|word| format!("w word {word:?}\n")).collect()
    };
    all.extend(scenario(PLAIN, "odd_words", &lines(ODD)));
    if let Some(defaults) = Flavor::named("defaults") {
        all.extend(scenario(defaults, "words_that_are_not_allowed", &lines(WORDS)));
    }
    all
}

fn scenario(flavor: &'static Flavor, name: &str, text: &str) -> Option<Scenario> {
    let script: Script = text.parse().ok()?;
    Some(Scenario { group: "words", name: name.to_owned(), flavor, script })
}
