//! Both ends on one screen, joined in memory: a heart rate goes from a device to a backend's application.
//!
//! `cargo run --example loopback`

use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Grant, Inbound, Received};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link};
use vitalwire::framing::{
    ChannelDescriptor, ChannelKind, Component, Lane, Measurement, Record, Values, encode_descriptors,
};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};

type Error = Box<dyn std::error::Error>;
const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);
const TOMORROW: UnixSeconds = UnixSeconds(TODAY.0 + 86_400);

/// Makes a key pair and has the authority sign who holds it. The example `provision` keeps such things in files.
fn identity(authority: &Authority, subject: &[u8; 16], role: Role) -> Result<LocalIdentity, Error> {
    let request = CredentialRequest::new(1, SubjectId(*subject), role, Scopes::PUBLISH, TODAY, TOMORROW);
    Ok(LocalIdentity::issue(authority, StaticSecret::generate(&mut OsEntropy)?, &request)?)
}

fn main() -> Result<(), Error> {
    // Who trusts whom.
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let patch = identity(&authority, b"patch-0000000001", Role::Device)?;
    let service = identity(&authority, b"service-00000001", Role::Backend)?;
    // What the device measures: channel 1 is a heart rate (MDC_ECG_HEART_RATE in MDC_DIM_BEAT_PER_MIN).
    let component = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&component).into());
    let mut descriptors = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut descriptors)?;

    // The two ends, in the caller's memory.
    let mut outbox = [0u8; 4096];
    let config = DeviceConfig::new(patch, anchors, Time::floor_only(TODAY), 1, outbox.len());
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &descriptors[..len], backlog: &mut [] };
    let mut device = Device::new(config, memory)?;
    let mut backend = Backend::<()>::new(BackendConfig::new(service, anchors, Time::known(TODAY)))?;

    // A record, kept until the backend's application has stored it.
    let mut now = Instant::ZERO;
    device.handle_link(now, Link::Up { max_packet: 1232 });
    device.connect(now);
    let heart_rate = Measurement::new(1, Values::valid(&[72])?);
    device.record(now, Lane::Event, &Record::Measurement(heart_rate))?;

    let mut out = [0u8; 1500];
    while !device.is_drained() {
        while let Some(packet) = device.poll_transmit(now, &mut OsEntropy, &mut out)? {
            println!("device  -> backend  {:>3} bytes", packet.len());
            let mut stored = Vec::new();
            let inbound = Inbound { path: (), packet: &mut packet.to_vec() };
            backend.handle_packets(now, &mut [inbound], &mut |received| {
                let Received::Batch(batch) = received else { return };
                batch.records().for_each(|record| println!("                     {:?}", record.record));
                stored.push(batch.handle());
            });
            // The application has stored it. Only now the device hears that it arrived.
            for batch in stored {
                backend.commit(now, batch);
            }
        }
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(&mut OsEntropy));
        }
        while let Some(event) = backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                backend.accept(now, pending, Grant { scopes: credential.scopes(), ..Grant::default() })?;
            }
        }
        while let Some(transmit) = backend.poll_transmit(now, &mut OsEntropy, &mut out)? {
            println!("backend -> device   {:>3} bytes", transmit.packet.len());
            device.handle_packet(now, &mut transmit.packet.to_vec(), &mut |_| {});
        }
        now = now + Duration::from_millis(10);
    }
    println!("the record is stored, and the device knows it");
    Ok(())
}
