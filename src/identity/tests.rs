//! Credentials built by hand from SPEC.md's table, so that what an authority would never issue is tested too.

#[cfg(feature = "alloc")]
mod intermediates;
#[cfg(feature = "alloc")]
mod revocations;

use super::*;
use crate::crypto::{PublicKey, SigningKey, hazmat};
use crate::limits::{CLOCK_TOLERANCE_SECS, MAX_AUTHORITIES, MAX_CREDENTIAL, MAX_UNIX_SECONDS};
use crate::time::UnixSeconds;
use proptest::prelude::*;

const HOLDER: PublicKey = PublicKey([0x42; 32]);
const NOW: u64 = 1_750_000_000;

/// The fields of a credential, as SPEC.md lists them.
#[derive(Clone, Debug)]
struct Fields {
    version: u8,
    issuer: [u8; 8],
    serial: u64,
    subject: [u8; 16],
    role: u8,
    scopes: u64,
    issued: u64,
    not_before: u64,
    not_after: u64,
}

fn authority(seed: u8) -> Authority {
    Authority::new(SigningKey::from_bytes([seed; 32]))
}

fn fields() -> Fields {
    Fields {
        version: 1,
        issuer: authority(1).issuer().0,
        serial: 7,
        subject: *b"patch-0000000001",
        role: 1,
        scopes: 0b1001,
        issued: NOW - 100,
        not_before: NOW - 100,
        not_after: NOW + 100,
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Fields {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![self.version];
        out.extend(self.issuer);
        varint(self.serial, &mut out);
        out.extend(self.subject);
        out.push(self.role);
        for value in [self.scopes, self.issued, self.not_before, self.not_after] {
            varint(value, &mut out);
        }
        out
    }

    fn signed_by(&self, authority: &Authority, key: &PublicKey) -> Vec<u8> {
        sign(self.body(), authority, key)
    }

    fn signed(&self) -> Vec<u8> {
        self.signed_by(&authority(1), &HOLDER)
    }
}

fn sign(body: Vec<u8>, authority: &Authority, key: &PublicKey) -> Vec<u8> {
    let message = [b"vitalwire/1 credential", &body[..], &key.0].concat();
    let signature = authority.signing_key().sign(&message);
    [&body[..], &signature].concat()
}

fn anchors() -> TrustAnchors {
    TrustAnchors::new(&[authority(1).public_key()]).unwrap()
}

fn clock(seconds: u64) -> Time {
    Time::known(UnixSeconds(seconds))
}

fn floor(seconds: u64) -> Time {
    Time::floor_only(UnixSeconds(seconds))
}

fn verify_at(bytes: &[u8], time: Time) -> Result<VerifiedCredential, CredentialError> {
    anchors().verify(bytes, &HOLDER, Role::Device, time)
}

fn verify(bytes: &[u8]) -> Result<VerifiedCredential, CredentialError> {
    verify_at(bytes, clock(NOW))
}

#[test]
fn accepts_what_the_table_says_and_issues_the_same_bytes() {
    let fields = fields();
    let issued = authority(1).issue(
        &HOLDER,
        &CredentialRequest {
            serial: 7,
            subject: SubjectId(fields.subject),
            role: Role::Device,
            scopes: Scopes::from_bits(0b1001),
            issued: UnixSeconds(fields.issued),
            not_before: UnixSeconds(fields.not_before),
            not_after: UnixSeconds(fields.not_after),
        },
    );
    let issued = issued.unwrap();
    assert_eq!(issued.as_bytes(), fields.signed());
    let verified = verify(issued.as_bytes()).unwrap();
    assert_eq!(verified.identity(), issued.claimed_identity().unwrap());
    assert_eq!((verified.serial(), verified.role(), verified.scopes().bits()), (7, Role::Device, 0b1001));
    assert_eq!((verified.issued().0, verified.not_after().0), (fields.issued, fields.not_after));
    assert_eq!(verified.static_key(), HOLDER);
    assert_eq!(issued.hash().0, hazmat::blake2s(issued.as_bytes())[..16]);
}

#[test]
fn refuses_a_credential_of_a_stranger() {
    //= SPEC.md#credentials
    //= type=test
    //# A verifier MUST refuse a credential of an issuer that it does not trust.
    let stranger = authority(2);
    let mut fields = fields();
    fields.issuer = stranger.issuer().0;
    assert_eq!(verify(&fields.signed_by(&stranger, &HOLDER)), Err(CredentialError::UnknownIssuer));
    fields.issuer = authority(1).issuer().0;
    assert_eq!(verify(&fields.signed_by(&stranger, &HOLDER)), Err(CredentialError::BadSignature));
}

#[test]
fn each_authority_signs_for_itself_only() {
    let both = TrustAnchors::new(&[authority(1).public_key(), authority(2).public_key()]).unwrap();
    let mut fields = fields();
    let crossed = fields.signed_by(&authority(2), &HOLDER);
    assert_eq!(both.verify(&crossed, &HOLDER, Role::Device, clock(NOW)), Err(CredentialError::BadSignature));
    fields.issuer = authority(2).issuer().0;
    let genuine = fields.signed_by(&authority(2), &HOLDER);
    assert!(both.verify(&genuine, &HOLDER, Role::Device, clock(NOW)).is_ok());
}

#[test]
fn refuses_the_role_of_the_other_end() {
    //= SPEC.md#credentials
    //= type=test
    //# A device MUST refuse a peer whose role is not backend, and a backend one whose role is not device.
    let mut fields = fields();
    let device = fields.signed();
    assert_eq!(
        anchors().verify(&device, &HOLDER, Role::Backend, clock(NOW)),
        Err(CredentialError::WrongRole)
    );
    fields.role = 2;
    let backend = fields.signed();
    assert_eq!(verify(&backend), Err(CredentialError::WrongRole));
    assert!(anchors().verify(&backend, &HOLDER, Role::Backend, clock(NOW)).is_ok());
    for role in (0..=255).filter(|role| !matches!(role, 1 | 2)) {
        fields.role = role;
        assert_eq!(verify(&fields.signed()), Err(CredentialError::Malformed), "{role}");
    }
}

#[test]
fn signature_covers_the_static_key_and_the_role() {
    //= SPEC.md#credentials
    //= type=test
    //# A verifier MUST check a credential's signature over the bytes as received and the static key that Noise authenticated.
    let bytes = fields().signed();
    for bit in 0..256 {
        let mut other = HOLDER;
        other.0[bit / 8] ^= 1 << (bit % 8);
        let result = anchors().verify(&bytes, &other, Role::Device, clock(NOW));
        assert_eq!(result, Err(CredentialError::BadSignature), "{bit}");
    }
    let mut role = bytes.clone();
    let offset = 1 + 8 + 1 + 16;
    assert_eq!(role[offset], 1);
    role[offset] = 2;
    let result = anchors().verify(&role, &HOLDER, Role::Backend, clock(NOW));
    assert_eq!(result, Err(CredentialError::BadSignature));
}

#[test]
fn signature_is_for_credentials_alone() {
    let body = fields().body();
    for domain in [&b""[..], b"vitalwire/1 revocation", b"vitalwire/1 authority", b"vitalwire/2 credential"] {
        let message = [domain, &body, &HOLDER.0].concat();
        let signature = authority(1).signing_key().sign(&message);
        assert_eq!(verify(&[&body[..], &signature].concat()), Err(CredentialError::BadSignature));
    }
}

#[test]
fn verifies_ed25519_strictly() {
    //= SPEC.md#credentials
    //= type=test
    //# A verifier MUST verify Ed25519 strictly: canonical encodings, no low-order points.
    let genuine = fields().signed();
    // S + L verifies under lax rules (RFC 8032, section 5.1.7 forbids it).
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleated = genuine.clone();
    let start = malleated.len() - 32;
    let mut carry = 0u16;
    for (to, add) in malleated[start..].iter_mut().zip(order) {
        let sum = u16::from(*to) + u16::from(add) + carry;
        *to = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(verify(&malleated), Err(CredentialError::BadSignature));

    // With a low-order key A and R, and S = 0, lax verifiers accept every message.
    let points = [
        [0u8; 32],
        core::array::from_fn(|i| u8::from(i == 0)),
        core::array::from_fn(|i| {
            if i == 0 {
                0xec
            } else if i == 31 {
                0x7f
            } else {
                0xff
            }
        }),
    ];
    for key in points {
        let key = crate::crypto::SignatureKey(key);
        let weak = TrustAnchors::new(&[key]).unwrap();
        for r in points {
            let mut fields = fields();
            fields.issuer = IssuerId::of(&key).0;
            let forged = [&fields.body()[..], &r, &[0; 32]].concat();
            let result = weak.verify(&forged, &HOLDER, Role::Device, clock(NOW));
            assert_eq!(result, Err(CredentialError::BadSignature));
        }
    }
}

#[test]
fn refuses_every_altered_byte_every_length_and_trailing_bytes() {
    let genuine = fields().signed();
    assert!(verify(&genuine).is_ok());
    for index in 0..genuine.len() {
        for flip in 1..=255u8 {
            let mut altered = genuine.clone();
            altered[index] ^= flip;
            assert!(verify(&altered).is_err(), "byte {index} ^ {flip:02x}");
        }
    }
    for len in 0..genuine.len() {
        assert_eq!(verify(&genuine[..len]), Err(CredentialError::Malformed), "{len}");
        assert_eq!(Credential::from_bytes(&genuine[..len]), Err(CredentialError::Malformed), "{len}");
        assert_eq!(verify(&genuine[len + 1..]), Err(CredentialError::Malformed), "{len}");
    }
    for more in 1..=80 {
        let longer = [&genuine[..], &vec![0; more]].concat();
        assert!(verify(&longer).is_err(), "{more}");
        // Even where the authority signed them, bytes between the fields and the signature are refused.
        let body = [&fields().body()[..], &vec![0; more]].concat();
        assert_eq!(verify(&sign(body, &authority(1), &HOLDER)), Err(CredentialError::Malformed), "{more}");
    }
}

#[test]
fn refuses_long_varints_other_versions_and_wide_values_even_if_signed() {
    let genuine = fields();
    let mut body = genuine.body();
    let serial = 1 + 8;
    assert_eq!(body[serial], 7);
    body.splice(serial..=serial, [0x87, 0x00]);
    assert_eq!(verify(&sign(body, &authority(1), &HOLDER)), Err(CredentialError::Malformed));
    for version in (0..=255).filter(|&version| version != 1) {
        let fields = Fields { version, ..genuine.clone() };
        assert_eq!(verify(&fields.signed()), Err(CredentialError::Malformed), "{version}");
    }
    for (serial, scopes, fits) in [
        (u64::from(u32::MAX), 0, true),
        (1 << 32, 0, false),
        (0, u64::from(u32::MAX), true),
        (0, 1 << 32, false),
    ] {
        let fields = Fields { serial, scopes, ..genuine.clone() };
        assert_eq!(verify(&fields.signed()).is_ok(), fits, "{serial} {scopes}");
    }
}

#[test]
fn reports_the_first_error_in_the_order_of_the_documentation() {
    let stranger = authority(2);
    let mut fields = fields();
    fields.role = 2;
    fields.not_after = NOW - 1;
    assert_eq!(verify(&fields.signed_by(&stranger, &PublicKey([1; 32]))), Err(CredentialError::WrongRole));
    fields.role = 1;
    assert_eq!(verify(&fields.signed_by(&stranger, &PublicKey([1; 32]))), Err(CredentialError::Expired));
    fields.not_after = NOW;
    assert_eq!(verify(&fields.signed_by(&stranger, &HOLDER)), Err(CredentialError::BadSignature));
    fields.issuer = stranger.issuer().0;
    fields.role = 2;
    fields.not_after = NOW - 1;
    assert_eq!(verify(&fields.signed_by(&stranger, &HOLDER)), Err(CredentialError::UnknownIssuer));
}

#[test]
fn expires_after_the_last_second() {
    //= SPEC.md#validity
    //= type=test
    //# A verifier MUST refuse a credential whose `not after` is below now.
    let bytes = fields().signed();
    let end = NOW + 100;
    for time in
        [clock(end - 1), clock(end), floor(end - 1), floor(end), clock(end - 9).with_floor(UnixSeconds(end))]
    {
        assert!(verify_at(&bytes, time).is_ok(), "{time:?}");
    }
    // Now is the later of both.
    let late = UnixSeconds(end + 1);
    for time in
        [clock(end + 1), floor(end + 1), clock(0).with_floor(late), clock(end + 1).with_floor(UnixSeconds(1))]
    {
        assert_eq!(verify_at(&bytes, time), Err(CredentialError::Expired), "{time:?}");
    }
}

#[test]
fn is_not_valid_long_before_the_first_second() {
    //= SPEC.md#validity
    //= type=test
    //# A verifier with a clock MUST refuse a credential whose `not before` or `issued` is more than 300 s above now.
    assert_eq!(CLOCK_TOLERANCE_SECS, 300);
    let start = NOW - 100;
    for (not_before, issued) in [(start, start), (start, 0), (0, start)] {
        let bytes = Fields { not_before, issued, ..fields() }.signed();
        assert_eq!(verify_at(&bytes, clock(start - 301)), Err(CredentialError::NotYetValid));
        assert!(verify_at(&bytes, clock(start - 300)).is_ok());
        assert!(verify_at(&bytes, clock(start - 299)).is_ok());
        // The floor counts as time; alone, it cannot tell that something is too early.
        assert!(verify_at(&bytes, clock(0).with_floor(UnixSeconds(start - 300))).is_ok());
        assert!(verify_at(&bytes, floor(0)).is_ok());
    }
}

#[test]
fn issued_in_the_future_does_not_lock_out_everybody_else() {
    // One such credential, accepted, would raise the floor above the validity of all others.
    let poison = Fields { issued: NOW + 301, not_after: MAX_UNIX_SECONDS - 1, ..fields() }.signed();
    assert_eq!(verify(&poison), Err(CredentialError::NotYetValid));
    let skewed = Fields { issued: NOW + 300, not_after: MAX_UNIX_SECONDS - 1, ..fields() }.signed();
    let mut time = clock(NOW);
    time.raise_floor(&verify(&skewed).unwrap());
    assert_eq!(time.floor(), UnixSeconds(NOW + 300));
}

#[test]
fn refuses_an_empty_validity() {
    //= SPEC.md#credentials
    //= type=test
    //# A reader MUST refuse a credential whose `not after` is below its `not before` or its `issued`.
    let cases = [(NOW, NOW, NOW, true), (NOW, NOW + 1, NOW, false), (NOW + 1, NOW, NOW, false)];
    for (issued, not_before, not_after, fine) in cases {
        let fields = Fields { issued, not_before, not_after, ..fields() };
        let expected = if fine { Ok(()) } else { Err(CredentialError::TimeOutOfRange) };
        assert_eq!(verify_at(&fields.signed(), floor(0)).map(|_| ()), expected);
        assert_eq!(Credential::from_bytes(&fields.signed()).map(|_| ()), expected);
        let request = CredentialRequest {
            serial: 0,
            subject: SubjectId([0; 16]),
            role: Role::Device,
            scopes: Scopes::NONE,
            issued: UnixSeconds(issued),
            not_before: UnixSeconds(not_before),
            not_after: UnixSeconds(not_after),
        };
        assert_eq!(authority(1).issue(&HOLDER, &request).map(|_| ()), expected);
    }
}

#[test]
fn times_end_below_2_to_the_35() {
    let last = MAX_UNIX_SECONDS - 1;
    assert_eq!(MAX_UNIX_SECONDS, 1 << 35);
    let fine = Fields { issued: last, not_before: last, not_after: last, ..fields() };
    assert!(verify_at(&fine.signed(), floor(last)).is_ok());
    for (issued, not_before, not_after) in
        [(last + 1, last, last), (last, last + 1, last), (last, last, last + 1), (0, 0, u64::MAX)]
    {
        let bytes = Fields { issued, not_before, not_after, ..fields() }.signed();
        assert_eq!(verify_at(&bytes, floor(0)), Err(CredentialError::TimeOutOfRange));
        assert_eq!(Credential::from_bytes(&bytes), Err(CredentialError::TimeOutOfRange));
    }
}

#[test]
fn floor_never_goes_backward() {
    //= SPEC.md#validity
    //= type=test
    //# The floor MUST NOT go backward, and nothing but an accepted credential or revocation list raises it.
    let at = |issued| {
        let bytes = Fields { issued, not_before: 0, ..fields() }.signed();
        verify(&bytes).unwrap()
    };
    let mut time = floor(NOW - 50);
    time.raise_floor(&at(NOW - 51));
    assert_eq!(time.floor(), UnixSeconds(NOW - 50));
    time.raise_floor(&at(NOW - 49));
    assert_eq!(time.floor(), UnixSeconds(NOW - 49));
    time.set_clock(Some(UnixSeconds(NOW + 1_000_000)));
    time.set_clock(Some(UnixSeconds(0)));
    time.set_clock(None);
    assert_eq!(time.floor(), UnixSeconds(NOW - 49));
    assert_eq!(time.with_floor(UnixSeconds(3)).floor(), UnixSeconds(NOW - 49));
    assert_eq!(time.with_floor(UnixSeconds(NOW)).floor(), UnixSeconds(NOW));
    // Verifying changes nothing, accepted or not.
    let before = time;
    let _ = verify_at(&fields().signed(), time);
    assert_eq!(time, before);
}

#[test]
fn trusts_one_to_four_distinct_authorities() {
    let keys: Vec<_> = (1..=5).map(|seed| authority(seed).public_key()).collect();
    assert_eq!(TrustAnchors::new(&[]).unwrap_err(), CredentialError::BadAnchors);
    for count in 1..=MAX_AUTHORITIES {
        assert_eq!(TrustAnchors::new(&keys[..count]).unwrap().keys().count(), count);
    }
    assert_eq!(MAX_AUTHORITIES, 4);
    assert_eq!(TrustAnchors::new(&keys).unwrap_err(), CredentialError::BadAnchors);
    for (first, second) in [(0, 1), (0, 3), (2, 3)] {
        let mut doubled = keys[..4].to_vec();
        doubled[second] = doubled[first];
        assert_eq!(TrustAnchors::new(&doubled).unwrap_err(), CredentialError::BadAnchors);
    }
}

#[test]
fn unknown_scope_bits_are_kept_and_grant_nothing() {
    let bytes = Fields { scopes: 0xffff_ffc0, ..fields() }.signed();
    let scopes = verify(&bytes).unwrap().scopes();
    assert_eq!(scopes.bits(), 0xffff_ffc0);
    for known in [
        Scopes::MEASUREMENTS,
        Scopes::WAVEFORMS,
        Scopes::EVENTS,
        Scopes::ALARMS,
        Scopes::COMMANDS,
        Scopes::CONFIGURATION,
    ] {
        assert!(!scopes.intersects(known) && !scopes.contains(known));
    }
}

#[test]
fn longest_credential_fits_its_limit() {
    let longest = Fields {
        serial: u32::MAX.into(),
        scopes: u32::MAX.into(),
        issued: MAX_UNIX_SECONDS - 1,
        not_before: MAX_UNIX_SECONDS - 1,
        not_after: MAX_UNIX_SECONDS - 1,
        ..fields()
    };
    let bytes = longest.signed();
    println!("the longest credential has {} bytes, a usual one {}", bytes.len(), fields().signed().len());
    assert_eq!(bytes.len(), 115);
    assert!(bytes.len() <= MAX_CREDENTIAL);
    assert!(verify_at(&bytes, floor(0)).is_ok());
}

#[test]
fn debug_of_an_unverified_credential_says_so() {
    let credential = Credential::from_bytes(&fields().signed()).unwrap();
    assert!(format!("{credential:?}").starts_with("Credential(unverified, "));
}

proptest! {
    #[test]
    fn decoding_and_encoding_are_inverse(serial: u32, subject: [u8; 16], role in 1..=2u8, scopes: u32,
                                         mut times in proptest::array::uniform3(0..MAX_UNIX_SECONDS), key: [u8; 32]) {
        times.sort_unstable();
        let [not_before, issued, not_after] = times;
        let fields = Fields {
            serial: serial.into(), subject, role, scopes: scopes.into(), issued, not_before, not_after, ..fields()
        };
        let key = PublicKey(key);
        let request = CredentialRequest {
            serial,
            subject: SubjectId(subject),
            role: Role::from_code(role).unwrap(),
            scopes: Scopes::from_bits(scopes),
            issued: UnixSeconds(issued),
            not_before: UnixSeconds(not_before),
            not_after: UnixSeconds(not_after),
        };
        let credential = authority(1).issue(&key, &request).unwrap();
        prop_assert_eq!(credential.as_bytes(), &fields.signed_by(&authority(1), &key)[..]);
        prop_assert_eq!(Credential::from_bytes(credential.as_bytes()), Ok(credential));
        let verified = anchors().verify(credential.as_bytes(), &key, request.role, floor(not_after)).unwrap();
        prop_assert_eq!(verified.identity(), credential.claimed_identity().unwrap());
        prop_assert_eq!((verified.serial(), verified.scopes().bits()), (serial, scopes));
    }

    #[test]
    fn whatever_decodes_is_encoded_identically(mut bytes in proptest::collection::vec(any::<u8>(), 90..120)) {
        bytes[0] = 1;
        if let Ok(credential) = Credential::from_bytes(&bytes) {
            prop_assert_eq!(credential.as_bytes(), &bytes[..]);
        }
        prop_assert!(verify(&bytes).is_err());
    }
}

#[test]
fn credentials_are_those_of_the_vectors() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let last = MAX_UNIX_SECONDS - 1;
    let longest = Fields {
        serial: u32::MAX.into(),
        role: 2,
        scopes: u32::MAX.into(),
        issued: last,
        not_before: last,
        not_after: last,
        ..fields()
    };
    let shortest = Fields { serial: 0, scopes: 0, issued: 0, not_before: 0, not_after: 0, ..fields() };
    let cases = [("usual", fields()), ("longest", longest), ("shortest", shortest)];
    let credentials: Vec<_> = cases
        .iter()
        .map(|(name, fields)| {
            let encoded = fields.signed();
            let credential = Credential::from_bytes(&encoded).unwrap();
            let role = Role::from_code(fields.role).unwrap();
            let verified = anchors().verify(&encoded, &HOLDER, role, floor(fields.not_after)).unwrap();
            assert_eq!(verified.identity().subject.0, fields.subject);
            serde_json::json!({
                "name": name,
                "version": fields.version,
                "issuer": hex(&fields.issuer),
                "serial": fields.serial,
                "subject": hex(&fields.subject),
                "role": fields.role,
                "scopes": fields.scopes,
                "issued": fields.issued,
                "not_before": fields.not_before,
                "not_after": fields.not_after,
                "static_key": hex(&HOLDER.0),
                "signed_message": hex(&[b"vitalwire/1 credential", &fields.body()[..], &HOLDER.0].concat()),
                "encoded": hex(&encoded),
                "hash": hex(&credential.hash().0),
            })
        })
        .collect();
    let file = serde_json::json!({
        "origin": "src/identity/tests.rs; all byte strings in hex",
        "authority_seed": hex(&[1; 32]),
        "authority_public": hex(&authority(1).public_key().0),
        "credentials": credentials,
    });
    crate::test_vectors::compare_or_bless("credential.json", &file);
}
