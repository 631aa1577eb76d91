//! The library's parts, with inputs that are the same in every run. The backend's half of a session is here too, and
//! not measured.

use crate::{Failure, telemetry};
use firmware_measure::{Meter, figure};
use vitalwire::crypto::{EphemeralSecret, PublicKey, SessionSecrets, StaticSecret};
use vitalwire::framing::{DescriptorSet, WaveformBlock, encode_waveform};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};
use vitalwire::{Entropy, EntropyError, Instant};

const WINDOW: u16 = 128;
/// Blocks of 250 ms in a second of ECG.
const BLOCKS: u32 = 4;

/// Measures all of them.
#[inline(never)]
pub fn measure(meter: &mut Meter) -> Result<(), Failure> {
    let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
    let policy = RekeyPolicy::default();
    let mut device: Session<2> = Session::new(Instant::ZERO, Side::Device, secrets(), WINDOW, policy);
    let mut backend: Session<2> = Session::new(Instant::ZERO, Side::Backend, secrets(), WINDOW, policy);
    packets(meter, &mut device, &mut backend)?;
    rekey(meter, &mut device, &mut backend)?;
    waveform(meter)?;
    #[cfg(feature = "device")]
    credential(meter)?;
    Ok(())
}

/// Seals packets for the backend, whose ids have 5 bytes, and opens those for the device, which has none.
#[inline(never)]
fn packets(meter: &mut Meter, device: &mut Session<2>, backend: &mut Session<2>) -> Result<(), Failure> {
    let now = Instant::ZERO;
    let to_backend = ConnectionId::new(&[0, 0, 0, 0, 7]).ok_or("the connection id")?;
    for (len, sealing, opening, on_link) in [
        (16, "seal.16", "open.16", "wire.record.16"),
        (48, "seal.48", "open.48", "wire.record.48"),
        (64, "seal.64", "open.64", "wire.record.64"),
        (256, "seal.256", "open.256", "wire.record.256"),
    ] {
        let mut out = [0x5a; 300];
        let mut seal = meter.operation(sealing);
        let packet = seal.run(|| device.seal(now, &to_backend, &mut out, len)).map_err(|_| "sealing")?;
        seal.tell();
        figure(on_link, packet.len() as u64, "bytes");
        let header = DataHeader::parse(packet, to_backend.len()).map_err(|_| "the header")?;
        let opened = backend.open(now, &header, packet).map_err(|_| "the backend cannot open")?;
        whole(opened.payload, len)?;

        let mut out = [0x5a; 300];
        let packet =
            backend.seal(now, &ConnectionId::EMPTY, &mut out, len).map_err(|_| "the backend cannot seal")?;
        let mut open = meter.operation(opening);
        let opened = open.run(|| {
            let header = DataHeader::parse(packet, 0)?;
            device.open(now, &header, packet)
        });
        open.tell();
        whole(opened.map_err(|_| "opening")?.payload, len)?;
    }
    Ok(())
}

fn whole(payload: &[u8], len: usize) -> Result<(), Failure> {
    // A header that is written after the first bytes of the buffer leaves the rest.
    let same = payload.len() == len && payload.iter().all(|&byte| byte == 0x5a);
    same.then_some(()).ok_or("a payload came back changed")
}

/// A DH ratchet at the device: its request, the backend's answer, and the packet with which it moves.
#[inline(never)]
fn rekey(meter: &mut Meter, device: &mut Session<2>, backend: &mut Session<2>) -> Result<(), Failure> {
    let now = Instant::ZERO;
    let hedge = StaticSecret::from_bytes([3; 32]).hedge_key();
    let secret = |seed| {
        EphemeralSecret::generate_hedged(&mut Same(seed), &hedge, b"figures").map_err(|_| "an ephemeral key")
    };
    let mut rekey = meter.operation("rekey");
    let request =
        rekey.run(|| Ok::<_, Failure>(device.start_dh(secret(4)?)))?.ok_or("no ratchet to ask for")?;
    let epoch = device.epoch();
    backend.handle_rekey_request(now, epoch, request).map_err(|_| "the request")?;
    let accept: PublicKey = backend.answer_dh(now, secret(5)?).map_err(|_| "the answer")?;
    let mut out = [0; 100];
    let moved = rekey.run(|| {
        device.handle_rekey_accept(now, epoch, accept).map_err(|_| "the answer is refused")?;
        device.seal(now, &ConnectionId::EMPTY, &mut out, 16).map(|packet| packet.len()).map_err(|_| "sealing")
    })?;
    rekey.tell();
    let packet = out.get_mut(..moved).ok_or("the packet")?;
    let header = DataHeader::parse(packet, 0).map_err(|_| "the header")?;
    backend.open(now, &header, packet).map_err(|_| "the backend does not follow")?;
    (device.dh_ratchets() == 1 && backend.dh_ratchets() == 1).then_some(()).ok_or("no ratchet was done")
}

/// Not random: for keys that no line sees.
struct Same(u8);

impl Entropy for Same {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill(self.0);
        Ok(())
    }
}

/// Encodes a second of the recorded ECG, in the blocks that the monitor makes of it.
#[inline(never)]
fn waveform(meter: &mut Meter) -> Result<(), Failure> {
    let mut set = [0; telemetry::DESCRIPTORS_LEN];
    let len = telemetry::descriptors(&mut set).map_err(|_| "the descriptors")?;
    let set = DescriptorSet::parse(&set[..len]).map_err(|_| "the descriptors")?;
    let mut second = meter.operation("ecg.second");
    let mut bytes = 0;
    for block in 0..BLOCKS {
        let (first, samples) = telemetry::ecg_block(block);
        let block = WaveformBlock::new(telemetry::ECG_CHANNEL, first, &samples);
        let mut out = [0; 300];
        let encoded = second.run(|| encode_waveform(&block, &set, &mut out)).map_err(|_| "encoding")?;
        (encoded.taken == samples.len()).then_some(()).ok_or("a block does not fit")?;
        bytes += encoded.bytes;
    }
    second.tell();
    figure("ecg.second.encoded", bytes as u64, "bytes");
    Ok(())
}

/// Verifies a credential: the device's own, from its page.
#[cfg(feature = "device")]
#[inline(never)]
fn credential(meter: &mut Meter) -> Result<(), Failure> {
    use crate::board;
    use crate::page::{PAGE_LEN, Page};
    use vitalwire::UnixSeconds;
    use vitalwire::crypto::SignatureKey;
    use vitalwire::identity::{Role, Time, TrustAnchors};
    let page = Page::parse(board::page(PAGE_LEN)).ok_or("this device was never provisioned")?;
    let anchors = TrustAnchors::new(&[SignatureKey(page.authority)]).map_err(|_| "the authority's key")?;
    let time = Time::floor_only(UnixSeconds(page.made));
    let mut verify = meter.operation("credential.verify");
    let verified =
        verify.run(|| anchors.verify(page.credential, &PublicKey(page.public), Role::Device, time).map(drop));
    verify.tell();
    verified.map_err(|_| "the device's credential")
}
