//! The device's and the backend's side of Noise written out from the Noise specification (revision 34) and SPEC.md, without
//! snow: a second implementation for the vectors, and a forger that does what no honest end would.

use super::Case;
use crate::crypto::{StaticSecret, hazmat};

pub(super) type Key = [u8; 32];

/// Noise's CipherState and SymmetricState in one.
#[derive(Clone)]
pub(super) struct Symmetric {
    pub(super) hash: Key,
    chain: Key,
    key: Option<Key>,
    counter: u64,
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// HKDF as Noise writes it (section 4.3): HMACs with a running index.
fn noise_hkdf<const N: usize>(chain: &Key, input: &[u8]) -> [Key; N] {
    let temp = hazmat::hmac_blake2s(chain, input);
    let mut last = Vec::new();
    core::array::from_fn(|index| {
        let out = hazmat::hmac_blake2s(&temp, &concat(&[&last, &[index as u8 + 1]]));
        last = out.to_vec();
        out
    })
}

/// X25519 that does not check for zero: what a lax or hostile end computes.
pub(super) fn lax_dh(secret: &Key, public: &Key) -> Key {
    x25519_dalek::x25519(*secret, *public)
}

pub(super) fn public(secret: &Key) -> Key {
    StaticSecret::from_bytes(*secret).public_key().0
}

impl Symmetric {
    pub(super) fn new(name: &str, hello_header: &[u8]) -> Self {
        let mut hash = [0; 32];
        if name.len() <= 32 {
            hash[..name.len()].copy_from_slice(name.as_bytes());
        } else {
            hash = hazmat::blake2s(name.as_bytes());
        }
        let mut state = Self { hash, chain: hash, key: None, counter: 0 };
        state.mix_hash(&concat(&[b"vitalwire/1 25519 ChaChaPoly BLAKE2s", hello_header]));
        state
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hazmat::blake2s(&concat(&[&self.hash, data]));
    }

    pub(super) fn mix_key(&mut self, input: &[u8]) {
        let [chain, key] = noise_hkdf(&self.chain, input);
        (self.chain, self.key, self.counter) = (chain, Some(key), 0);
    }

    pub(super) fn mix_psk(&mut self, psk: &Key) {
        let [chain, hash, key] = noise_hkdf(&self.chain, psk);
        self.mix_hash(&hash);
        (self.chain, self.key, self.counter) = (chain, Some(key), 0);
    }

    /// The token e: in psk patterns the ephemeral key is mixed into the chain too (section 9.2).
    pub(super) fn mix_ephemeral(&mut self, key: &Key, psk: bool) {
        self.mix_hash(key);
        if psk {
            self.mix_key(key);
        }
    }

    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = plaintext.to_vec();
        if let Some(key) = self.key {
            let tag = hazmat::seal(&key, self.counter, &self.hash, &mut out).unwrap();
            out.extend(tag);
            self.counter += 1;
        }
        self.mix_hash(&out);
        out
    }

    pub(super) fn decrypt(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = message.to_vec();
        if let Some(key) = self.key {
            let tag: [u8; 16] = out.split_off(message.len() - 16).try_into().unwrap();
            hazmat::open(&key, self.counter, &self.hash, &mut out, &tag).expect("decrypts by hand");
            self.counter += 1;
        }
        self.mix_hash(message);
        out
    }

    pub(super) fn split(&self) -> [Key; 2] {
        noise_hkdf(&self.chain, &[])
    }
}

/// A key pair, or a public key alone: then the other end's secret key computes the exchange, and if that is not known
/// either, one of them is a low-order point and the result is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) secret: Option<Key>,
    pub(super) public: Key,
}

impl Pair {
    pub(super) fn of(secret: Key) -> Self {
        Self { secret: Some(secret), public: public(&secret) }
    }

    pub(super) const fn only(public: Key) -> Self {
        Self { secret: None, public }
    }
}

fn dh(a: &Pair, b: &Pair) -> Key {
    match (a.secret, b.secret) {
        (Some(secret), _) => lax_dh(&secret, &b.public),
        (None, Some(secret)) => lax_dh(&secret, &a.public),
        (None, None) => [0; 32],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// An ephemeral key: the device's in messages 1 and 3, the backend's in message 2.
    E,
    /// A static key, likewise.
    S,
    Ee,
    /// Device's ephemeral, backend's static.
    Es,
    /// Device's static, backend's ephemeral.
    Se,
    Ss,
    Psk,
}

/// A whole handshake in the eyes of someone who knows as many keys as he was given.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) noise: Symmetric,
    case: Case,
    number: usize,
    pub(super) device_ephemeral: Pair,
    pub(super) device_static: Pair,
    pub(super) backend_ephemeral: Pair,
    pub(super) backend_static: Pair,
    psk: Key,
}

pub(super) enum Message<'m> {
    Write(&'m [u8]),
    Read(&'m [u8]),
}

impl Run {
    /// `keys`: the device's ephemeral and static, the backend's ephemeral and static.
    pub(super) fn new(case: Case, hello_header: &[u8], keys: [Pair; 4], psk: Key) -> Self {
        let name = match case {
            Case::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            Case::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
            Case::XxPsk3 => "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
            Case::IkPsk2 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
        };
        let [device_ephemeral, device_static, backend_ephemeral, backend_static] = keys;
        let mut noise = Symmetric::new(name, hello_header);
        if case.is_ik() {
            noise.mix_hash(&backend_static.public);
        }
        Self {
            noise,
            case,
            number: 0,
            device_ephemeral,
            device_static,
            backend_ephemeral,
            backend_static,
            psk,
        }
    }

    /// The next message: writes it around a payload, or reads it and returns the payload.
    pub(super) fn next(&mut self, message: Message<'_>) -> Vec<u8> {
        use Token::{E, Ee, Es, Psk, S, Se, Ss};
        let tokens: &[Token] = match (self.case, self.number) {
            (Case::Xx | Case::XxPsk3, 0) => &[E],
            (Case::Xx | Case::XxPsk3, 1) => &[E, Ee, S, Es],
            (Case::Xx, 2) => &[S, Se],
            (Case::XxPsk3, 2) => &[S, Se, Psk],
            (Case::Ik | Case::IkPsk2, 0) => &[E, Es, S, Ss],
            (Case::Ik, 1) => &[E, Ee, Se],
            (Case::IkPsk2, 1) => &[E, Ee, Se, Psk],
            other => panic!("no such message: {other:?}"),
        };
        let psk = matches!(self.case, Case::XxPsk3 | Case::IkPsk2);
        let backend_writes = self.number == 1;
        self.number += 1;
        let mut rest = match message {
            Message::Read(bytes) => bytes,
            Message::Write(_) => &[],
        };
        let mut take = |len: usize| {
            let (head, tail) = rest.split_at(len);
            rest = tail;
            head.to_vec()
        };
        let writes = matches!(message, Message::Write(_));
        let mut out = Vec::new();
        for token in tokens {
            match token {
                E => {
                    let pair =
                        if backend_writes { &mut self.backend_ephemeral } else { &mut self.device_ephemeral };
                    if !writes {
                        pair.public = take(32).try_into().unwrap();
                    }
                    out.extend(pair.public);
                    self.noise.mix_ephemeral(&pair.public, psk);
                }
                S => {
                    let pair =
                        if backend_writes { &mut self.backend_static } else { &mut self.device_static };
                    if writes {
                        out.extend(self.noise.encrypt(&pair.public));
                    } else {
                        pair.public = self.noise.decrypt(&take(48)).try_into().unwrap();
                    }
                }
                Ee => self.noise.mix_key(&dh(&self.device_ephemeral, &self.backend_ephemeral)),
                Es => self.noise.mix_key(&dh(&self.device_ephemeral, &self.backend_static)),
                Se => self.noise.mix_key(&dh(&self.device_static, &self.backend_ephemeral)),
                Ss => self.noise.mix_key(&dh(&self.device_static, &self.backend_static)),
                Psk => self.noise.mix_psk(&self.psk),
            }
        }
        match message {
            Message::Write(payload) => {
                out.extend(self.noise.encrypt(payload));
                out
            }
            Message::Read(_) => self.noise.decrypt(rest),
        }
    }
}

/// `Derive(prk, label, context)` of SPEC.md, out of HMACs alone: 32 bytes are one block of HKDF-Expand.
pub(super) fn derive(prk: &Key, label: &str, context: &[u8]) -> Key {
    hazmat::hmac_blake2s(prk, &concat(&[b"vitalwire/1 ", label.as_bytes(), context, &[1]]))
}

/// `Extract(salt, ikm)` of SPEC.md.
pub(super) fn extract(salt: &Key, ikm: &[u8]) -> Key {
    hazmat::hmac_blake2s(salt, ikm)
}

pub(super) fn hello_key(anchor: &Key) -> Key {
    derive(&extract(&[0; 32], anchor), "hello mac", b"")
}

/// Ends a Hello with its MAC.
pub(super) fn with_mac(key: &Key, hello: &[u8]) -> Vec<u8> {
    let mac = hazmat::hmac_blake2s(key, hello);
    concat(&[hello, &mac[..16]])
}

/// The points of low order on the curve and its twist, in all encodings (high bit set or not).
pub(super) fn low_order_points() -> Vec<Key> {
    let p = |low: u8| {
        core::array::from_fn(|i| {
            if i == 0 {
                low
            } else if i == 31 {
                0x7f
            } else {
                0xff
            }
        })
    };
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut points: Vec<Key> = vec![[0; 32], core::array::from_fn(|i| u8::from(i == 0))];
    points.extend(order_8.map(|hex| Key::try_from(unhex(hex)).unwrap()));
    points.extend([p(0xec), p(0xed), p(0xee)]);
    let high: Vec<Key> = points
        .iter()
        .map(|point| {
            let mut point = *point;
            point[31] |= 0x80;
            point
        })
        .collect();
    points.extend(high);
    points
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}
