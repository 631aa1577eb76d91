//! Puts `memory.x` where the linker finds it, and plays each protocol through: what the far end says becomes a
//! transcript that the image is built with, next to what the far end has accepted from the device.

use std::path::PathBuf;
use std::{env, fs};

#[cfg(feature = "snow")]
#[path = "src/snow_device.rs"]
mod snow_device;

#[cfg(any(feature = "lakers", feature = "tls"))]
#[path = "src/fixed.rs"]
mod fixed;
#[cfg(feature = "lakers")]
#[path = "src/lakers_device.rs"]
mod lakers_device;
#[cfg(feature = "tls")]
#[path = "src/tls_device.rs"]
mod tls_device;
#[cfg(feature = "tls")]
#[path = "far_end/tls.rs"]
mod tls_far_end;

type Failure = Box<dyn std::error::Error>;

/// The bytes of a run, in the order in which they were said.
#[derive(Default)]
#[cfg_attr(
    not(any(feature = "snow", feature = "lakers", feature = "tls")),
    expect(dead_code, reason = "no peer is built")
)]
struct Transcript {
    /// The handshake, from the device.
    sent: Vec<Vec<u8>>,
    /// The handshake, from the far end.
    received: Vec<Vec<u8>>,
    /// Records from the device, one for each of `RECORDS`.
    records_sent: Vec<Vec<u8>>,
    /// Records from the far end, one for each of `RECORDS`.
    records_received: Vec<Vec<u8>>,
}

fn main() -> Result<(), Failure> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("../memory.x", out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=../memory.x");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=far_end");
    #[cfg(feature = "snow")]
    fs::write(out.join("snow.rs"), snow_far_end()?.source())?;
    #[cfg(feature = "lakers")]
    fs::write(out.join("lakers.rs"), lakers_far_end().map_err(|error| format!("{error:?}"))?.source())?;
    #[cfg(feature = "tls")]
    fs::write(out.join("tls.rs"), tls_far_end().map_err(|error| format!("{error:?}"))?.source())?;
    Ok(())
}

#[cfg(any(feature = "snow", feature = "lakers", feature = "tls"))]
impl Transcript {
    fn source(&self) -> String {
        let lists = [
            ("SENT", &self.sent),
            ("RECEIVED", &self.received),
            ("RECORDS_SENT", &self.records_sent),
            ("RECORDS_RECEIVED", &self.records_received),
        ];
        let line = |(name, list): (&str, &Vec<Vec<u8>>)| {
            let items: Vec<String> = list.iter().map(|bytes| format!("&{bytes:?}")).collect();
            format!("pub const {name}: [&[u8]; {}] = [{}];\n", list.len(), items.join(", "))
        };
        lists.map(line).concat()
    }
}

/// Both ends of a Noise XX, and their records.
#[cfg(feature = "snow")]
fn snow_far_end() -> Result<Transcript, Failure> {
    use snow_device::{RECORDS, builder};
    let mut transcript = Transcript::default();
    let mut buffer = [0u8; 512];
    let mut payload = [0u8; 512];
    let mut device = builder(1)?.build_initiator()?;
    let mut far = builder(2)?.build_responder()?;
    while !far.is_handshake_finished() {
        let len = device.write_message(&[], &mut buffer)?;
        far.read_message(&buffer[..len], &mut payload)?;
        transcript.sent.push(buffer[..len].to_vec());
        if !far.is_handshake_finished() {
            let len = far.write_message(&[], &mut buffer)?;
            device.read_message(&buffer[..len], &mut payload)?;
            transcript.received.push(buffer[..len].to_vec());
        }
    }
    let mut device = device.into_transport_mode()?;
    let mut far = far.into_transport_mode()?;
    for len in RECORDS {
        let sealed = device.write_message(&vec![0x5a; len], &mut buffer)?;
        let opened = far.read_message(&buffer[..sealed], &mut payload)?;
        assert_eq!(payload[..opened], vec![0x5a; len]);
        transcript.records_sent.push(buffer[..sealed].to_vec());
        let sealed = far.write_message(&vec![0xa5; len], &mut buffer)?;
        transcript.records_received.push(buffer[..sealed].to_vec());
    }
    Ok(transcript)
}

/// Both ends of EDHOC, and records under the keys that it agrees on.
#[cfg(feature = "lakers")]
fn lakers_far_end() -> Result<Transcript, lakers::EDHOCError> {
    use lakers::{CredentialTransfer, EDHOCMethod, EDHOCSuite, EdhocInitiator, EdhocResponder};
    use lakers_device::{Keys, RECORDS, crypto, device_key};
    let far_key = [
        0x72, 0xcc, 0x47, 0x61, 0xdb, 0xd4, 0xc7, 0x8f, 0x75, 0x89, 0x31, 0xaa, 0x58, 0x9d, 0x34, 0x8d, 0x1e,
        0xf8, 0x74, 0xa7, 0xe3, 0x03, 0xed, 0xe2, 0xf1, 0x40, 0xdc, 0xf3, 0xe6, 0xaa, 0x4a, 0xac,
    ];
    let mut transcript = Transcript::default();
    let (cred_i, cred_r) = (lakers_device::device_credential()?, lakers_device::far_credential()?);

    let device = EdhocInitiator::new(crypto(1), EDHOCMethod::StatStat, EDHOCSuite::CipherSuite2);
    let (device, message_1) = device.prepare_message_1(None, &None)?;
    let far = EdhocResponder::new(crypto(2), EDHOCMethod::StatStat, far_key, cred_r.clone());
    let (far, _, _) = far.process_message_1(&message_1)?;
    let (far, message_2) = far.prepare_message_2(CredentialTransfer::ByValue, None, &None)?;
    let (mut device, _, id_cred_r, _) = device.parse_message_2(&message_2)?;
    let cred_r = lakers::credential_check_or_fetch(Some(cred_r), id_cred_r)?;
    device.set_identity(device_key(), cred_i.clone())?;
    let device = device.verify_message_2(cred_r)?;
    let (device, message_3, _) = device.prepare_message_3(CredentialTransfer::ByValue, &None)?;
    let mut device = device.completed_without_message_4()?;
    let (far, id_cred_i, _) = far.parse_message_3(&message_3)?;
    let cred_i = lakers::credential_check_or_fetch(Some(cred_i), id_cred_i)?;
    let (far, _) = far.verify_message_3(cred_i)?;
    let mut far = far.completed_without_message_4()?;
    transcript.sent = vec![message_1.as_slice().to_vec(), message_3.as_slice().to_vec()];
    transcript.received = vec![message_2.as_slice().to_vec()];

    let mut device = Keys::new(|label, len| device.edhoc_exporter(label, &[], len));
    let mut far = Keys::new(|label, len| far.edhoc_exporter(label, &[], len));
    for (number, len) in (0u8..).zip(RECORDS) {
        let sealed = device.seal(0, number, &vec![0x5a; len])?;
        assert_eq!(far.open(0, number, sealed.as_slice())?.as_slice(), vec![0x5a; len]);
        transcript.records_sent.push(sealed.as_slice().to_vec());
        transcript.records_received.push(far.seal(1, number, &vec![0xa5; len])?.as_slice().to_vec());
    }
    Ok(transcript)
}

/// Both ends of TLS 1.3 with a pre-shared key, and their records.
#[cfg(feature = "tls")]
fn tls_far_end() -> Result<Transcript, embedded_tls::TlsError> {
    use tls_device::{BUFFER, RECORDS, config, context};
    use tls_far_end::Server;
    let mut transcript = Transcript::default();
    let (mut incoming, mut outgoing) = ([0; BUFFER], [0; BUFFER]);
    let server = Server::new(tls_device::SECRET, tls_device::IDENTITY);
    let mut device = embedded_tls::blocking::TlsConnection::new(&server, &mut incoming, &mut outgoing);
    let config = config();
    device.open(context(&config))?;
    transcript.sent = server.take_received();
    transcript.received = server.take_said();
    for len in RECORDS {
        let record = vec![0x5a; len];
        assert_eq!(device.write(&record)?, len);
        device.flush()?;
        assert_eq!(server.open(), record);
        transcript.records_sent.push(server.take_received().concat());
        server.say(&vec![0xa5; len]);
        let mut opened = vec![0; len];
        assert_eq!(device.read(&mut opened)?, len);
        assert_eq!(opened, vec![0xa5; len]);
        transcript.records_received.push(server.take_said().concat());
    }
    Ok(transcript)
}
