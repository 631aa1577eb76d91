//! Exports what a vitalwire backend counts through the facade `metrics`.
//!
//! Nothing is counted here: [`Backend::counters`](vitalwire::backend::Backend::counters) is the source, and lists each value
//! with its name, help, kind and label. So what a later version of the library counts is exported without a change.

use metrics::{Key, Label, Level, Metadata, Unit};
use std::collections::BTreeSet;
use vitalwire::backend::{Counters, Metric, MetricKind};

static METADATA: Metadata<'static> = Metadata::new("vitalwire", Level::INFO, Some(module_path!()));

/// Tells the recorder that is installed what each value means. Call it once, after the recorder was installed.
pub fn describe(counters: &Counters) {
    let mut told = BTreeSet::new();
    for Metric { name, help, kind, .. } in counters.metrics() {
        if !told.insert(name) {
            continue;
        }
        let unit = if name.contains("bytes") { Unit::Bytes } else { Unit::Count };
        metrics::with_recorder(|recorder| match kind {
            MetricKind::Counter => recorder.describe_counter(name.into(), Some(unit), help.into()),
            MetricKind::Gauge => recorder.describe_gauge(name.into(), Some(unit), help.into()),
        });
    }
}

/// Exports the counters of one shard: they carry its name as the label `shard`.
#[derive(Clone, Debug)]
pub struct Exporter {
    shard: String,
}

impl Exporter {
    /// Makes the exporter of a shard.
    pub fn new(shard: impl Into<String>) -> Self {
        Self { shard: shard.into() }
    }

    /// Hands a snapshot to the recorder that is installed. The values are absolute: one that is left out loses nothing.
    pub fn export(&self, counters: &Counters) {
        for Metric { name, kind, label, value, .. } in counters.metrics() {
            let mut labels = vec![Label::new("shard", self.shard.clone())];
            labels.extend(label.map(|(key, value)| Label::from_static_parts(key, value)));
            let key = Key::from_parts(name, labels);
            metrics::with_recorder(|recorder| match kind {
                MetricKind::Counter => recorder.register_counter(&key, &METADATA).absolute(value),
                // Exact up to 2^53.
                MetricKind::Gauge => recorder.register_gauge(&key, &METADATA).set(value as f64),
            });
        }
    }
}
