//! EDHOC (RFC 9528) as the initiator: lakers with RustCrypto's primitives, method 3, cipher suite 2, credentials sent
//! by value as in an XX handshake.
//!
//! It ends with keys. Records, loss, replay, storage are left to what runs on top, such as OSCORE.
#![no_std]
#![no_main]

mod board;
mod fixed;
mod lakers_device;

mod transcript {
    include!(concat!(env!("OUT_DIR"), "/lakers.rs"));
}

use cortex_m_rt::entry;
use firmware_measure::{Meter, figure};
use lakers::{CredentialTransfer, EDHOCError, EDHOCMethod, EDHOCSuite, EdhocInitiator, EdhocMessageBuffer};
use lakers_device::{Keys, RECORDS, crypto, device_key};

#[entry]
fn main() -> ! {
    board::run(|| session(Meter::new()))
}

fn session(mut meter: Meter) -> Result<(), &'static str> {
    let device_credential = lakers_device::device_credential().map_err(|_| "the device's credential")?;
    let far_credential = lakers_device::far_credential().map_err(|_| "the far end's credential")?;
    let [reply] = transcript::RECEIVED.map(EdhocMessageBuffer::new_from_slice);
    let reply = reply.map_err(|_| "a reply that is too long")?;
    let [sent_1, sent_3] = transcript::SENT;

    let mut handshake = meter.operation("handshake");
    let (device, message_1) = handshake
        .run(|| {
            let device = EdhocInitiator::new(crypto(1), EDHOCMethod::StatStat, EDHOCSuite::CipherSuite2);
            device.prepare_message_1(None, &None)
        })
        .map_err(|_| "writing message 1")?;
    board::same(Some(message_1.as_slice()), sent_1)?;
    let (mut device, message_3) = handshake
        .run(|| {
            let (mut device, _, id_cred_r, _) = device.parse_message_2(&reply)?;
            let far_credential = lakers::credential_check_or_fetch(Some(far_credential), id_cred_r)?;
            device.set_identity(device_key(), device_credential)?;
            let device = device.verify_message_2(far_credential)?;
            let (device, message_3, _) = device.prepare_message_3(CredentialTransfer::ByValue, &None)?;
            Ok::<_, EDHOCError>((device.completed_without_message_4()?, message_3))
        })
        .map_err(|_| "answering message 2")?;
    board::same(Some(message_3.as_slice()), sent_3)?;
    let mut keys = handshake.run(|| Keys::new(|label, len| device.edhoc_exporter(label, &[], len)));
    handshake.tell();
    figure("wire.handshake", board::total(&transcript::SENT) + board::total(&transcript::RECEIVED), "bytes");

    let records = RECORDS.into_iter().zip(transcript::RECORDS_SENT).zip(transcript::RECORDS_RECEIVED);
    for (number, ((len, sent), received)) in (0u8..).zip(records) {
        let names = board::names(len).ok_or("a record of no such size")?;
        let record = [0x5a; 256];
        let record = record.get(..len).ok_or("a record that is too long")?;
        let mut seal = meter.operation(names.seal);
        let sealed = seal.run(|| keys.seal(0, number, record)).map_err(|_| "sealing")?;
        seal.tell();
        board::same(Some(sealed.as_slice()), sent)?;
        figure(names.wire, sealed.as_slice().len() as u64, "bytes");

        let mut open = meter.operation(names.open);
        let opened = open.run(|| keys.open(1, number, received)).map_err(|_| "opening")?;
        open.tell();
        board::same(Some(opened.as_slice()), &[0xa5; 256][..len])?;
    }
    meter.tell_peaks();
    Ok(())
}
