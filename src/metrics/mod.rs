//! Counters, summaries, percentiles and gauges (Java: `o.a.z.metrics`, `o.a.z.server.metric`).

mod avg_min_max;
mod counter;
mod percentile;
mod registry;
mod server_metrics;
mod sets;
mod shards;
mod value;

pub use avg_min_max::{AvgMinMax, Totals};
pub use counter::Counter;
pub use percentile::Percentile;
pub use registry::Gauges;
pub use server_metrics::{MetricRef, STANDALONE_GAUGE_SETS, STANDALONE_GAUGES, ServerMetrics};
pub use sets::{AvgMinMaxSet, CounterSet, KeyedMetric, MetricSet, PercentileSet};
pub use value::{MetricValue, java_double};
