//! A device and a service with a store, joined in memory; the service is started anew in the middle.
//!
//! `cargo run --example loopback [FILE]`

use std::path::{Path, PathBuf};
use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Grant, Inbound, OwnedBatch, Received};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link};
use vitalwire::framing::{
    ChannelDescriptor, ChannelKind, Component, Lane, Measurement, Record, Values, encode_descriptors,
};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};
use vitalwire_sqlite::{Store, StoreError};

type Failure = Box<dyn std::error::Error>;
const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);
const TOMORROW: UnixSeconds = UnixSeconds(TODAY.0 + 86_400);

/// Makes a key pair and has the authority sign who holds it.
fn identity(authority: &Authority, subject: &[u8; 16], role: Role) -> Result<LocalIdentity, Failure> {
    let request = CredentialRequest::new(1, SubjectId(*subject), role, Scopes::PUBLISH, TODAY, TOMORROW);
    Ok(LocalIdentity::issue(authority, StaticSecret::generate(&mut OsEntropy)?, &request)?)
}

/// One process of the service.
struct Service {
    backend: Backend<()>,
    store: Store,
    queue: Vec<OwnedBatch>,
}

impl Service {
    fn start(config: BackendConfig, file: &Path) -> Result<Self, Failure> {
        let (mut backend, mut store) = (Backend::new(config)?, Store::open(file)?);
        for set in store.descriptor_sets()? {
            backend.preload_descriptors(&set)?;
        }
        Ok(Self { backend, store, queue: Vec::new() })
    }

    /// One turn of the run loop.
    fn turn(&mut self, now: Instant, packet: Option<&mut [u8]>) -> Result<(), Failure> {
        let Self { backend, store, queue } = self;
        let mut packets: Vec<_> = packet.map(|packet| Inbound { path: (), packet }).into_iter().collect();
        backend.handle_packets(now, &mut packets, &mut |received| {
            if let Received::Batch(batch) = received {
                queue.push(batch.to_owned());
            }
        });
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(&mut OsEntropy));
        }
        while let Some(event) = backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                // Ledger and fence go in here, and come out with each batch.
                let opened = store.open_session(&credential.identity())?;
                let (scopes, ledger, fence) = (credential.scopes(), opened.ledger, opened.fence);
                backend.accept(now, pending, Grant { scopes, ledger, fence, ..Grant::default() })?;
            }
        }
        for batch in queue.drain(..) {
            match store.store(&batch.as_batch()) {
                Ok(stored) => {
                    println!("stored {stored:?}");
                    backend.commit(now, batch.handle());
                }
                Err(StoreError::NotOwner) => backend.disown(now, batch.handle()),
                Err(error) => {
                    eprintln!("not stored: {error}");
                    backend.release(now, batch.handle());
                }
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let file = std::env::args().nth(1).map_or_else(|| dir.path().join("store.db"), PathBuf::from);
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let patch = identity(&authority, b"patch-0000000001", Role::Device)?;
    let service = identity(&authority, b"service-00000001", Role::Backend)?;
    let who = patch.identity().ok_or("the credential is no good")?;
    // Channel 1 is a heart rate (MDC_ECG_HEART_RATE in MDC_DIM_BEAT_PER_MIN).
    let component = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&component).into());
    let mut descriptors = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut descriptors)?;
    let mut outbox = [0u8; 4096];
    let config = DeviceConfig::new(patch, anchors, Time::floor_only(TODAY), 1, outbox.len());
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &descriptors[..len], backlog: &mut [] };
    let mut device = Device::new(config, memory)?;
    let config = BackendConfig::new(service, anchors, Time::known(TODAY));
    let mut service = Service::start(config.clone(), &file)?;

    let (mut now, mut out) = (Instant::ZERO, [0u8; 1500]);
    device.handle_link(now, Link::Up { max_packet: 1232 });
    device.connect(now);
    for beat in 0..21u16 {
        if beat == 10 {
            println!("the service is started anew");
            service = Service::start(config.clone(), &file)?;
            // So that the example need not wait until the device misses it.
            device.disconnect();
            device.connect(now);
        }
        let rate = Measurement::new(1, Values::valid(&[60 + i32::from(beat)])?);
        device.record(now, Lane::Event, &Record::Measurement(rate))?;
        // Every third beat is followed by a longer exchange, so that some batches have several records.
        while beat % 3 == 2 && !device.is_drained() {
            while let Some(packet) = device.poll_transmit(now, &mut OsEntropy, &mut out)? {
                service.turn(now, Some(&mut packet.to_vec()))?;
            }
            service.turn(now, None)?;
            while let Some(transmit) = service.backend.poll_transmit(now, &mut OsEntropy, &mut out)? {
                device.handle_packet(now, &mut transmit.packet.to_vec(), &mut |_| {});
            }
            now = now + Duration::from_millis(10);
        }
    }
    let records = service.store.records(&who, 0, 100)?;
    println!("{} records in {}", records.len(), file.display());
    Ok(())
}
