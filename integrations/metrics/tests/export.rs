//! All that the library counts reaches the recorder, with the values that it has.

use metrics_util::CompositeKey;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::{Backend, BackendConfig, Inbound};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Discard, Instant, OsEntropy, UnixSeconds};
use vitalwire_metrics::{Exporter, describe};

const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);

fn backend() -> Backend<u64> {
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy).unwrap());
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let tomorrow = UnixSeconds(TODAY.0 + 86_400);
    let request =
        CredentialRequest::new(1, SubjectId([7; 16]), Role::Backend, Scopes::PUBLISH, TODAY, tomorrow);
    let secret = StaticSecret::generate(&mut OsEntropy).unwrap();
    let identity = LocalIdentity::issue(&authority, secret, &request).unwrap();
    Backend::new(BackendConfig::new(identity, anchors, Time::known(TODAY))).unwrap()
}

/// Name and labels but the shard's.
type Id = (String, Vec<(String, String)>);

fn exported(snapshotter: &Snapshotter, shard: &str) -> BTreeMap<Id, (f64, bool)> {
    let mut found = BTreeMap::new();
    for (key, _, help, value) in snapshotter.snapshot().into_vec() {
        let key: CompositeKey = key;
        let labels: Vec<_> =
            key.key().labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        assert!(labels.contains(&("shard".to_owned(), shard.to_owned())));
        let value = match value {
            DebugValue::Counter(value) => value as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => panic!("there are no histograms"),
        };
        let labels = labels.into_iter().filter(|(key, _)| key != "shard").collect();
        found.insert((key.key().name().to_owned(), labels), (value, help.is_some()));
    }
    found
}

#[test]
fn every_value_and_every_discard_is_exported() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut backend = backend();
    let mut packets = [(); 3].map(|()| vec![0x11u8; 120]);
    let mut inbound: Vec<_> =
        packets.iter_mut().map(|packet| Inbound { path: 1u64, packet: &mut packet[..] }).collect();
    backend.handle_packets(Instant::from_millis(5), &mut inbound, &mut |_| {});
    let counters = backend.counters();
    metrics::with_local_recorder(&recorder, || {
        describe(&counters);
        Exporter::new("3").export(&counters);
    });
    let found = exported(&snapshotter, "3");
    for metric in counters.metrics() {
        let labels = metric.label.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let id = (metric.name.to_owned(), labels.into_iter().collect());
        let (value, described) = found.get(&id).unwrap_or_else(|| panic!("{id:?} is not exported"));
        assert_eq!((*value, *described), (metric.value as f64, true), "{id:?}");
    }
    assert_eq!(found.len(), counters.metrics().count(), "nothing else");
    // Every field of the snapshot has a name of its own: one that the library's list forgets is found here, too.
    let pretty = format!("{counters:#?}");
    let fields =
        pretty.lines().filter(|line| line.starts_with("    ") && line.as_bytes()[4].is_ascii_lowercase());
    let names: BTreeSet<_> = found.keys().map(|(name, _)| name).collect();
    assert_eq!(names.len(), fields.count());
    for discard in Discard::ALL {
        let label = vec![("reason".to_owned(), format!("{discard:?}"))];
        let (value, _) = found[&("vitalwire_discards_total".to_owned(), label)];
        assert_eq!(value, f64::from(backend.discards().of(*discard)), "{discard:?}");
    }
    assert_eq!(found[&("vitalwire_packets_received_total".to_owned(), vec![])].0, 3.0);
    assert_eq!(backend.discards().total(), 3);
}

#[test]
fn a_second_export_is_absolute() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut backend = backend();
    metrics::with_local_recorder(&recorder, || {
        let exporter = Exporter::new("0");
        for _ in 0..4 {
            backend.handle_packets(
                Instant::ZERO,
                &mut [Inbound { path: 1, packet: &mut [0x11; 40] }],
                &mut |_| {},
            );
            exporter.export(&backend.counters());
        }
    });
    let found = exported(&snapshotter, "0");
    assert_eq!(found[&("vitalwire_bytes_received_total".to_owned(), vec![])].0, 160.0);
}
