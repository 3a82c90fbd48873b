//! The table of a report for the terminal.

use super::Report;

/// One line for each row, the sums, the unexplained differences and the verdict. Ends with a newline.
pub fn table(report: &Report) -> String {
    let mut lines: Vec<[String; 5]> =
        vec![["what", "operations", "same", "on purpose", "different"].map(str::to_owned)];
    let mut kind = "";
    for row in &report.rows {
        if row.kind != kind {
            kind = &row.kind;
            lines.push([
                kind.to_owned(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        let name = format!("  {}", row.name);
        if row.skipped.is_empty() {
            let counts = [row.operations, row.same, row.deliberate, row.different];
            let [operations, same, deliberate, different] = counts.map(grouped);
            lines.push([name, operations, same, deliberate, different]);
        } else {
            let skipped = format!("left out: {}", row.skipped);
            lines.push([
                format!("{name}  ({skipped})"),
                "-".into(),
                "-".into(),
                "-".into(),
                "-".into(),
            ]);
        }
    }
    let same = report.rows.iter().map(|row| row.same).sum();
    let sums = [report.operations(), same, report.on_purpose(), report.unexplained()];
    let [operations, same, deliberate, different] = sums.map(grouped);
    lines.push(["all".into(), operations, same, deliberate, different]);

    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if column == 0 {
                text.push_str(&format!("{cell:<width$}"));
            } else {
                text.push_str(&format!("  {cell:>width$}"));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    for difference in report.differences.iter().filter(|one| one.deliberate.is_empty()) {
        out.push_str(&format!(
            "\n{} {}: {}\n",
            difference.kind, difference.name, difference.operation
        ));
        for step in &difference.sequence {
            out.push_str(&format!("    {step}\n"));
        }
        for (side, reply) in [(&report.left, &difference.left), (&report.right, &difference.right)]
        {
            out.push_str(&format!("  {}:\n", side.name));
            for line in reply.lines() {
                out.push_str(&format!("    {line}\n"));
            }
        }
        if !difference.replay.is_empty() {
            out.push_str(&format!("  again: {}\n", difference.replay));
        }
    }
    out.push_str(&format!("\n{}\n", verdict(report)));
    out
}

/// One sentence.
pub(super) fn verdict(report: &Report) -> String {
    let operations = report.operations();
    let purpose = match report.on_purpose() {
        0 => String::new(),
        count => format!(", {} on purpose", grouped(count)),
    };
    let (left, right) = (&report.left.name, &report.right.name);
    match report.unexplained() {
        0 if operations == 0 => "Nothing was compared.".into(),
        0 => format!(
            "No unexplained difference between {left} and {right} in {} operations{purpose}.",
            grouped(operations)
        ),
        count => format!(
            "{} unexplained difference{} between {left} and {right} in {} operations{purpose}.",
            grouped(count),
            if count == 1 { "" } else { "s" },
            grouped(operations)
        ),
    }
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let check = |number, text: &str| assert_eq!(grouped(number), text);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(1_234_567, "1,234,567");
    }

    #[test]
    fn the_table_has_rows_sums_differences_and_the_verdict() {
        let text = table(&sample());
        let expected = "\
what                              operations   same  on purpose  different
scenario
  create                               1,200  1,198           1          1
data directory
  snappy  (left out: no <codec>)           -      -           -          -
all                                    1,200  1,198           1          1

scenario create: create \"/<b>\"
    open a
    create /<b>
  java:
    err NONODE (-101)
    zxid 0x2
  zabkeeper:
    err OK (0)
    zxid 0x2
  again: zabkeeper compare run --script '<x>'

1 unexplained difference between java and zabkeeper in 1,200 operations, 1 on purpose.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_verdict_says_when_nothing_was_compared() {
        assert_eq!(verdict(&Report::default()), "Nothing was compared.");
    }
}
