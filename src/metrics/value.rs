//! The number of a metric and its text, which is Java's.

use std::fmt;

use crate::common::java_number::java_double;

/// A number, with Java's way of printing it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// Printed as digits.
    Integer(i64),
    /// Printed as `Double.toString` does.
    Double(f64),
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&java_double(*value)),
        }
    }
}

impl From<i64> for MetricValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for MetricValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_java_does() {
        assert_eq!(MetricValue::from(-3).to_string(), "-3");
        assert_eq!(MetricValue::from(3.0).to_string(), "3.0");
        assert_eq!(MetricValue::from(1e7).to_string(), "1.0E7");
    }
}
