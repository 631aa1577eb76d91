//! What the benches share: fixed identities, a bare snow session on the pure Rust primitives, and medians side by side.

#![allow(dead_code, reason = "each bench uses a part of this")]

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use std::time::{Duration, Instant};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::identity::*;
use vitalwire::{Entropy, OsEntropy, UnixSeconds};
use x25519_dalek::{PublicKey, StaticSecret as Secret};

pub(crate) const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);
/// The sizes of plaintexts that telemetry has.
pub(crate) const SIZES: [usize; 4] = [16, 64, 256, 1024];

/// Whether this run only shows that the benches work.
pub(crate) fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

pub(crate) fn time() -> Time {
    Time::known(CLOCK)
}

pub(crate) fn authority() -> Authority {
    Authority::new(SigningKey::from_bytes([1; 32]))
}

pub(crate) fn identity(authority: &Authority, subject: u32, role: Role) -> LocalIdentity {
    let secret = StaticSecret::generate(&mut OsEntropy).expect("the system's generator works");
    let mut name = [0u8; 16];
    name[..4].copy_from_slice(&subject.to_le_bytes());
    let (from, until) = (UnixSeconds(CLOCK.0 - 1000), UnixSeconds(CLOCK.0 + 1000));
    let request = CredentialRequest::new(subject, SubjectId(name), role, Scopes::PUBLISH, from, until);
    LocalIdentity::issue(authority, secret, &request).expect("the times are in range")
}

/// One of several contenders: does its work so many times and says how long that took.
pub(crate) type Contender<'c> = (&'static str, &'c mut dyn FnMut(u64) -> Duration);

/// Measures contenders in turn, many times; prints the lower quartiles, and of each turn's ratio to the first the median.
/// So what else the machine does hardly shows.
pub(crate) fn side_by_side(what: &str, iterations: u64, contenders: &mut [Contender<'_>]) {
    let (turns, iterations) = if is_test() { (1, 8) } else { (101, iterations) };
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..turns {
        for ((_, work), times) in contenders.iter_mut().zip(&mut times) {
            times.push(work(iterations).as_secs_f64() * 1e9 / iterations as f64);
        }
    }
    print!("{what:<20}");
    for ((name, _), own) in contenders.iter().zip(&times) {
        let ratios = own.iter().zip(&times[0]).map(|(time, first)| time / first).collect();
        let (time, ratio) = (quantile(own.clone(), 4), quantile(ratios, 2));
        print!("  {name} {time:>8.0} ns ({ratio:.2}x)");
    }
    println!();
}

/// The value below which one in `parts` of them lies.
fn quantile(mut values: Vec<f64>, parts: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / parts]
}

/// Times `work` on prepared items: `prepare` fills some before each stretch, outside the clock.
pub(crate) fn timed<T>(
    iterations: u64,
    prepare: impl FnMut(usize) -> Vec<T>,
    work: impl FnMut(&mut T),
) -> Duration {
    timed_by(iterations, 64, prepare, work)
}

/// As [`timed`], with at most so many items a stretch.
pub(crate) fn timed_by<T>(
    iterations: u64,
    stretch: usize,
    mut prepare: impl FnMut(usize) -> Vec<T>,
    mut work: impl FnMut(&mut T),
) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let count = left.min(stretch as u64);
        let mut items = prepare(count as usize);
        let start = Instant::now();
        for item in &mut items {
            work(item);
        }
        total += start.elapsed();
        left -= count;
    }
    total
}

/// A random permutation of so many sessions, gone through again and again: at many sessions, what the next one needs is in
/// no cache.
pub(crate) struct Walk {
    order: Vec<u32>,
    at: usize,
}

impl Walk {
    pub(crate) fn new(count: usize, mut seed: u64) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(count).expect("fewer than 2^32 sessions")).collect();
        for at in (1..count).rev() {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        Self { order, at: 0 }
    }

    pub(crate) fn next(&mut self) -> usize {
        self.at = (self.at + 1) % self.order.len();
        self.order[self.at] as usize
    }
}

/// The key of a session of a bare cipher.
pub(crate) fn key_of(number: usize) -> [u8; 32] {
    let bytes = number.to_le_bytes();
    std::array::from_fn(|at| bytes[at % bytes.len()] ^ at as u8)
}

/// snow's builder on the crates that this library uses by default, so that a comparison shows the protocols and not the ciphers.
pub(crate) fn snow_builder(pattern: &str) -> snow::Builder<'_> {
    let name = format!("Noise_{pattern}_25519_ChaChaPoly_BLAKE2s");
    let params = name.parse().expect("a Noise protocol name");
    snow::Builder::with_resolver(params, Box::new(Plain))
}

/// A pair of finished sessions: initiator, responder.
pub(crate) fn snow_session() -> (snow::TransportState, snow::TransportState) {
    let mut initiator = snow_builder("NN").build_initiator().expect("NN needs no keys");
    let mut responder = snow_builder("NN").build_responder().expect("NN needs no keys");
    let (mut message, mut payload) = ([0u8; 128], [0u8; 128]);
    let len = initiator.write_message(&[], &mut message).expect("room");
    responder.read_message(&message[..len], &mut payload).expect("genuine");
    let len = responder.write_message(&[], &mut message).expect("room");
    initiator.read_message(&message[..len], &mut payload).expect("genuine");
    let done = "the handshake is finished";
    (initiator.into_transport_mode().expect(done), responder.into_transport_mode().expect(done))
}

struct Plain;

impl CryptoResolver for Plain {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(System))
    }
    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(X25519 { secret: Secret::from([0; 32]), public: [0; 32] }))
    }
    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Blake2s(blake2::Digest::new())))
    }
    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly([0; 32])))
    }
}

struct System;

impl Random for System {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        OsEntropy.fill(out).map_err(|_| snow::Error::Rng)
    }
}

struct X25519 {
    secret: Secret,
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, secret: &[u8]) {
        self.secret = Secret::from(*secret.first_chunk::<32>().expect("32 bytes"));
        self.public = PublicKey::from(&self.secret).to_bytes();
    }
    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = [0u8; 32];
        random.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        Ok(())
    }
    fn pubkey(&self) -> &[u8] {
        &self.public
    }
    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = PublicKey::from(*public.first_chunk::<32>().ok_or(snow::Error::Dh)?);
        out[..32].copy_from_slice(self.secret.diffie_hellman(&public).as_bytes());
        Ok(())
    }
}

struct Blake2s(blake2::Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }
    fn block_len(&self) -> usize {
        64
    }
    fn hash_len(&self) -> usize {
        32
    }
    fn reset(&mut self) {
        self.0 = blake2::Digest::new();
    }
    fn input(&mut self, data: &[u8]) {
        blake2::Digest::update(&mut self.0, data);
    }
    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&blake2::Digest::finalize_reset(&mut self.0));
    }
}

/// As in snow's own resolver: the key is expanded for each message.
struct ChaChaPoly([u8; 32]);

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }
    fn set(&mut self, key: &[u8; 32]) {
        self.0 = *key;
    }
    fn encrypt(&self, counter: u64, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (body, tag) = out[..plaintext.len() + 16].split_at_mut(plaintext.len());
        let buffer = InOutBuf::new(plaintext, body).expect("equal lengths");
        let sealed = ChaCha20Poly1305::new(&self.0.into())
            .encrypt_inout_detached(&nonce(counter).into(), aad, buffer)
            .expect("short enough");
        tag.copy_from_slice(&sealed);
        plaintext.len() + 16
    }
    fn decrypt(
        &self,
        counter: u64,
        aad: &[u8],
        message: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let (body, tag) = message.split_last_chunk::<16>().ok_or(snow::Error::Decrypt)?;
        let buffer = InOutBuf::new(body, &mut out[..body.len()]).expect("equal lengths");
        ChaCha20Poly1305::new(&self.0.into())
            .decrypt_inout_detached(&nonce(counter).into(), aad, buffer, &(*tag).into())
            .map_err(|_| snow::Error::Decrypt)?;
        Ok(body.len())
    }
}
