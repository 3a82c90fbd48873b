//! The pairs of `scripts/bench-vs-java.sh` as bars: inline SVG, coloured by the page's style sheet.

use serde_json::Value;

use super::html::escape;

/// The medians of one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The row of the benchmark: `get8`.
    pub row: String,
    /// What was measured: `throughput`.
    pub metric: String,
    /// Its unit; may be empty.
    pub unit: String,
    /// Whether more is better.
    pub is_more_better: bool,
    /// Java's median.
    pub java: Option<f64>,
    /// zabkeeper's.
    pub ours: Option<f64>,
    /// The machine's bare limit.
    pub limit: Option<f64>,
    /// The median of zabkeeper / Java over the pairs.
    pub ratio: Option<f64>,
}

/// The medians in the JSON of `scripts/bench-vs-java.sh`, in its order; none when it is another JSON.
pub fn figures(bench: &Value) -> Vec<Figure> {
    let medians = bench.get("medians").and_then(Value::as_array);
    medians
        .into_iter()
        .flatten()
        .map(|median| {
            let text = |name| median.get(name).and_then(Value::as_str).unwrap_or_default();
            let number = |name| {
                median
                    .get(name)
                    .and_then(Value::as_f64)
                    .filter(|n: &f64| n.is_finite() && *n >= 0.0)
            };
            Figure {
                row: text("row").to_owned(),
                metric: text("metric").to_owned(),
                unit: text("unit").to_owned(),
                is_more_better: text("better") == "more",
                java: number("java"),
                ours: number("ours"),
                limit: number("limit"),
                ratio: number("ratio"),
            }
        })
        .collect()
}

/// What the rows of the benchmark measure, for the headings.
const TITLES: &[(&str, &str)] = &[
    ("get8", "getData, 100 sessions, 8 requests under way each"),
    ("get1", "getData, 100 sessions, one request at a time"),
    ("set8", "setData, 100 sessions, 8 requests under way each"),
    ("create8", "create, 100 sessions, 8 requests under way each"),
    ("single", "One session, one request at a time"),
    ("set-half", "setData at half of Java's rate (open loop)"),
    ("connect", "Sessions opened and closed"),
    ("children", "getChildren of 1,000 names"),
    ("watch", "One-shot watches of 100 sessions on one node"),
    ("idle-rss", "Memory of an empty server"),
    ("idle-sessions", "Idle sessions that ping"),
    ("start-empty", "Start with an empty directory"),
    ("start-log", "Start with a large log"),
    ("start-snapshot", "Start with a large snapshot"),
    ("rss-million", "Memory of a large tree"),
    ("snapshot-stall", "Writes while snapshots are taken"),
];

/// One panel for each row, the figures of the row below each other.
pub(super) fn panels(figures: &[Figure]) -> String {
    let mut out = String::new();
    let mut rest = figures;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|figure| figure.row == first.row).count();
        let (group, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = behind;
        let title = TITLES.iter().find(|(row, _)| *row == first.row);
        let title = title.map_or(first.row.as_str(), |(_, title)| title);
        out.push_str(&format!(
            "<section class=\"panel\"><h3>{} <code>{}</code></h3>\n",
            escape(title),
            escape(&first.row)
        ));
        for figure in group {
            out.push_str(&bars(figure));
        }
        out.push_str("</section>\n");
    }
    out
}

const WIDTH: f64 = 560.0;
const LABEL_WIDTH: f64 = 92.0;
const VALUE_WIDTH: f64 = 96.0;
const BAR_HEIGHT: f64 = 18.0;
const BAR_STEP: f64 = 24.0;

/// One measure: a heading, and a bar for each of those that have a value.
fn bars(figure: &Figure) -> String {
    let series = [
        ("Java", "java", figure.java),
        ("zabkeeper", "ours", figure.ours),
        ("bare limit", "limit", figure.limit),
    ];
    let shown: Vec<(&str, &str, f64)> = series
        .iter()
        .filter_map(|(label, class, value)| value.map(|value| (*label, *class, value)))
        .collect();
    let largest = shown.iter().map(|(.., value)| *value).fold(0.0, f64::max);
    let unit = if figure.unit.is_empty() { String::new() } else { format!(" ({})", figure.unit) };
    let wish = if figure.is_more_better { "more is better" } else { "less is better" };
    let words: Vec<String> = shown
        .iter()
        .map(|(label, _, value)| format!("{label} {} {}", number(*value), figure.unit))
        .collect();
    let height = BAR_STEP * shown.len() as f64;
    let mut out = format!(
        "<div class=\"measure\"><p><b>{}</b>{} <span class=\"wish\">{wish}</span>{}</p>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&figure.metric),
        escape(&unit),
        badge(figure),
        escape(&format!("{} {}: {}", figure.row, figure.metric, words.join(", "))),
    );
    let room = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
    for (at, (label, class, value)) in shown.iter().enumerate() {
        let top = BAR_STEP * at as f64 + (BAR_STEP - BAR_HEIGHT) / 2.0;
        let middle = top + BAR_HEIGHT / 2.0;
        // A value that is not zero shows.
        let length =
            if largest > 0.0 && *value > 0.0 { (room * value / largest).max(1.5) } else { 0.0 };
        out.push_str(&format!(
            "<text class=\"label\" x=\"{:.1}\" y=\"{middle:.1}\">{label}</text>\
             <rect class=\"{class}\" x=\"{LABEL_WIDTH:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" \
             height=\"{BAR_HEIGHT:.1}\" rx=\"2\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{middle:.1}\">{}</text>\n",
            LABEL_WIDTH - 8.0,
            LABEL_WIDTH + length + 7.0,
            number(*value),
        ));
    }
    out.push_str("</svg></div>\n");
    out
}

/// zabkeeper / Java, with a word so that the colour need not be seen.
fn badge(figure: &Figure) -> String {
    let Some(ratio) = figure.ratio.filter(|ratio| *ratio > 0.0) else { return String::new() };
    let is_even = (0.95..=1.05).contains(&ratio);
    let (class, word) = match (is_even, (ratio > 1.0) == figure.is_more_better) {
        (true, _) => ("even", "as Java"),
        (_, true) => ("better", "better"),
        (_, false) => ("worse", "worse"),
    };
    format!(" <span class=\"badge {class}\">{} × Java, {word}</span>", number(ratio))
}

/// Three figures that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => super::table::grouped(value.round() as u64),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        0.0 => "0".into(),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::compare::report) fn bench() -> Value {
        json!({"machine": "2 CPUs <x>", "commit": "abc", "pairs": 3, "medians": [
            {"row": "get8", "metric": "throughput", "unit": "ops/s", "better": "more",
             "java": 50000.4, "ours": 150000, "limit": 900000, "ratio": 3.0},
            {"row": "get8", "metric": "p99", "unit": "ms", "better": "less",
             "java": 12.34, "ours": 0.5, "limit": null, "ratio": 0.04},
            {"row": "new<row>", "metric": "lost", "unit": "", "better": "less",
             "java": 0, "ours": 0, "ratio": null},
        ]})
    }

    #[test]
    fn figures_are_read_and_grouped_by_row() {
        let figures = figures(&bench());
        assert_eq!(figures.len(), 3);
        assert_eq!((figures[0].java, figures[1].limit), (Some(50000.4), None));
        let text = panels(&figures);
        assert_eq!(text.matches("<section").count(), 2);
        assert_eq!(text.matches("<svg").count(), 3);
        assert_eq!(text.matches("<rect").count(), 3 + 2 + 2);
        assert!(text.contains("new&lt;row&gt;") && !text.contains("new<row>"), "{text}");
        assert!(text.contains("3.00 × Java, better"), "{text}");
        assert!(text.contains("0.04 × Java, better"), "{text}");
    }

    #[test]
    fn other_json_gives_no_figures() {
        assert_eq!(figures(&json!({"rows": []})), []);
        assert_eq!(figures(&json!(7)), []);
        assert_eq!(panels(&[]), "");
    }

    #[test]
    fn numbers_have_three_figures_that_count() {
        let check = |value, text: &str| assert_eq!(number(value), text);
        check(0.0, "0");
        check(0.041, "0.04");
        check(12.34, "12.3");
        check(512.6, "513");
        check(1234567.8, "1,234,568");
    }

    #[test]
    fn the_longest_bar_fills_the_room_and_small_ones_show() {
        let figure = Figure {
            row: "r".into(),
            metric: "m".into(),
            unit: String::new(),
            is_more_better: true,
            java: Some(1e9),
            ours: Some(1e-3),
            limit: None,
            ratio: None,
        };
        let text = bars(&figure);
        assert!(text.contains("width=\"372.0\"") && text.contains("width=\"1.5\""), "{text}");
    }
}
