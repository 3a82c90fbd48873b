//! The answers to four-letter words with everything masked that two healthy servers may answer
//! differently: times, addresses, directories, counters that depend on what ran before, and
//! numbers that say something about the implementation (memory, descriptors, latencies).

/// Lines without an order: sets of connections, sessions, watches.
const UNORDERED: &[&str] = &["stat", "cons", "dump", "wchc", "wchp", "envi", "mntr", "hash"];

/// Whose numbers are facts about the tree and its watches: nothing in them is masked.
const EXACT: &[&str] = &["ruok", "isro", "wchs", "gtmk", "srst", "crst"];

/// `mntr` has them for a Java virtual machine only.
const JVM: &[&str] = &["zk_jvm_", "zk_process_"];

/// The comparable part of an answer.
pub fn mask(word: &str, text: &str) -> String {
    let name = word.get(..4).unwrap_or(word);
    if EXACT.contains(&name) {
        return text.to_owned();
    }
    let mut lines: Vec<String> = text.lines().filter_map(|text| line(name, text)).collect();
    if UNORDERED.contains(&name) {
        lines.sort();
        lines.dedup();
    }
    lines.join("\n")
}

fn line(name: &str, line: &str) -> Option<String> {
    if line.contains(" is not executed because it is not in the whitelist") {
        return Some(line.to_owned());
    }
    match name {
        // Properties of the virtual machine; what counts is which lines there are.
        "envi" => return Some(line.split('=').next().unwrap_or_default().to_owned()),
        "mntr" => {
            let key = line.split('\t').next().unwrap_or_default();
            let is_masked = JVM.iter().any(|prefix| key.starts_with(prefix))
                // Sets that depend on what ran before.
                || key.contains("_per_namespace")
                || key.contains("_t_");
            return (!is_masked).then(|| key.to_owned());
        }
        // Directories, and sizes that depend on how much of a log file is allocated in advance.
        "conf" if line.starts_with("data") => {
            return Some(line.split('=').next().unwrap_or_default().to_owned());
        }
        "conf" if !line.starts_with("clientPort=") => return Some(line.to_owned()),
        // Its session is closed, and the connection on its way out: there for a moment, or not.
        "cons" if line.contains(",lop=CLOS,") => return None,
        _ => {}
    }
    if let Some(version) = line.strip_prefix("Zookeeper version: ") {
        let version = version.split('-').next().unwrap_or_default();
        return Some(format!("Zookeeper version: {version}"));
    }
    if let Some(at) = line.find(" expire at ") {
        return Some(format!("{} expire at DATE:", numbers_masked(line.get(..at)?)));
    }
    Some(numbers_masked(line))
}

/// `#` for decimal numbers (with or without a fraction, negative too), `0x#` for hexadecimal ones;
/// loopback addresses keep their form.
pub fn numbers_masked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let hex = rest
            .strip_prefix("0x")
            .map_or(0, |tail| tail.chars().take_while(char::is_ascii_hexdigit).count());
        let negative = rest.strip_prefix('-').is_some_and(|tail| {
            tail.starts_with(|c: char| c.is_ascii_digit()) && out.ends_with(['=', '\t', ' ', '/'])
        });
        let taken = if hex > 0 {
            out.push_str("0x#");
            2 + hex
        } else if first.is_ascii_digit() || negative {
            let digits = rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| !c.is_ascii_digit() && *c != '.')
                .map_or(rest.len(), |(end, _)| end);
            let number = rest.get(..digits).unwrap_or_default().trim_end_matches('.');
            out.push_str(if number == "127.0.0.1" { number } else { "#" });
            number.len()
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_and_words_stay() {
        for (line, masked) in [
            ("Latency min/avg/max: 0/1.5/20", "Latency min/avg/max: #/#/#"),
            ("Zxid: 0x1f", "Zxid: 0x#"),
            (" /127.0.0.1:4711[1](queued=0)", " /127.0.0.1:#[#](queued=#)"),
            ("max=-1", "max=#"),
            ("a-1", "a-#"),
        ] {
            assert_eq!(numbers_masked(line), masked);
        }
    }
}
