//! The report as one HTML page: no script, nothing from elsewhere, light and dark. The page is
//! well-formed XML as well, so that any parser can check it.

use serde_json::Value;

use super::charts::{figures, panels};
use super::table::{grouped, verdict};
use super::{Deliberate, Difference, Report, Row};

const STYLE: &str = include_str!("style.css");

/// So many unexplained differences are shown unfolded.
const UNFOLDED: usize = 5;
/// Longer texts are cut: a page has to open in a browser.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// More differences are only counted.
const DIFFERENCES_MAX: usize = 500;

/// The whole page; `bench` is the JSON of `scripts/bench-vs-java.sh`, if there is one.
pub fn page(report: &Report, bench: Option<&Value>) -> String {
    let (left, right) = (&report.left.name, &report.right.name);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
         <meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{0} and {1}, side by side</title>\n<style>\n{2}</style>\n</head>\n<body>\n<main>\n\
         <h1>{0} and {1}, side by side</h1>\n",
        escape(left),
        escape(right),
        escape_style(STYLE),
    );
    out.push_str(&summary(report));
    out.push_str("<h2 id=\"compared\">What was compared</h2>\n");
    out.push_str(&rows(report));
    out.push_str(&unexplained(report));
    out.push_str(&on_purpose(report));
    if let Some(bench) = bench {
        out.push_str(&performance(bench));
    }
    out.push_str(
        "<footer>Written by <code>zabkeeper compare report</code>. Masked before comparing: session ids \
         and passwords, wall times, the order of child lists; see docs/COMPARE.md.</footer>\n\
         </main>\n</body>\n</html>\n",
    );
    out
}

fn summary(report: &Report) -> String {
    let class = if report.is_equal() { "good" } else { "bad" };
    let mut out = String::new();
    for side in [&report.left, &report.right] {
        let version = if side.version.is_empty() { "version unknown" } else { &side.version };
        out.push_str(&format!(
            "<p class=\"soft\"><b>{}</b>: {}{}</p>\n",
            escape(&side.name),
            escape(version),
            if side.how.is_empty() { String::new() } else { format!(" · {}", escape(&side.how)) },
        ));
    }
    out.push_str(&format!("<p class=\"verdict {class}\">{}</p>\n", escape(&verdict(report))));
    let same: u64 = report.rows.iter().map(|row| row.same).sum();
    let seconds = report.took_ms as f64 / 1000.0;
    let cards = [
        (grouped(report.operations()), "operations compared"),
        (grouped(same), "the same"),
        (grouped(report.on_purpose()), "different on purpose"),
        (grouped(report.unexplained()), "different, unexplained"),
        (format!("{seconds:.1} s"), "it took"),
    ];
    let rate =
        report.random_rate().map(|rate| (grouped(rate), "random operations per second, each pair"));
    out.push_str("<div class=\"cards\">\n");
    for (value, label) in cards.into_iter().chain(rate) {
        out.push_str(&format!("<div class=\"card\"><b>{value}</b><span>{label}</span></div>\n"));
    }
    out.push_str("</div>\n");
    if !report.started.is_empty() {
        out.push_str(&format!("<p class=\"soft\">Begun {}.</p>\n", escape(&report.started)));
    }
    out
}

fn rows(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table>\n<thead><tr><th>What</th><th class=\"n\">Operations</th>\
         <th class=\"n\">Same</th><th class=\"n\">On purpose</th><th class=\"n\">Different</th>\
         <th class=\"n\">Time</th></tr></thead>\n<tbody>\n",
    );
    let mut kind = None;
    for row in &report.rows {
        if kind != Some(&row.kind) {
            kind = Some(&row.kind);
            out.push_str(&format!(
                "<tr class=\"group\"><th colspan=\"6\">{}</th></tr>\n",
                escape(&row.kind)
            ));
        }
        out.push_str(&one_row(row));
    }
    let same: u64 = report.rows.iter().map(|row| row.same).sum();
    out.push_str(&format!(
        "<tr class=\"total\"><td>All</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n\
         </tbody></table></div>\n",
        grouped(report.operations()),
        grouped(same),
        grouped(report.on_purpose()),
        grouped(report.unexplained()),
        duration(report.rows.iter().map(|row| row.took_ms).sum()),
    ));
    out
}

fn one_row(row: &Row) -> String {
    let about = match row.about.as_str() {
        "" => String::new(),
        about => format!("<small>{}</small>", escape(about)),
    };
    let name = escape(&row.name);
    if !row.skipped.is_empty() {
        return format!(
            "<tr><td>{name}{about}</td><td colspan=\"5\" class=\"soft\">left out: {}</td></tr>\n",
            escape(&row.skipped)
        );
    }
    let purpose = if row.deliberate > 0 { "n purpose" } else { "n" };
    let different = if row.different > 0 { "n bad" } else { "n" };
    format!(
        "<tr><td>{name}{about}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"{purpose}\">{}</td><td class=\"{different}\">{}</td>\
         <td class=\"n\">{}</td></tr>\n",
        grouped(row.operations),
        grouped(row.same),
        grouped(row.deliberate),
        grouped(row.different),
        duration(row.took_ms),
    )
}

fn unexplained(report: &Report) -> String {
    let found: Vec<&Difference> =
        report.differences.iter().filter(|one| one.deliberate.is_empty()).collect();
    let mut out = String::from("<h2 id=\"differences\">Unexplained differences</h2>\n");
    if report.unexplained() == 0 && found.is_empty() {
        out.push_str("<p class=\"soft\">None.</p>\n");
        return out;
    }
    for (at, difference) in found.iter().take(DIFFERENCES_MAX).enumerate() {
        out.push_str(&one_difference(report, difference, at < UNFOLDED));
    }
    let shown = found.len().min(DIFFERENCES_MAX) as u64;
    if report.unexplained() > shown {
        out.push_str(&format!(
            "<p class=\"soft\">{} of {} are shown.</p>\n",
            grouped(shown),
            grouped(report.unexplained())
        ));
    }
    out
}

fn on_purpose(report: &Report) -> String {
    let mut out = String::from(
        "<h2 id=\"deliberate\">Different on purpose</h2>\n<p class=\"soft\">The whole list, whether \
         it was met here or not.</p>\n",
    );
    if report.deliberate.is_empty() {
        out.push_str("<p class=\"soft\">The list was not given.</p>\n");
        return out;
    }
    out.push_str(
        "<div class=\"scroll\"><table>\n<thead><tr><th>Difference</th><th>What and why</th>\
         <th>Shown by</th><th class=\"n\">Met</th></tr></thead>\n<tbody>\n",
    );
    for entry in &report.deliberate {
        out.push_str(&one_deliberate(entry));
    }
    out.push_str("</tbody></table></div>\n");
    let met = report.differences.iter().filter(|one| !one.deliberate.is_empty());
    for difference in met.take(DIFFERENCES_MAX) {
        out.push_str(&one_difference(report, difference, false));
    }
    out
}

fn one_deliberate(entry: &Deliberate) -> String {
    let scenario = match entry.scenario.as_str() {
        "" => "<span class=\"soft\">no client sees it</span>".to_owned(),
        name => format!("<code>{}</code>", escape(name)),
    };
    let class = if entry.seen > 0 { "n purpose" } else { "n" };
    format!(
        "<tr><td><code>{}</code></td><td>{}<small>{}</small></td><td class=\"where\">{scenario}</td>\
         <td class=\"{class}\">{}</td></tr>\n",
        escape(&entry.id),
        escape(&entry.reason),
        escape(&entry.reference),
        grouped(entry.seen),
    )
}

fn one_difference(report: &Report, difference: &Difference, is_open: bool) -> String {
    let open = if is_open { " open=\"open\"" } else { "" };
    let badge = match difference.deliberate.as_str() {
        "" => "<span class=\"badge worse\">unexplained</span>".to_owned(),
        id => format!("<span class=\"badge purpose\">{}</span>", escape(id)),
    };
    let mut out = format!(
        "<details{open}><summary>{badge} <b>{}</b> · {}</summary><div>\n",
        escape(&difference.name),
        escape(&difference.operation),
    );
    if !difference.sequence.is_empty() {
        let steps = difference.sequence.join("\n");
        out.push_str(&format!("<p class=\"soft\">After:</p><pre>{}</pre>\n", escape(&steps)));
    }
    out.push_str(&format!(
        "<div class=\"pair\"><div><h4>{}</h4><pre>{}</pre></div>\
         <div><h4>{}</h4><pre>{}</pre></div></div>\n",
        escape(&report.left.name),
        marked(&difference.left, &difference.right),
        escape(&report.right.name),
        marked(&difference.right, &difference.left),
    ));
    if !difference.replay.is_empty() {
        out.push_str(&format!(
            "<p class=\"soft\">Show it again:</p><pre>{}</pre>\n",
            escape(&difference.replay)
        ));
    }
    out.push_str("</div></details>\n");
    out
}

/// The lines that the other text does not have are marked.
fn marked(text: &str, other: &str) -> String {
    if text.is_empty() {
        return "(nothing)".into();
    }
    let others: std::collections::BTreeSet<&str> = other.lines().collect();
    let mut out = String::new();
    for line in cut(text).lines() {
        if others.contains(line) {
            out.push_str(&escape(line));
            out.push('\n');
        } else {
            // A marked line is a block of its own.
            out.push_str(&format!("<mark>{}</mark>", escape(line)));
        }
    }
    out
}

fn performance(bench: &Value) -> String {
    let figures = figures(bench);
    if figures.is_empty() {
        return String::new();
    }
    let text = |name| bench.get(name).and_then(Value::as_str).unwrap_or("unknown");
    let pairs = bench.get("pairs").and_then(Value::as_u64).unwrap_or(0);
    format!(
        "<h2 id=\"performance\">Performance</h2>\n<p class=\"soft\">Java and zabkeeper in turn on one \
         machine: {}; commit {}; median of {pairs} pair{}. The bare limit is an echo server with the \
         same load, and the disk. docs/BENCHMARK.md says what each row measures.</p>\n\
         <div class=\"panels\">\n{}</div>\n",
        escape(text("machine")),
        escape(text("commit")),
        if pairs == 1 { "" } else { "s" },
        panels(&figures),
    )
}

fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}

/// At a character's boundary, with a word that it was cut.
fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let at = text.floor_char_boundary(TEXT_BYTES_MAX);
    let (head, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    format!("{head}\n({} more bytes)", rest.len())
}

/// Text for content and attributes. What XML cannot hold at all is shown as an escape.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// A style sheet holds quotes, which HTML would not unescape there; ours holds nothing else that is
/// special but the child combinator.
fn escape_style(style: &str) -> String {
    format!("/*<![CDATA[*/\n{style}/*]]>*/\n")
}

#[cfg(test)]
mod tests {
    use super::super::charts::tests::bench;
    use super::super::tests::sample;
    use super::*;

    /// Checks that tags nest and attributes are quoted; hands back the text between tags.
    fn parse(page: &str) -> String {
        let body = page.strip_prefix("<!DOCTYPE html>\n").expect("the document type");
        let style_from = body.find("<style>").unwrap() + "<style>".len();
        let style_to = body.find("</style>").unwrap();
        let without_style = format!("{}{}", &body[..style_from], &body[style_to..]);
        let (mut open, mut text, mut rest) = (Vec::new(), String::new(), &*without_style);
        while let Some((before, behind)) = rest.split_once('<') {
            assert!(!before.contains('>'), "a bare > in {before:?}");
            text.push_str(before);
            let (tag, behind) = behind.split_once('>').expect("a tag that ends");
            rest = behind;
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(
                    open.pop().as_deref(),
                    Some(name),
                    "at {:?}",
                    &rest[..rest.len().min(80)]
                );
            } else if !tag.ends_with('/') {
                open.push(tag.split([' ', '\n']).next().unwrap().to_owned());
            }
        }
        assert_eq!(open, Vec::<String>::new(), "all tags are closed");
        text
    }

    #[test]
    fn the_page_is_well_formed_and_holds_everything_escaped() {
        let text = parse(&page(&sample(), Some(&bench())));
        for part in [
            "1 unexplained difference between java and zabkeeper",
            "create &quot;/&lt;b&gt;&quot;",
            "3.9.4-&lt;&amp;&gt;",
            "Every flag &amp; error",
            "left out: no &lt;codec&gt;",
            "err NONODE (-101)",
            "create-ttl-flags",
            "fsync-directory",
            "one request must not end a server &amp; its log",
            "known-bugs &lt;3&gt;",
            "--script &#39;&lt;x&gt;&#39;",
            "2 CPUs &lt;x&gt;",
            "getData, 100 sessions",
        ] {
            assert!(text.contains(part), "{part} is not in the page");
        }
        assert!(!page(&sample(), Some(&bench())).contains("/<b>"));
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let page = page(&sample(), Some(&bench()));
        for word in ["src=", "href=", "url(", "@import", "<script", "<link", "https:"] {
            assert!(!page.contains(word), "{word}");
        }
        // The one address is a name.
        assert_eq!(page.matches("http:").count(), 1);
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = page(&Report::default(), None);
        let text = parse(&page);
        assert!(text.contains("Nothing was compared."));
        assert!(!text.contains("Performance"));
    }

    #[test]
    fn only_lines_that_differ_are_marked() {
        assert_eq!(marked("a\nb<", "a\nc"), "a\n<mark>b&lt;</mark>");
        assert_eq!(marked("", "a"), "(nothing)");
    }

    #[test]
    fn control_characters_and_long_texts_cannot_break_the_page() {
        assert_eq!(escape("a\u{0}b\u{1b}[0m\u{ffff}"), "a\\u{0}b\\u{1b}[0m\\u{ffff}");
        let long = "\u{4e2d}".repeat(TEXT_BYTES_MAX);
        let shown = cut(&long);
        assert!(shown.len() < TEXT_BYTES_MAX + 40 && shown.ends_with("more bytes)"));
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let mut report = sample();
        report.rows[0].different = 700;
        let text = parse(&page(&report, None));
        assert!(text.contains("1 of 700 are shown."), "{text}");
    }
}
