//! Certificates of intermediate authorities, and what is left of the credentials that these sign.

use super::*;
use crate::limits::{MAX_ANCHORS, MAX_INTERMEDIATE};

/// The fields of a certificate, as SPEC.md lists them.
#[derive(Clone, Debug)]
struct Raw {
    version: u8,
    issuer: [u8; 8],
    serial: u64,
    key: [u8; 32],
    roles: u8,
    scopes: u64,
    issued: u64,
    not_before: u64,
    not_after: u64,
}

/// Authority 1 certifies authority 2, for devices, measurements and alarms, for a while.
fn raw() -> Raw {
    Raw {
        version: 1,
        issuer: authority(1).issuer().0,
        serial: 70,
        key: authority(2).public_key().0,
        roles: 1,
        scopes: 0b1001,
        issued: NOW - 50,
        not_before: NOW - 50,
        not_after: NOW + 50,
    }
}

impl Raw {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![self.version];
        out.extend(self.issuer);
        varint(self.serial, &mut out);
        out.extend(self.key);
        out.push(self.roles);
        for value in [self.scopes, self.issued, self.not_before, self.not_after] {
            varint(value, &mut out);
        }
        out
    }

    fn signed_by(&self, authority: &Authority) -> Vec<u8> {
        let message = [b"vitalwire/1 authority", &self.body()[..]].concat();
        [&self.body()[..], &authority.signing_key().sign(&message)].concat()
    }

    fn signed(&self) -> Vec<u8> {
        self.signed_by(&authority(1))
    }
}

fn install(certificate: &[u8], time: Time) -> Result<TrustAnchors, CredentialError> {
    anchors().with_intermediate(certificate, time)
}

/// A credential that authority 2 signs.
fn leaf() -> Fields {
    Fields {
        issuer: authority(2).issuer().0,
        not_before: NOW - 40,
        issued: NOW - 40,
        not_after: NOW + 40,
        ..fields()
    }
}

fn verify_leaf(raw: &Raw, leaf: &Fields, time: Time) -> Result<VerifiedCredential, CredentialError> {
    let role = Role::from_code(leaf.role).unwrap();
    let bytes = leaf.signed_by(&authority(2), &HOLDER);
    install(&raw.signed(), clock(NOW)).unwrap().verify(&bytes, &HOLDER, role, time)
}

#[test]
fn reads_what_the_table_says_and_certifies_with_the_same_bytes() {
    let Raw { serial, scopes, issued, not_before, not_after, .. } = raw();
    let request = IntermediateRequest {
        serial: serial as u32,
        roles: Roles::DEVICES,
        scopes: Scopes::from_bits(scopes as u32),
        issued: UnixSeconds(issued),
        not_before: UnixSeconds(not_before),
        not_after: UnixSeconds(not_after),
    };
    let certificate = authority(1).certify(&authority(2).public_key(), &request).unwrap();
    assert_eq!(certificate.as_bytes(), raw().signed());
    assert_eq!((certificate.issuer(), certificate.key()), (authority(1).issuer(), authority(2).public_key()));
    assert_eq!((certificate.claims().serial, certificate.claims().roles), (70, Roles::DEVICES));
    let anchors = install(certificate.as_bytes(), clock(NOW)).unwrap();
    assert_eq!(anchors.keys().count(), 1, "the Hello's MAC goes by those that are trusted for themselves");
    assert_eq!(anchors.authority_above(&authority(2).issuer()), Some(authority(1).issuer()));
    assert_eq!(anchors.authority_above(&authority(1).issuer()), None);
}

#[test]
fn a_certificate_of_a_stranger_or_of_an_intermediate_is_refused() {
    //= SPEC.md#intermediate-authorities
    //= type=test
    //# A verifier MUST refuse a certificate that is not signed by an authority which it trusts for itself.
    let bad = |bytes: &[u8]| install(bytes, clock(NOW)).err();
    assert_eq!(bad(&raw().signed_by(&authority(9))), Some(CredentialError::BadSignature));
    let stranger = Raw { issuer: authority(9).issuer().0, ..raw() }.signed_by(&authority(9));
    assert_eq!(bad(&stranger), Some(CredentialError::UnknownIssuer));
    let anchors = install(&raw().signed(), clock(NOW)).unwrap();
    let third = Raw { issuer: authority(2).issuer().0, key: authority(3).public_key().0, ..raw() };
    let third = anchors.with_intermediate(&third.signed_by(&authority(2)), clock(NOW));
    assert_eq!(third.err(), Some(CredentialError::UnknownIssuer));
    let own = Raw { key: authority(1).public_key().0, ..raw() };
    assert_eq!(bad(&own.signed()), Some(CredentialError::BadAnchors), "it is trusted for itself");
    let leaf = leaf().signed_by(&authority(2), &HOLDER);
    let without = super::anchors().verify(&leaf, &HOLDER, Role::Device, clock(NOW));
    assert_eq!(without, Err(CredentialError::UnknownIssuer), "without the certificate");
}

#[test]
fn refuses_every_altered_byte_and_length_and_wide_fields() {
    //= SPEC.md#intermediate-authorities
    //= type=test
    //# A reader MUST refuse a certificate whose `not after` is below its `not before` or its `issued`, or that names no role or an unknown one.
    let bytes = raw().signed();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            assert!(install(&altered, clock(NOW)).is_err(), "byte {at}, bit {bit}");
        }
        assert!(install(&bytes[..at], clock(NOW)).is_err());
    }
    assert!(install(&[&bytes[..], &[0]].concat(), clock(NOW)).is_err());
    let error = |raw: Raw| install(&raw.signed(), clock(NOW)).err();
    assert_eq!(error(raw()), None);
    assert_eq!(error(Raw { version: 2, ..raw() }), Some(CredentialError::Malformed));
    assert_eq!(error(Raw { roles: 0, ..raw() }), Some(CredentialError::Malformed));
    assert_eq!(error(Raw { roles: 4, ..raw() }), Some(CredentialError::Malformed));
    assert_eq!(error(Raw { serial: 1 << 32, ..raw() }), Some(CredentialError::Malformed));
    assert_eq!(error(Raw { not_after: NOW - 51, ..raw() }), Some(CredentialError::TimeOutOfRange));
    assert_eq!(error(Raw { issued: NOW + 51, ..raw() }), Some(CredentialError::TimeOutOfRange));
    assert_eq!(error(Raw { not_after: MAX_UNIX_SECONDS, ..raw() }), Some(CredentialError::TimeOutOfRange));
    let times = [(NOW + 50, None), (NOW + 51, Some(CredentialError::Expired)), (NOW - 350, None)];
    for (now, expected) in times.into_iter().chain([(NOW - 351, Some(CredentialError::NotYetValid))]) {
        assert_eq!(install(&raw().signed(), clock(now)).err(), expected, "{now}");
    }
}

#[test]
fn a_credential_counts_with_what_its_issuer_may_give_only() {
    //= SPEC.md#intermediate-authorities
    //= type=test
    //# A verifier MUST refuse a credential whose role the certificate of its issuer does not name.
    //= SPEC.md#intermediate-authorities
    //= type=test
    //# A verifier MUST grant no scope, and no second of validity, that the certificate of the issuer lacks.
    let verified = verify_leaf(&raw(), &leaf(), clock(NOW)).unwrap();
    assert_eq!((verified.scopes().bits(), verified.not_after().0), (0b1001, NOW + 40));
    assert_eq!(verified.identity().issuer, authority(2).issuer());
    let wide = Fields { scopes: 0b11_1111, not_before: NOW - 90, not_after: NOW + 90, ..leaf() };
    let verified = verify_leaf(&raw(), &wide, clock(NOW)).unwrap();
    assert_eq!((verified.scopes().bits(), verified.not_after().0), (0b1001, NOW + 50));
    let narrow = Fields { scopes: 0b110, ..leaf() };
    assert_eq!(verify_leaf(&raw(), &narrow, clock(NOW)).unwrap().scopes(), Scopes::NONE);
    let expired = verify_leaf(&raw(), &wide, clock(NOW + 51));
    assert_eq!(expired, Err(CredentialError::Expired), "its issuer has");
    let backend = Fields { role: 2, ..leaf() };
    assert_eq!(verify_leaf(&raw(), &backend, clock(NOW)), Err(CredentialError::WrongRole));
    assert!(verify_leaf(&Raw { roles: 3, ..raw() }, &backend, clock(NOW)).is_ok());
    assert_eq!(verify_leaf(&Raw { roles: 2, ..raw() }, &leaf(), clock(NOW)), Err(CredentialError::WrongRole));
    // It could raise the floor of a device without a clock.
    let late = Fields { issued: NOW + 60, not_after: NOW + 90, ..leaf() };
    assert_eq!(verify_leaf(&raw(), &late, floor(NOW)), Err(CredentialError::Expired));
    let early = Fields { not_before: NOW - 90, issued: NOW - 90, not_after: NOW - 60, ..leaf() };
    assert_eq!(verify_leaf(&raw(), &early, floor(0)), Err(CredentialError::Expired), "never both at once");
}

#[test]
fn a_later_certificate_takes_the_place_of_the_one_before_and_room_is_bounded() {
    let mut anchors = install(&raw().signed(), clock(NOW)).unwrap();
    let narrowed = Raw { scopes: 1, ..raw() };
    anchors = anchors.with_intermediate(&narrowed.signed(), clock(NOW)).unwrap();
    let bytes = leaf().signed_by(&authority(2), &HOLDER);
    let verified = anchors.verify(&bytes, &HOLDER, Role::Device, clock(NOW)).unwrap();
    assert_eq!(verified.scopes().bits(), 1);
    // One is trusted for itself, and one is intermediate.
    for count in 2..MAX_ANCHORS {
        let key = authority(100 + count as u8).public_key().0;
        anchors = anchors.with_intermediate(&Raw { key, ..raw() }.signed(), clock(NOW)).unwrap();
    }
    let one_more = Raw { key: authority(99).public_key().0, ..raw() }.signed();
    assert_eq!(anchors.with_intermediate(&one_more, clock(NOW)).err(), Some(CredentialError::BadAnchors));
    assert!(anchors.verify(&bytes, &HOLDER, Role::Device, clock(NOW)).is_ok());
}

#[test]
fn the_longest_certificate_fits_its_limit() {
    let last = MAX_UNIX_SECONDS - 1;
    let longest = Raw {
        serial: u32::MAX.into(),
        roles: 3,
        scopes: u32::MAX.into(),
        issued: last,
        not_before: last,
        not_after: last,
        ..raw()
    };
    assert_eq!(longest.signed().len(), MAX_INTERMEDIATE);
    assert!(install(&longest.signed(), floor(0)).is_ok());
}

#[test]
fn the_authority_above_revokes_a_whole_issuer_and_a_late_list_is_refused() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST refuse a list that an intermediate authority issued after the end of its certificate.
    let anchors = install(&raw().signed(), clock(NOW)).unwrap();
    let ward = authority(2).issuer();
    let list = |issued: u64, issuers: &[IssuerId], by: u8| {
        let issued = UnixSeconds(issued);
        let request = RevocationRequest { number: 1, issued, issuers, backends: &[], devices: &[3..=3] };
        authority(by).revoke(&request).unwrap()
    };
    let mut store = RevocationStore::default();
    let own = list(NOW + 50, &[authority(1).issuer()], 2);
    store.take(&anchors.verify_revocations(&own, floor(NOW)).unwrap()).unwrap();
    assert!(store.is_revoked(&anchors, &ward, 3) && !store.is_revoked(&anchors, &ward, 4));
    assert!(!store.is_revoked(&anchors, &authority(1).issuer(), 4), "nobody revokes who is above");
    let above = list(NOW, &[ward], 1);
    store.take(&anchors.verify_revocations(&above, floor(NOW)).unwrap()).unwrap();
    assert!(store.is_revoked(&anchors, &ward, 4) && store.is_issuer_revoked(&anchors, &ward));
    assert!(!store.is_revoked(&anchors, &authority(1).issuer(), 4));
    let late = list(NOW + 51, &[], 2);
    assert_eq!(anchors.verify_revocations(&late, floor(NOW)).err(), Some(RevocationError::NotYetValid));
}

/// The certificates of `authority.json`.
pub(super) fn vectors() -> Vec<serde_json::Value> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let certificate = raw();
    let leaf = Fields { scopes: 0b11_1111, not_after: NOW + 90, ..leaf() };
    let encoded = certificate.signed();
    let credential = leaf.signed_by(&authority(2), &HOLDER);
    let verified = verify_leaf(&certificate, &leaf, clock(NOW)).unwrap();
    vec![serde_json::json!({
        "name": "usual",
        "issuer": hex(&certificate.issuer),
        "serial": certificate.serial,
        "key": hex(&certificate.key),
        "roles": certificate.roles,
        "scopes": certificate.scopes,
        "issued": certificate.issued,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "signed_message": hex(&[b"vitalwire/1 authority", &certificate.body()[..]].concat()),
        "encoded": hex(&encoded),
        "credential": hex(&credential),
        "static_key": hex(&HOLDER.0),
        "granted_scopes": verified.scopes().bits(),
        "granted_not_after": verified.not_after().0,
    })]
}
