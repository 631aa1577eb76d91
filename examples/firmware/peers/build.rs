//! Puts `memory.x` where the linker finds it, and plays each protocol through: what the far end says becomes a
//! transcript that the image is built with, next to what the far end has accepted from the device.

use std::path::PathBuf;
use std::{env, fs};

#[cfg(feature = "snow")]
#[path = "src/snow_device.rs"]
mod snow_device;

type Failure = Box<dyn std::error::Error>;

/// The bytes of a run, in the order in which they were said.
#[derive(Default)]
#[cfg_attr(not(any(feature = "snow", feature = "lakers")), expect(dead_code, reason = "no peer is built"))]
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
    #[cfg(feature = "snow")]
    fs::write(out.join("snow.rs"), snow_far_end()?.source())?;
    Ok(())
}

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
