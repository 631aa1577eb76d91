//! How the pinned snow behaves after a failed read or in a buffer that is too small. The protocol rests on it
//! (SPEC.md, "Handshake errors"): a forged Reply or Finish must not kill a handshake.

use super::party::{DEVICE, Party, Pattern, Role, read, write};
use crate::crypto::StaticSecret;
use snow::HandshakeState;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Bytes of message 3 of XX and XXpsk3 that hold the encrypted static key and its tag.
const STATIC_PART: usize = 32 + 16;

/// The messages of a device's wait for a Reply and of a backend's wait for a Finish.
const REPLIES: [Pattern; 5] = Pattern::ALL;
const FINISHES: [Pattern; 2] = [Pattern::Xx, Pattern::XxPsk3];

fn payload(number: usize) -> String {
    format!("payload of message {number}")
}

/// A handshake in which message `number` is written and not yet read.
struct Pending {
    pattern: Pattern,
    number: usize,
    writer: HandshakeState,
    reader: HandshakeState,
    message: Vec<u8>,
}

impl Pending {
    fn new(pattern: Pattern, number: usize) -> Self {
        let (mut writer, mut reader) = pattern.pair();
        let mut message = write(&mut writer, payload(1).as_bytes()).unwrap();
        for next in 2..=number {
            read(&mut reader, &message).unwrap();
            (writer, reader) = (reader, writer);
            message = write(&mut writer, payload(next).as_bytes()).unwrap();
        }
        Self { pattern, number, writer, reader, message }
    }

    /// Reads what is not the genuine message, and holds that it neither succeeds nor seems to.
    fn refuses(&mut self, forged: &[u8]) {
        assert_ne!(forged, self.message);
        assert!(read(&mut self.reader, forged).is_err());
        assert!(!self.reader.is_my_turn() && !self.reader.is_handshake_finished());
    }

    /// Reads the genuine message and finishes the handshake.
    fn completes(mut self) {
        assert_eq!(read(&mut self.reader, &self.message).unwrap(), payload(self.number).as_bytes());
        for number in self.number + 1..=self.pattern.messages() {
            (self.writer, self.reader) = (self.reader, self.writer);
            let message = write(&mut self.writer, payload(number).as_bytes()).unwrap();
            assert_eq!(read(&mut self.reader, &message).unwrap(), payload(number).as_bytes());
        }
        assert!(self.writer.is_handshake_finished() && self.reader.is_handshake_finished());
        assert_eq!(self.writer.get_handshake_hash(), self.reader.get_handshake_hash());
        assert_eq!(self.writer.dangerously_get_raw_split(), self.reader.dangerously_get_raw_split());
        for state in [&self.writer, &self.reader] {
            let other = if state.is_initiator() { Role::Responder } else { Role::Initiator };
            let identity = Party::of(self.pattern, other).identity;
            let expected = identity.map(|secret| StaticSecret::from_bytes(secret).public_key().0);
            assert_eq!(state.get_remote_static(), expected.as_ref().map(|key| &key[..]));
        }
    }
}

/// Every single-bit change of the first `length` bytes, and the message cut off at each of them.
fn forgeries(message: &[u8], length: usize) -> Vec<Vec<u8>> {
    let flipped = (0..length * 8).map(|bit| {
        let mut forged = message.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        forged
    });
    flipped.chain((0..length).map(|cut| message[..cut].to_vec())).collect()
}

/// Holds that the genuine message is still read: after each forgery by itself, and after all of them in a row.
fn survives(pattern: Pattern, number: usize, forgeries: &[Vec<u8>]) {
    let mut all = Pending::new(pattern, number);
    for forged in forgeries {
        let mut one = Pending::new(pattern, number);
        one.refuses(forged);
        one.completes();
        all.refuses(forged);
    }
    all.completes();
}

//= SPEC.md#handshake-errors
//= type=test
//# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
#[test]
fn forged_reply_leaves_the_handshake_pending() {
    for pattern in REPLIES {
        let message = Pending::new(pattern, 2).message;
        let mut forged = forgeries(&message, message.len());
        forged.push([&message[..], &[0]].concat());
        forged.push(std::vec![0; 65536]);
        survives(pattern, 2, &forged);
    }
}

//= SPEC.md#handshake-errors
//= type=test
//# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
#[test]
fn finish_forged_in_its_static_key_leaves_the_handshake_pending() {
    for pattern in FINISHES {
        let message = Pending::new(pattern, 3).message;
        assert_eq!(message.len(), STATIC_PART + payload(3).len() + 16);
        let mut forged = forgeries(&message, STATIC_PART);
        // Who has not the keys cannot do better than random bytes of the right length.
        forged.push(std::vec![0xA7; message.len()]);
        survives(pattern, 3, &forged);
    }
}

/// The exception that SPEC.md, "Handshake errors", names: snow does not go back to the key that decrypts the static
/// key. If this test fails, a new snow has mended that, and SPEC.md can promise more.
#[test]
fn finish_altered_after_its_static_key_costs_the_handshake() {
    for pattern in FINISHES {
        let message = Pending::new(pattern, 3).message;
        let flipped = (STATIC_PART..message.len()).map(|at| {
            let mut forged = message.clone();
            forged[at] ^= 1 << (at % 8);
            forged
        });
        let cut = (STATIC_PART..message.len()).map(|cut| message[..cut].to_vec());
        let longer = [[&message[..], &[0]].concat()];
        for forged in flipped.chain(cut).chain(longer) {
            let mut pending = Pending::new(pattern, 3);
            pending.refuses(&forged);
            assert_eq!(read(&mut pending.reader, &message), Err(snow::Error::Decrypt));
            assert!(!pending.reader.is_handshake_finished());
        }
    }
}

//= SPEC.md#handshake-errors
//= type=test
//# Nothing from a Noise message MUST be used before the whole message has been read successfully.
#[test]
fn static_key_of_a_failed_reply_stays_behind_in_snow() {
    for pattern in FINISHES {
        // Someone on the path answers the Hello with keys of his own and spoils the payload's tag.
        let mut device = Party::of(pattern, Role::Initiator).build();
        let mut backend = Party::of(pattern, Role::Responder).build();
        let mut other = Party::of(pattern, Role::Responder);
        other.identity = Some([0x66; 32]);
        other.ephemeral = [0x77; 32];
        let mut other = other.build();
        let hello = write(&mut device, payload(1).as_bytes()).unwrap();
        read(&mut other, &hello).unwrap();
        let mut forged = write(&mut other, payload(2).as_bytes()).unwrap();
        *forged.last_mut().unwrap() ^= 1;
        assert!(read(&mut device, &forged).is_err());
        // This is why a remote static key may be asked for only after a read has succeeded.
        let stranger = StaticSecret::from_bytes([0x66; 32]).public_key();
        assert_eq!(device.get_remote_static(), Some(&stranger.0[..]));

        read(&mut backend, &hello).unwrap();
        let message = write(&mut backend, payload(2).as_bytes()).unwrap();
        Pending { pattern, number: 2, writer: backend, reader: device, message }.completes();
    }
}

#[test]
fn failed_read_gives_no_plaintext() {
    for pattern in REPLIES {
        let mut pending = Pending::new(pattern, 2);
        *pending.message.last_mut().unwrap() ^= 1;
        let mut out = [0; 1024];
        assert!(pending.reader.read_message(&pending.message, &mut out).is_err());
        let plaintext = payload(2);
        assert!(!out.windows(8).any(|window| plaintext.as_bytes().windows(8).any(|part| part == window)));
    }
}

/// The psk counts: who has all else and another psk is refused, and the genuine message is still read.
#[test]
fn reply_under_another_psk_is_refused() {
    for pattern in [Pattern::IkPsk2, Pattern::NnPsk0] {
        let mut pending = Pending::new(pattern, 2);
        let mut other = Party::of(pattern, Role::Responder);
        other.psk = Some([0x56; 32]);
        let mut other = other.build();
        let hello = write(&mut Party::of(pattern, Role::Initiator).build(), payload(1).as_bytes()).unwrap();
        match pattern {
            Pattern::NnPsk0 => assert!(read(&mut other, &hello).is_err()),
            _ => {
                read(&mut other, &hello).unwrap();
                let reply = write(&mut other, payload(2).as_bytes()).unwrap();
                pending.refuses(&reply);
                pending.completes();
            }
        }
    }
}

#[test]
fn prologue_counts_in_every_pattern() {
    for pattern in Pattern::ALL {
        let mut device = Party::of(pattern, Role::Initiator).build();
        let mut other = Party::of(pattern, Role::Responder);
        other.prologue.push(0);
        let mut other = other.build();
        let hello = write(&mut device, payload(1).as_bytes()).unwrap();
        // XX's first message is in clear, so there the difference shows in the second.
        if read(&mut other, &hello).is_ok() {
            assert_eq!(pattern, Pattern::Xx);
            let reply = write(&mut other, payload(2).as_bytes()).unwrap();
            assert!(read(&mut device, &reply).is_err());
        }
    }
}

/// snow reserves 32 bytes for an encrypted static key and not 48. A message buffer of a length in between is then not
/// an error but a short message, so buffers must be large enough by construction and the written length be checked.
#[test]
fn write_into_a_small_buffer_never_yields_a_whole_message() {
    let mut unnoticed = Vec::new();
    for pattern in Pattern::ALL {
        for number in 1..=pattern.messages() {
            let whole = Pending::new(pattern, number).message.len();
            for length in 0..whole {
                let mut writer = match number {
                    1 => pattern.pair().0,
                    _ => {
                        let mut before = Pending::new(pattern, number - 1);
                        read(&mut before.reader, &before.message).unwrap();
                        before.reader
                    }
                };
                let mut out = std::vec![0; length];
                match writer.write_message(payload(number).as_bytes(), &mut out) {
                    Err(error) => assert_eq!(error, snow::Error::Input),
                    Ok(written) => {
                        assert!(written < whole);
                        unnoticed.push((pattern, number));
                        // What was written is garbage, and says nothing that is not public: no static key.
                        let device = StaticSecret::from_bytes(DEVICE).public_key();
                        assert!(!out.windows(32).any(|window| window == device.0));
                    }
                }
            }
        }
    }
    unnoticed.dedup();
    use Pattern::{Ik, IkPsk2, Xx, XxPsk3};
    assert_eq!(unnoticed, [(Xx, 2), (Xx, 3), (Ik, 1), (XxPsk3, 2), (XxPsk3, 3), (IkPsk2, 1)]);
}
