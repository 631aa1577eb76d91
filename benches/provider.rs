//! The two crypto providers in one process: what a packet, an exchange of keys and a signature take of either, and what a
//! session would gain if it kept AWS-LC's form of its keys. `cargo bench --features aws-lc-rs --bench provider`.

mod common;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use common::{Contender, SIZES, is_test, side_by_side};
use ed25519_dalek::Signer;
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::crypto::{PROVIDER, PublicKey, SigningKey, StaticSecret, TAG_LEN, hazmat};

const KEY: [u8; 32] = [7; 32];
const AAD: [u8; 7] = [0x88, 1, 2, 3, 4, 5, 9];

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

fn aws_lc(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes"))
}

fn time(iterations: u64, mut work: impl FnMut(u64)) -> Duration {
    let start = Instant::now();
    for n in 0..iterations {
        work(n);
    }
    start.elapsed()
}

type Packet = (Vec<u8>, [u8; TAG_LEN]);

fn packet(key: &[u8; 32], len: usize) -> Packet {
    let mut body = vec![0x55; len];
    let tag = hazmat::seal(key, 1, &AAD, &mut body).expect("short enough");
    (body, tag)
}

fn seal_kept(key: &LessSafeKey, counter: u64, body: &mut [u8]) {
    let nonce = Nonce::assume_unique_for_key(nonce(counter));
    _ = black_box(key.seal_in_place_separate_tag(nonce, Aad::from(&AAD), body).expect("short enough"));
}

fn open_kept(key: &LessSafeKey, (sealed, tag): &Packet, body: &mut [u8]) {
    let nonce = Nonce::assume_unique_for_key(nonce(1));
    body.copy_from_slice(sealed);
    black_box(key.open_in_place_separate_tag(nonce, Aad::from(&AAD), tag, body).expect("genuine"));
}

fn open(key: &[u8; 32], (sealed, tag): &Packet, body: &mut [u8]) {
    body.copy_from_slice(sealed);
    hazmat::open(key, 1, &AAD, body, tag).expect("genuine");
}

fn packets(len: usize) {
    let kept = aws_lc(&KEY);
    let (mut first, mut second, mut third) = (vec![0x55; len], vec![0x55; len], vec![0x55; len]);
    side_by_side(
        &format!("seal {len} bytes"),
        256,
        &mut [
            ("key kept", &mut |n| time(n, |counter| seal_kept(black_box(&kept), counter, &mut first))),
            ("vitalwire", &mut |n| {
                time(n, |counter| _ = black_box(hazmat::seal(black_box(&KEY), counter, &AAD, &mut second)))
            }),
            ("pure Rust", &mut |n| {
                time(n, |counter| {
                    let cipher = ChaCha20Poly1305::new(black_box(&KEY).into());
                    let nonce = nonce(counter).into();
                    black_box(cipher.encrypt_inout_detached(&nonce, &AAD, third.as_mut_slice().into()))
                        .expect("short enough");
                })
            }),
        ],
    );
    let sealed = packet(&KEY, len);
    side_by_side(
        &format!("open {len} bytes"),
        256,
        &mut [
            ("key kept", &mut |n| time(n, |_| open_kept(black_box(&kept), &sealed, &mut first))),
            ("vitalwire", &mut |n| time(n, |_| open(black_box(&KEY), &sealed, &mut second))),
            ("pure Rust", &mut |n| {
                time(n, |_| {
                    third.copy_from_slice(&sealed.0);
                    let cipher = ChaCha20Poly1305::new(black_box(&KEY).into());
                    let tag = Tag::from(sealed.1);
                    cipher
                        .decrypt_inout_detached(&nonce(1).into(), &AAD, third.as_mut_slice().into(), &tag)
                        .expect("genuine");
                })
            }),
        ],
    );
}

/// As many keys and packets of 64 bytes, in a random order: what is kept has to come from memory.
fn many_keys(count: usize) {
    let mut order: Vec<usize> = (0..count).collect();
    let mut seed = 1u64;
    for at in (1..count).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (seed >> 33) as usize % (at + 1));
    }
    let key = |n: usize| std::array::from_fn(|at| n.to_le_bytes()[at % 8] ^ at as u8);
    let keys: Vec<[u8; 32]> = (0..count).map(key).collect();
    let packets: Vec<Packet> = keys.iter().map(|key| packet(key, 64)).collect();
    // As sessions come and go, neighbours in memory are not neighbours in the table.
    let mut kept: Vec<Option<LessSafeKey>> = keys.iter().map(|_| None).collect();
    for at in order.iter().rev() {
        kept[*at] = Some(aws_lc(&keys[*at]));
    }
    let (mut first, mut second) = ([0; 64], [0; 64]);
    let all = count as u64;
    let at = |n: u64| order[(n % all) as usize];
    let (mut from, mut also) = (0, 0);
    side_by_side(
        &format!("open, {count} keys"),
        4096,
        &mut [
            ("keys kept", &mut |n| {
                from += n;
                time(n, |i| {
                    let at = at(from + i);
                    open_kept(kept[at].as_ref().expect("made above"), &packets[at], &mut first);
                })
            }),
            ("vitalwire", &mut |n| {
                also += n;
                time(n, |i| {
                    let at = at(all / 2 + also + i);
                    open(&keys[at], &packets[at], &mut second);
                })
            }),
        ],
    );
}

fn curves() {
    let bare = x25519_dalek::StaticSecret::from(KEY);
    let peer = x25519_dalek::PublicKey::from([9; 32]);
    let (fixed, public) = (StaticSecret::from_bytes(KEY), PublicKey([9; 32]));
    side_by_side(
        "X25519 public key",
        16,
        &mut [
            ("vitalwire", &mut |n| time(n, |_| _ = black_box(hazmat::ephemeral_secret(KEY).public_key()))),
            ("pure Rust", &mut |n| time(n, |_| _ = black_box(x25519_dalek::PublicKey::from(&bare)))),
        ],
    );
    side_by_side(
        "X25519 exchange",
        8,
        &mut [
            ("static key", &mut |n| time(n, |_| _ = black_box(fixed.diffie_hellman(&public)))),
            ("key used once", &mut |n| {
                time(n, |_| _ = black_box(hazmat::ephemeral_secret(KEY).diffie_hellman(&public)))
            }),
            ("pure Rust", &mut |n| time(n, |_| _ = black_box(bare.diffie_hellman(&peer)))),
        ],
    );
    let (ours, bare) = (SigningKey::from_bytes(KEY), ed25519_dalek::SigningKey::from_bytes(&KEY));
    let (public, signature) = (ours.public_key(), ours.sign(&AAD));
    let (key, same) = (bare.verifying_key(), ed25519_dalek::Signature::from_bytes(&signature));
    let mut signing: [Contender<'_>; 2] = [
        ("vitalwire", &mut |n| time(n, |_| _ = black_box(ours.sign(&AAD)))),
        ("pure Rust", &mut |n| {
            time(n, |_| _ = black_box(ed25519_dalek::SigningKey::from_bytes(&KEY).sign(&AAD)))
        }),
    ];
    side_by_side("Ed25519 sign", 8, &mut signing);
    side_by_side(
        "Ed25519 verify",
        8,
        &mut [
            ("vitalwire", &mut |n| time(n, |_| public.verify(&AAD, black_box(&signature)).expect("genuine"))),
            ("pure Rust", &mut |n| time(n, |_| key.verify_strict(&AAD, black_box(&same)).expect("genuine"))),
        ],
    );
}

fn main() {
    println!("vitalwire on {PROVIDER}; time of each, and ratio to the first, measured in turn");
    for len in SIZES {
        packets(len);
    }
    for count in if is_test() { [1, 10, 100] } else { [1, 10_000, 100_000] } {
        many_keys(count);
    }
    curves();
}
