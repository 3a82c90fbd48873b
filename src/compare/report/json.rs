//! A report as JSON and back. The field names are those of the structures; what is missing reads as
//! empty, so that older and newer files can be shown.

use serde_json::{Map, Value, json};

use super::{Deliberate, Difference, Report, Row, SideInfo};

/// The version of the layout, for readers other than this one.
const VERSION: u64 = 1;

impl Report {
    /// All of it, with the sums beside it.
    pub fn to_json(&self) -> Value {
        json!({
            "version": VERSION,
            "left": side_to_json(&self.left),
            "right": side_to_json(&self.right),
            "started": self.started,
            "took_ms": self.took_ms,
            "operations": self.operations(),
            "unexplained": self.unexplained(),
            "on_purpose": self.on_purpose(),
            "equal": self.is_equal(),
            "rows": self.rows.iter().map(row_to_json).collect::<Vec<_>>(),
            "differences": self.differences.iter().map(difference_to_json).collect::<Vec<_>>(),
            "deliberate": self.deliberate.iter().map(deliberate_to_json).collect::<Vec<_>>(),
        })
    }

    /// Reads what [`Report::to_json`] has made. The error says what is wrong.
    pub fn from_json(value: &Value) -> Result<Report, String> {
        let fields = value.as_object().ok_or("a report is a JSON object")?;
        if fields.get("rows").and_then(Value::as_array).is_none() {
            return Err("there are no \"rows\": this is no report of zabkeeper compare".into());
        }
        Ok(Report {
            left: side_from_json(fields.get("left")),
            right: side_from_json(fields.get("right")),
            started: text(fields, "started"),
            took_ms: number(fields, "took_ms"),
            rows: list(fields, "rows", row_from_json),
            differences: list(fields, "differences", difference_from_json),
            deliberate: list(fields, "deliberate", deliberate_from_json),
        })
    }
}

fn side_to_json(side: &SideInfo) -> Value {
    json!({"name": side.name, "version": side.version, "how": side.how})
}

fn side_from_json(value: Option<&Value>) -> SideInfo {
    let Some(fields) = value.and_then(Value::as_object) else { return SideInfo::default() };
    SideInfo {
        name: text(fields, "name"),
        version: text(fields, "version"),
        how: text(fields, "how"),
    }
}

fn row_to_json(row: &Row) -> Value {
    json!({
        "kind": row.kind, "name": row.name, "about": row.about, "operations": row.operations,
        "same": row.same, "different": row.different, "deliberate": row.deliberate,
        "skipped": row.skipped, "took_ms": row.took_ms,
    })
}

fn row_from_json(fields: &Map<String, Value>) -> Row {
    Row {
        kind: text(fields, "kind"),
        name: text(fields, "name"),
        about: text(fields, "about"),
        operations: number(fields, "operations"),
        same: number(fields, "same"),
        different: number(fields, "different"),
        deliberate: number(fields, "deliberate"),
        skipped: text(fields, "skipped"),
        took_ms: number(fields, "took_ms"),
    }
}

fn difference_to_json(difference: &Difference) -> Value {
    json!({
        "kind": difference.kind, "name": difference.name, "operation": difference.operation,
        "left": difference.left, "right": difference.right, "deliberate": difference.deliberate,
        "sequence": difference.sequence, "replay": difference.replay,
    })
}

fn difference_from_json(fields: &Map<String, Value>) -> Difference {
    let sequence = fields.get("sequence").and_then(Value::as_array);
    let steps = sequence.into_iter().flatten().filter_map(Value::as_str);
    Difference {
        kind: text(fields, "kind"),
        name: text(fields, "name"),
        operation: text(fields, "operation"),
        left: text(fields, "left"),
        right: text(fields, "right"),
        deliberate: text(fields, "deliberate"),
        sequence: steps.map(str::to_owned).collect(),
        replay: text(fields, "replay"),
    }
}

fn deliberate_to_json(entry: &Deliberate) -> Value {
    json!({
        "id": entry.id, "reason": entry.reason, "reference": entry.reference,
        "scenario": entry.scenario, "seen": entry.seen,
    })
}

fn deliberate_from_json(fields: &Map<String, Value>) -> Deliberate {
    Deliberate {
        id: text(fields, "id"),
        reason: text(fields, "reason"),
        reference: text(fields, "reference"),
        scenario: text(fields, "scenario"),
        seen: number(fields, "seen"),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(fields: &Map<String, Value>, name: &str) -> u64 {
    fields.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn list<T>(fields: &Map<String, Value>, name: &str, read: fn(&Map<String, Value>) -> T) -> Vec<T> {
    let items = fields.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_report_comes_back_as_it_was() {
        let value = sample().to_json();
        assert_eq!(Report::from_json(&value), Ok(sample()));
        let text = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(Report::from_json(&serde_json::from_str(&text).unwrap()), Ok(sample()));
        assert_eq!(value["unexplained"], 1);
        assert_eq!(value["equal"], false);
    }

    #[test]
    fn missing_and_foreign_fields_do_not_hinder() {
        let value = json!({"rows": [{"name": "x", "operations": "many", "new": 1}, 7], "more": 1});
        let report = Report::from_json(&value).unwrap();
        assert_eq!(report.rows, [Row { name: "x".into(), ..Row::default() }]);
    }

    #[test]
    fn other_json_is_told() {
        assert!(Report::from_json(&json!([])).is_err());
        assert!(Report::from_json(&json!({"medians": []})).is_err());
    }
}
