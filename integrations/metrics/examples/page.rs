//! A service that is sent some packets by strangers, and its counters as a text page.
//!
//! `cargo run --example page`. A service installs the recorder of its monitoring in the place of the one here.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use vitalwire::backend::{Backend, BackendConfig, Inbound};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Instant, OsEntropy, UnixSeconds};
use vitalwire_metrics::{Exporter, describe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install()?;

    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let (today, tomorrow) = (UnixSeconds(1_750_000_000), UnixSeconds(1_750_086_400));
    let subject = SubjectId(*b"service-00000001");
    let request = CredentialRequest::new(1, subject, Role::Backend, Scopes::PUBLISH, today, tomorrow);
    let service = LocalIdentity::issue(&authority, StaticSecret::generate(&mut OsEntropy)?, &request)?;
    let mut backend = Backend::<u64>::new(BackendConfig::new(service, anchors, Time::known(today)))?;

    describe(&backend.counters());
    let exporter = Exporter::new("0");
    for length in [0, 20, 40, 120] {
        let mut packet = vec![0x11; length];
        let inbound = Inbound { path: 1, packet: &mut packet[..] };
        backend.handle_packets(Instant::ZERO, &mut [inbound], &mut |_| {});
    }
    exporter.export(&backend.counters());

    let mut lines: Vec<_> = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels = key.key().labels().map(|label| format!("{}=\"{}\"", label.key(), label.value()));
        let labels: Vec<_> = labels.collect();
        let value = match value {
            DebugValue::Counter(value) => value.to_string(),
            DebugValue::Gauge(value) => value.to_string(),
            DebugValue::Histogram(_) => continue,
        };
        lines.push(format!("{}{{{}}} {value}", key.key().name(), labels.join(",")));
    }
    lines.sort();
    println!("{}", lines.join("\n"));
    Ok(())
}
