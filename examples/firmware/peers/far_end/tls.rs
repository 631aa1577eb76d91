//! A TLS 1.3 server for one client: a pre-shared key with ECDHE on P-256, AES-128-GCM, SHA-256 (RFC 8446).
//!
//! It checks what authenticates the client, its binder and its Finished, and panics on anything it does not expect.

use crate::fixed::Fixed;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes128Gcm, KeyInit};
use embedded_io::{ErrorType, Read, Write};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;

/// The server, which the client reads from and writes to.
pub struct Server(RefCell<State>);

struct State {
    psk: &'static [u8],
    identity: &'static [u8],
    phase: Phase,
    transcript: Sha256,
    from_client: Option<Keys>,
    to_client: Option<Keys>,
    pending: Vec<u8>,
    records: Vec<Vec<u8>>,
    said: Vec<Vec<u8>>,
    to_read: VecDeque<u8>,
    opened: Vec<u8>,
}

enum Phase {
    Hello,
    Finished { expected: Vec<u8>, master: [u8; 32] },
    Open,
}

/// The keys of one direction.
struct Keys {
    cipher: Aes128Gcm,
    iv: [u8; 12],
    number: u64,
}

impl Keys {
    fn new(secret: &[u8; 32]) -> Self {
        let key = expand(secret, "key", &[], 16);
        let iv = expand(secret, "iv", &[], 12);
        Self { cipher: Aes128Gcm::new_from_slice(&key).unwrap(), iv: iv.try_into().unwrap(), number: 0 }
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        nonce
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let inner = [content, &[kind]].concat();
        let mut record = vec![APPLICATION, 3, 3];
        record.extend((inner.len() as u16 + 16).to_be_bytes());
        let nonce = self.nonce();
        let sealed = self.cipher.encrypt(&nonce.into(), Payload { msg: &inner, aad: &record }).unwrap();
        record.extend(sealed);
        record
    }

    fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let (header, sealed) = record.split_at(5);
        let nonce = self.nonce();
        let mut inner = self.cipher.decrypt(&nonce.into(), Payload { msg: sealed, aad: header }).unwrap();
        while inner.last() == Some(&0) {
            inner.pop();
        }
        (inner.pop().unwrap(), inner)
    }
}

/// HKDF-Expand-Label: RFC 8446, section 7.1.
fn expand(secret: &[u8; 32], label: &str, context: &[u8], len: u16) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let mut info = len.to_be_bytes().to_vec();
    info.push(label.len() as u8);
    info.extend(label.as_bytes());
    info.push(context.len() as u8);
    info.extend(context);
    let mut out = vec![0; len.into()];
    Hkdf::<Sha256>::from_prk(secret).unwrap().expand(&info, &mut out).unwrap();
    out
}

/// Derive-Secret: RFC 8446, section 7.1.
fn derive(secret: &[u8; 32], label: &str, transcript: &Sha256) -> [u8; 32] {
    expand(secret, label, &transcript.clone().finalize(), 32).try_into().unwrap()
}

fn extract(salt: &[u8; 32], input: &[u8]) -> [u8; 32] {
    Hkdf::<Sha256>::extract(Some(salt), input).0.into()
}

/// The MAC of a binder or a Finished: RFC 8446, section 4.4.4.
fn finished(secret: &[u8; 32], transcript: &Sha256) -> Vec<u8> {
    let key = expand(secret, "finished", &[], 32);
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
    mac.update(&transcript.clone().finalize());
    mac.finalize().into_bytes().to_vec()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

impl Server {
    pub fn new(psk: &'static [u8], identity: &'static [u8]) -> Self {
        Self(RefCell::new(State {
            psk,
            identity,
            phase: Phase::Hello,
            transcript: Sha256::new(),
            from_client: None,
            to_client: None,
            pending: Vec::new(),
            records: Vec::new(),
            said: Vec::new(),
            to_read: VecDeque::new(),
            opened: Vec::new(),
        }))
    }

    /// The records of the client since the last call.
    pub fn take_received(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.borrow_mut().records)
    }

    /// The records of the server since the last call.
    pub fn take_said(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.borrow_mut().said)
    }

    /// What the client's application has said since the last call.
    pub fn open(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().opened)
    }

    /// Says something to the client's application.
    pub fn say(&self, content: &[u8]) {
        let state = &mut *self.0.borrow_mut();
        let record = state.to_client.as_mut().unwrap().seal(APPLICATION, content);
        state.say(record);
    }
}

impl State {
    fn say(&mut self, record: Vec<u8>) {
        self.to_read.extend(&record);
        self.said.push(record);
    }

    fn receive(&mut self, record: Vec<u8>) {
        self.records.push(record.clone());
        match (record[0], &self.phase) {
            (HANDSHAKE, Phase::Hello) => self.hello(&record[5..]),
            (APPLICATION, Phase::Finished { expected, master }) => {
                let (kind, content) = self.from_client.as_mut().unwrap().open(&record);
                assert_eq!((kind, &content), (HANDSHAKE, expected), "the client's Finished");
                self.from_client = Some(Keys::new(&derive(master, "c ap traffic", &self.transcript)));
                self.to_client = Some(Keys::new(&derive(master, "s ap traffic", &self.transcript)));
                self.phase = Phase::Open;
            }
            (APPLICATION, Phase::Open) => {
                let (kind, content) = self.from_client.as_mut().unwrap().open(&record);
                assert_eq!(kind, APPLICATION);
                self.opened.extend(content);
            }
            (CHANGE_CIPHER_SPEC, _) => {}
            (kind, _) => panic!("unexpected record of type {kind}"),
        }
    }

    /// Answers a ClientHello with everything that the server has to say.
    fn hello(&mut self, hello: &[u8]) {
        // The binder is the last: its list has a length of two bytes, itself one.
        let (bound, binder) = hello.split_at(hello.len() - 35);
        let none = Sha256::new();
        let early = extract(&[0; 32], self.psk);
        let binder_key = derive(&early, "ext binder", &none);
        let before = Sha256::new_with_prefix(bound);
        assert_eq!(binder[3..], finished(&binder_key, &before), "the client's binder");
        assert!(bound.windows(self.identity.len()).any(|part| part == self.identity), "the identity");

        // Extension 51 with one share of P-256: 0x0033, its length, the list's length, 0x0017, 65 bytes.
        let head = [0, 51, 0, 71, 0, 69, 0, 23, 0, 65];
        let at = hello.windows(head.len()).position(|part| part == head).expect("a share of P-256");
        let theirs = p256::PublicKey::from_sec1_bytes(&hello[at + 10..][..65]).unwrap();
        let ours = p256::ecdh::EphemeralSecret::random(&mut Fixed(2));
        let shared = ours.diffie_hellman(&theirs);
        let point = ours.public_key().to_encoded_point(false);

        let share = with_length(&[&[0, 23], &with_length(point.as_bytes())[..]].concat()[..]);
        let extensions = [
            [&[0, 51], &share[..]].concat(),
            vec![0, 43, 0, 2, 3, 4], // TLS 1.3
            vec![0, 41, 0, 2, 0, 0], // the first key
        ];
        let mut body = vec![3, 3];
        body.extend([0x33; 32]);
        body.extend([0, 0x13, 0x01, 0]); // no session, AES-128-GCM with SHA-256, no compression
        body.extend(with_length(&extensions.concat()));
        let reply = message(2, &body);
        self.transcript.update(hello);
        self.transcript.update(&reply);
        self.say([&[HANDSHAKE, 3, 3], &with_length(&reply)[..]].concat());

        let handshake = extract(&derive(&early, "derived", &none), shared.raw_secret_bytes());
        let client = derive(&handshake, "c hs traffic", &self.transcript);
        let server = derive(&handshake, "s hs traffic", &self.transcript);
        let master = extract(&derive(&handshake, "derived", &none), &[0; 32]);
        let mut keys = Keys::new(&server);
        let extensions = message(8, &[0, 0]);
        self.transcript.update(&extensions);
        let end = message(20, &finished(&server, &self.transcript));
        self.transcript.update(&end);
        self.say(keys.seal(HANDSHAKE, &[extensions, end].concat()));
        self.from_client = Some(Keys::new(&client));
        let expected = message(20, &finished(&client, &self.transcript));
        self.phase = Phase::Finished { expected, master };
    }
}

impl ErrorType for &Server {
    type Error = Infallible;
}

impl Write for &Server {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let state = &mut *self.0.borrow_mut();
        state.pending.extend(bytes);
        while state.pending.len() >= 5 {
            let len = 5 + usize::from(u16::from_be_bytes([state.pending[3], state.pending[4]]));
            if state.pending.len() < len {
                break;
            }
            let record = state.pending.drain(..len).collect();
            state.receive(record);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Read for &Server {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        Ok(std::io::Read::read(&mut self.0.borrow_mut().to_read, out).unwrap())
    }
}
