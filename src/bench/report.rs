//! The result of a run: as a table for people, as JSON for scripts.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::control::Measured;
use super::outcome::{Latencies, Outcome};
use super::usage::Usage;

/// A result.
#[derive(Debug)]
pub struct Report {
    /// What was done, and its parameters, in the order of the table.
    pub parameters: Vec<(&'static str, Value)>,
    /// What an operation is called here.
    pub unit: &'static str,
    /// The counts.
    pub outcome: Outcome,
    /// Seconds measured.
    pub seconds: f64,
    /// The server at both ends of the measured time.
    pub usage: Option<(Usage, Usage)>,
    /// The server is in this process: the generator's CPU time is not the server's.
    pub shares_process: bool,
    /// Further figures: name with its unit, value.
    pub extras: Vec<(&'static str, f64)>,
}

impl Report {
    /// Of a measured run.
    pub fn new(parameters: Vec<(&'static str, Value)>, measured: Measured) -> Report {
        let Measured { outcome, seconds, usage } = measured;
        Report {
            parameters,
            unit: "ops",
            outcome,
            seconds,
            usage,
            shares_process: false,
            extras: Vec::new(),
        }
    }

    /// Operations per second.
    pub fn throughput(&self) -> f64 {
        if self.seconds > 0.0 { self.outcome.completed as f64 / self.seconds } else { 0.0 }
    }

    /// Prints the table, or writes the JSON, or both: JSON to "-" is in place of the table.
    pub fn publish(&self, json: Option<&Path>) -> anyhow::Result<()> {
        let is_stdout = json.is_some_and(|path| path.as_os_str() == "-");
        let mut stdout = std::io::stdout().lock();
        if is_stdout {
            writeln!(stdout, "{:#}", self.to_json())?;
            return Ok(());
        }
        write!(stdout, "{}", self.to_table())?;
        if let Some(path) = json {
            std::fs::write(path, format!("{:#}\n", self.to_json()))
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Everything.
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        for (name, value) in &self.parameters {
            all.insert((*name).to_owned(), value.clone());
        }
        let outcome = &self.outcome;
        all.insert("unit".to_owned(), json!(self.unit));
        all.insert("seconds".to_owned(), round(self.seconds));
        all.insert("operations".to_owned(), json!(outcome.completed));
        all.insert("throughput".to_owned(), round(self.throughput()));
        all.insert("errors".to_owned(), json!(outcome.errors));
        all.insert("first_error".to_owned(), json!(outcome.first_error));
        all.insert("unanswered".to_owned(), json!(outcome.unanswered));
        all.insert("sessions_lost".to_owned(), json!(outcome.sessions_lost));
        all.insert("trouble".to_owned(), json!(outcome.trouble()));
        all.insert("latency_us".to_owned(), latencies_json(&outcome.latencies));
        all.insert("stall_max_us".to_owned(), round(outcome.stall_max_ns as f64 / 1000.0));
        let generator = self.per_operation(outcome.generator_cpu_ns);
        all.insert("generator_cpu_us_per_op".to_owned(), round(generator));
        for (name, latencies) in &outcome.parts {
            all.insert(format!("{name}_us"), latencies_json(latencies));
        }
        if let Some((before, after)) = &self.usage {
            all.insert("server".to_owned(), self.server_json(before, after));
        }
        for (name, value) in &self.extras {
            all.insert((*name).to_owned(), round(*value));
        }
        Value::Object(all)
    }

    /// A page for people.
    pub fn to_table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, value: String| table.push_str(&format!("{name:<14} {value}\n"));
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::String(text) if *name == "workload" => text.clone(),
                Value::String(text) => format!("{name} {text}"),
                other => format!("{name} {other}"),
            })
            .collect();
        line("run", parameters.join(", "));
        let outcome = &self.outcome;
        line(
            "throughput",
            format!(
                "{:.0} {}/s ({} in {:.2} s)",
                self.throughput(),
                self.unit,
                outcome.completed,
                self.seconds
            ),
        );
        if outcome.latencies.count() > 0 {
            line("latency", latencies_line(&outcome.latencies));
        }
        for (name, latencies) in &outcome.parts {
            line(name, latencies_line(latencies));
        }
        if outcome.completed > 0 {
            line("longest stall", format!("{:.1} ms", outcome.stall_max_ns as f64 / 1e6));
        }
        if let Some((before, after)) = &self.usage {
            let switches = match self.switches(before, after) {
                Some(switches) => format!(", {switches:.2} context switches/op"),
                None => String::new(),
            };
            line(
                "server",
                format!(
                    "{:.2} us CPU/op, {:.1} MiB resident ({:.1} anonymous, {:.1} at most), {} threads{switches}",
                    self.per_operation(self.server_cpu_ns(before, after)),
                    after.rss_kb as f64 / 1024.0,
                    after.rss_anon_kb as f64 / 1024.0,
                    after.peak_rss_kb as f64 / 1024.0,
                    after.threads,
                ),
            );
        }
        if outcome.generator_cpu_ns > 0 {
            let generator = self.per_operation(outcome.generator_cpu_ns);
            line("generator", format!("{generator:.2} us CPU/op"));
        }
        for (name, value) in &self.extras {
            line(&name.replace('_', " "), format!("{value:.2}"));
        }
        line("errors", outcome.trouble().unwrap_or_else(|| "none".to_owned()));
        table
    }

    fn server_json(&self, before: &Usage, after: &Usage) -> Value {
        let cpu_ns = self.server_cpu_ns(before, after);
        json!({
            "cpu_us_per_op": round(self.per_operation(cpu_ns)),
            "cpu_seconds": round(cpu_ns as f64 / 1e9),
            "rss_kb": after.rss_kb,
            "rss_kb_before": before.rss_kb,
            "rss_anon_kb": after.rss_anon_kb,
            "peak_rss_kb": after.peak_rss_kb,
            "threads": after.threads,
            "context_switches_per_op": self.switches(before, after).map(round),
        })
    }

    fn server_cpu_ns(&self, before: &Usage, after: &Usage) -> u64 {
        let generator = if self.shares_process { self.outcome.generator_cpu_ns } else { 0 };
        after.cpu_ns.saturating_sub(before.cpu_ns).saturating_sub(generator)
    }

    fn switches(&self, before: &Usage, after: &Usage) -> Option<f64> {
        if self.shares_process {
            return None;
        }
        let switches = after.context_switches?.saturating_sub(before.context_switches?);
        Some(switches as f64 / self.outcome.completed.max(1) as f64)
    }

    /// Microseconds per operation.
    fn per_operation(&self, nanos: u64) -> f64 {
        nanos as f64 / 1000.0 / self.outcome.completed.max(1) as f64
    }
}

fn latencies_json(latencies: &Latencies) -> Value {
    json!({
        "p50": round(latencies.percentile_us(50.0)),
        "p90": round(latencies.percentile_us(90.0)),
        "p99": round(latencies.percentile_us(99.0)),
        "p999": round(latencies.percentile_us(99.9)),
        "max": round(latencies.max_us()),
        "mean": round(latencies.mean_us()),
        "count": latencies.count(),
    })
}

fn latencies_line(latencies: &Latencies) -> String {
    format!(
        "p50 {} p90 {} p99 {} p99.9 {} max {}",
        time(latencies.percentile_us(50.0)),
        time(latencies.percentile_us(90.0)),
        time(latencies.percentile_us(99.0)),
        time(latencies.percentile_us(99.9)),
        time(latencies.max_us()),
    )
}

/// Microseconds in the unit that reads best.
fn time(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{micros:.0} us")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1000.0)
    } else {
        format!("{:.2} s", micros / 1_000_000.0)
    }
}

/// Three decimals are more than any of this is worth.
fn round(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut outcome =
            Outcome { completed: 1000, generator_cpu_ns: 1_000_000, ..Outcome::default() };
        outcome.latencies.record(2_000_000);
        outcome.part("open").record(1_000);
        let before = Usage { cpu_ns: 10_000_000, rss_kb: 1, ..Usage::default() };
        let after = Usage { cpu_ns: 40_000_000, rss_kb: 2048, ..Usage::default() };
        let parameters = vec![("workload", json!("get")), ("rate", Value::Null)];
        let measured = Measured { outcome, seconds: 2.0, usage: Some((before, after)) };
        Report::new(parameters, measured)
    }

    #[test]
    fn figures_are_per_operation_and_second() {
        let json = report().to_json();
        assert_eq!(json["throughput"], 500.0);
        assert_eq!(json["server"]["cpu_us_per_op"], 30.0);
        assert_eq!(json["generator_cpu_us_per_op"], 1.0);
        assert_eq!(json["open_us"]["count"], 1);
        assert_eq!(json["trouble"], Value::Null);
    }

    #[test]
    fn a_server_in_the_same_process_is_not_charged_for_the_generator() {
        let mut report = report();
        report.shares_process = true;
        assert_eq!(report.to_json()["server"]["cpu_us_per_op"], 29.0);
    }

    #[test]
    fn the_table_names_what_was_measured() {
        let table = report().to_table();
        assert!(table.starts_with("run            get\n"), "{table}");
        assert!(table.contains("500 ops/s"), "{table}");
        assert!(table.contains("p99 2.00 ms"), "{table}");
        assert!(table.contains("2.0 MiB resident"), "{table}");
        assert!(table.contains("errors         none"), "{table}");
    }

    #[test]
    fn times_choose_their_unit() {
        assert_eq!(time(12.4), "12 us");
        assert_eq!(time(1500.0), "1.50 ms");
        assert_eq!(time(2_500_000.0), "2.50 s");
    }
}
