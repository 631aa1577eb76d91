//! A session and its records without a heap: what every packet costs.

use super::report;
use core::hint::black_box;
use firmware_measure::Meter;
use vitalwire::Instant;
use vitalwire::crypto::SessionSecrets;
use vitalwire::framing::{
    ChannelDescriptor, ChannelKind, Component, DescriptorSet, Rate, WaveformBlock, encode_descriptors,
    encode_waveform,
};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};
use vitalwire_firmware::Failure;

/// Seals and opens packets of the sizes that telemetry has.
pub fn packets(meter: &mut Meter) -> Result<(), Failure> {
    let now = Instant::ZERO;
    let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
    let policy = RekeyPolicy::default();
    let mut device: Session<2> = Session::new(now, Side::Device, secrets(), 128, policy);
    let mut backend: Session<2> = Session::new(now, Side::Backend, secrets(), 128, policy);
    let id = ConnectionId::EMPTY;
    for (seal, open, len) in [
        ("seal.16", "open.16", 16),
        ("seal.48", "open.48", 48),
        ("seal.64", "open.64", 64),
        ("seal.256", "open.256", 256),
    ] {
        let mut out = [0x5a; 300];
        let packet = report(meter, seal, || device.seal(now, &id, &mut out, len)).map_err(|_| "sealing")?;
        let opened = report(meter, open, || {
            let header = DataHeader::parse(packet, 0)?;
            backend.open(now, &header, packet)
        });
        let opened = opened.map_err(|_| "opening")?;
        (opened.payload.len() == len && opened.payload.iter().skip(2).all(|&byte| byte == 0x5a))
            .then_some(())
            .ok_or("the payload came back changed")?;
    }
    Ok(())
}

/// Encodes 256 samples that look like an ECG.
pub fn waveform(meter: &mut Meter) -> Result<(), Failure> {
    let volt = [Component::new(131_329, 266_418)];
    let mut channel = ChannelDescriptor::new(1, ChannelKind::Waveform, 131_329, (&volt).into());
    channel.rate = Some(Rate::per_second(360));
    let mut set = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut set).map_err(|_| "descriptors")?;
    let set = DescriptorSet::parse(&set[..len]).map_err(|_| "descriptors")?;
    let samples: [i32; 256] = core::array::from_fn(|n| {
        let (n, beat) = (n as i32, n as i32 % 200);
        1000 + (n % 7) - 3 + if (90..100).contains(&beat) { 60 * (5 - (beat - 95).abs()) } else { 0 }
    });
    let mut out = [0u8; 600];
    let block = WaveformBlock::new(1, 0, black_box(&samples));
    let encoded = report(meter, "encode.256", || encode_waveform(&block, &set, &mut out));
    let encoded = encoded.map_err(|_| "encoding")?;
    (encoded.taken == 256 && encoded.bytes < 256).then_some(()).ok_or("the block is too long")
}
