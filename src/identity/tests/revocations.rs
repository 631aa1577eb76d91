//! Lists built by hand from SPEC.md's table, so that what an authority would never sign is tested too.

use super::*;
use crate::crypto::hash_parts;
use crate::limits::{MAX_BACKENDS_PART, MAX_REVOCATION_LIST, MAX_REVOKED_ISSUERS};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The fields of a list, as SPEC.md has them.
#[derive(Clone, Debug)]
struct Raw {
    version: u8,
    form: u8,
    issuer: IssuerId,
    number: u64,
    issued: u64,
    backends: Vec<u8>,
    devices: Vec<u8>,
}

fn raw() -> Raw {
    Raw {
        version: 1,
        form: 1,
        issuer: authority(1).issuer(),
        number: 5,
        issued: NOW,
        // No issuer; serial 3, and 10 to 12.
        backends: vec![0, 2 * 3, 2 * (10 - 5) + 1, 1],
        // Serials 0 and 300.
        devices: vec![0, 0xd4, 0x04],
    }
}

impl Raw {
    fn message(&self, domain: &[u8]) -> Vec<u8> {
        let mut message = [domain, &[self.version], &self.issuer.0].concat();
        varint(self.number, &mut message);
        varint(self.issued, &mut message);
        message.extend(hash_parts(&[&self.backends]));
        message.extend(hash_parts(&[&self.devices]));
        message
    }

    fn encoded(&self, signature: [u8; 64]) -> Vec<u8> {
        let mut out = vec![self.version, self.form];
        out.extend(self.issuer.0);
        varint(self.number, &mut out);
        varint(self.issued, &mut out);
        out.extend(signature);
        varint(self.backends.len() as u64, &mut out);
        out.extend(&self.backends);
        match self.form {
            2 => out.extend(hash_parts(&[&self.devices])),
            _ => out.extend(&self.devices),
        }
        out
    }

    fn signed(&self) -> Vec<u8> {
        self.encoded(authority(1).signing_key().sign(&self.message(b"vitalwire/1 revocation")))
    }
}

fn verify_list(bytes: &[u8]) -> Result<VerifiedRevocations<'_>, RevocationError> {
    anchors().verify_revocations(bytes, clock(NOW))
}

fn refused(bytes: &[u8]) -> RevocationError {
    verify_list(bytes).err().unwrap()
}

fn list_of(number: u64, devices: &[RangeInclusive<u32>]) -> Vec<u8> {
    let request =
        RevocationRequest { number, issued: UnixSeconds(NOW), issuers: &[], backends: &[], devices };
    authority(1).revoke(&request).unwrap()
}

#[test]
fn reads_what_the_table_says_and_signs_the_same_bytes() {
    let bytes = raw().signed();
    let list = verify_list(&bytes).unwrap();
    assert_eq!((list.issuer(), list.number(), list.issued().0), (authority(1).issuer(), 5, NOW));
    assert_eq!((list.form(), list.issuers().count()), (ListForm::Whole, 0));
    assert_eq!(list.backends().iter().collect::<Vec<_>>(), [3..=3, 10..=12]);
    assert_eq!(list.devices().unwrap().iter().collect::<Vec<_>>(), [0..=0, 300..=300]);
    assert_eq!(list.backends().count(), 4);
    let request = RevocationRequest {
        number: 5,
        issued: UnixSeconds(NOW),
        issuers: &[],
        backends: &[12..=12, 3..=3, 10..=11],
        devices: &[300..=300, 0..=0, 300..=300],
    };
    assert_eq!(authority(1).revoke(&request).unwrap(), bytes);
}

#[test]
fn a_device_verifies_its_part_and_no_other_with_the_hash_of_the_rest() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST check a list's signature before it takes anything from it.
    let whole = raw().signed();
    let part = Raw { form: 2, ..raw() }.signed();
    let list = verify_list(&whole).unwrap();
    assert_eq!(list.for_devices(), part);
    let short = verify_list(&part).unwrap();
    assert_eq!((short.form(), short.devices().is_none()), (ListForm::Backends, true));
    assert_eq!(short.digest(), list.digest(), "both are the same list");
    assert!(short.backends().contains(11) && !short.backends().contains(13));
    assert_eq!(RevocationStore::default().take(&short), Err(RevocationError::Partial));
    for bytes in [whole, part] {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(verify_list(&altered).is_err(), "byte {at}, bit {bit}");
            }
            assert!(verify_list(&bytes[..at]).is_err(), "{at} bytes");
        }
    }
}

#[test]
fn a_signature_is_for_lists_alone() {
    for domain in [&b""[..], b"vitalwire/1 credential", b"vitalwire/1 authority", b"vitalwire/2 revocation"] {
        let signature = authority(1).signing_key().sign(&raw().message(domain));
        assert_eq!(refused(&raw().encoded(signature)), RevocationError::BadSignature);
    }
    let stranger = authority(9).signing_key().sign(&raw().message(b"vitalwire/1 revocation"));
    assert_eq!(refused(&raw().encoded(stranger)), RevocationError::BadSignature);
}

#[test]
fn refuses_what_is_no_list_even_if_signed() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A reader MUST refuse a list whose number is 0 or whose time is 2^35 or above.
    //= SPEC.md#revocation-lists
    //= type=test
    //# A reader MUST refuse a list whose issuers do not ascend strictly.
    //= SPEC.md#revocation-lists
    //= type=test
    //# A reader MUST refuse a list with a serial of 2^32 or above, or with bytes that are no run.
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST refuse a list of an issuer that it does not trust.
    let error = |raw: Raw| refused(&raw.signed());
    assert_eq!(error(Raw { version: 2, ..raw() }), RevocationError::Malformed);
    assert_eq!(error(Raw { form: 0, ..raw() }), RevocationError::Malformed);
    assert_eq!(error(Raw { form: 3, ..raw() }), RevocationError::Malformed);
    assert_eq!(error(Raw { number: 0, ..raw() }), RevocationError::OutOfRange);
    assert_eq!(error(Raw { issued: MAX_UNIX_SECONDS, ..raw() }), RevocationError::OutOfRange);
    assert_eq!(error(Raw { issuer: authority(2).issuer(), ..raw() }), RevocationError::UnknownIssuer);
    let issuers = |ids: &[u8]| {
        let mut backends = vec![ids.len() as u8];
        ids.iter().for_each(|id| backends.extend([*id; 8]));
        Raw { backends, ..raw() }
    };
    assert!(verify_list(&issuers(&[1, 2]).signed()).is_ok());
    assert_eq!(error(issuers(&[2, 1])), RevocationError::Malformed);
    assert_eq!(error(issuers(&[1, 1])), RevocationError::Malformed);
    assert_eq!(error(Raw { backends: vec![1, 9, 9], ..raw() }), RevocationError::Malformed);
    assert_eq!(error(Raw { backends: vec![], ..raw() }), RevocationError::Malformed);
    let serials =
        |devices: &[u8]| verify_list(&Raw { devices: devices.into(), ..raw() }.signed()).map(|_| ());
    let malformed = Err(RevocationError::Malformed);
    let largest = [0xfe, 0xff, 0xff, 0xff, 0x1f]; // 2 · (2^32 − 1)
    assert_eq!(serials(&largest), Ok(()));
    assert_eq!(serials(&[0x80, 0x80, 0x80, 0x80, 0x20]), malformed, "serial 2^32");
    assert_eq!(serials(&[&largest[..], &[0]].concat()), malformed, "a run above the last number");
    assert_eq!(serials(&[1, 0xfe, 0xff, 0xff, 0xff, 0x0f]), Ok(()), "all there are");
    assert_eq!(serials(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), malformed, "and one more");
    assert_eq!(serials(&[1]), malformed, "no length");
    assert_eq!(serials(&[0x80, 0]), malformed, "a long varint");
    assert_eq!(serials(&[0xff; 10]), malformed);
}

#[test]
fn keeps_within_its_bounds_exactly() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A reader MUST refuse a list of more than 65 536 bytes, and one whose part for backends has more than 256 bytes or names more than 16 issuers.
    let head = Raw { devices: vec![], ..raw() }.signed().len();
    let of = |len: usize| Raw { devices: vec![0; len - head], ..raw() }.signed();
    assert!(verify_list(&of(MAX_REVOCATION_LIST - 1)).is_ok());
    let longest = of(MAX_REVOCATION_LIST);
    assert_eq!(verify_list(&longest).unwrap().devices().unwrap().count(), (longest.len() - head) as u64);
    assert_eq!(refused(&of(MAX_REVOCATION_LIST + 1)), RevocationError::TooLong);
    let part = |len: usize| {
        let mut backends = vec![0; len];
        backends[0] = 0;
        Raw { backends, ..raw() }.signed()
    };
    assert!(verify_list(&part(MAX_BACKENDS_PART - 1)).is_ok());
    assert!(verify_list(&part(MAX_BACKENDS_PART)).is_ok());
    assert!(verify_list(&part(MAX_BACKENDS_PART + 1)).is_err());
    let issuers = |count: usize| {
        let issuers: Vec<_> = (0..count as u8).map(|id| IssuerId([id; 8])).collect();
        let request = RevocationRequest {
            number: 1,
            issued: UnixSeconds(NOW),
            issuers: &issuers,
            backends: &[],
            devices: &[],
        };
        authority(1).revoke(&request).map(|list| verify_list(&list).unwrap().issuers().count())
    };
    assert_eq!(issuers(MAX_REVOKED_ISSUERS - 1), Ok(MAX_REVOKED_ISSUERS - 1));
    assert_eq!(issuers(MAX_REVOKED_ISSUERS), Ok(MAX_REVOKED_ISSUERS));
    assert_eq!(issuers(MAX_REVOKED_ISSUERS + 1), Err(RevocationError::TooLong));
    let mut more = Raw { backends: vec![17; 1 + 17 * 8], ..raw() };
    for (at, id) in more.backends[1..].chunks_mut(8).enumerate() {
        id.fill(at as u8);
    }
    assert_eq!(refused(&more.signed()), RevocationError::TooLong);
    // What limits.rs says of the room: 64 000 serials 63 apart, 32 000 that are 8 191 apart.
    for (count, step) in [(64_000u32, 64), (32_000, 8_192)] {
        let devices: Vec<_> = (0..count).map(|at| at * step..=at * step).collect();
        let list = list_of(1, &devices);
        assert_eq!(verify_list(&list).unwrap().devices().unwrap().count(), u64::from(count));
    }
    let scattered: Vec<_> = (0..64_000u32).map(|at| at * 8_192..=at * 8_192).collect();
    let request = RevocationRequest {
        number: 1,
        issued: UnixSeconds(NOW),
        issuers: &[],
        backends: &[],
        devices: &scattered,
    };
    assert_eq!(authority(1).revoke(&request), Err(RevocationError::TooLong));
    let backends: Vec<_> = (0..300).map(|at| at * 100..=at * 100).collect();
    let request = RevocationRequest { backends: &backends, devices: &[], ..request };
    assert_eq!(authority(1).revoke(&request), Err(RevocationError::TooLong));
    assert_eq!(
        authority(1).revoke(&RevocationRequest { number: 0, backends: &[], ..request }),
        Err(RevocationError::OutOfRange)
    );
}

#[test]
fn a_list_from_the_future_is_refused_by_a_clock_and_none_expires() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier with a clock MUST refuse a list whose `issued` is more than 300 s above now.
    let at = |issued: u64, time: Time| {
        anchors().verify_revocations(&Raw { issued, ..raw() }.signed(), time).map(|list| list.number())
    };
    assert_eq!(at(NOW + CLOCK_TOLERANCE_SECS, clock(NOW)), Ok(5));
    assert_eq!(at(NOW + CLOCK_TOLERANCE_SECS + 1, clock(NOW)), Err(RevocationError::NotYetValid));
    assert_eq!(at(NOW + 1_000_000, floor(NOW)), Ok(5), "a floor says nothing of the future");
    assert_eq!(at(1, clock(NOW)), Ok(5));
    assert_eq!(at(NOW, clock(0)), Err(RevocationError::NotYetValid), "a clock that was set back");
}

#[test]
fn numbers_never_go_backward() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST refuse a list with a lower number than the highest that it has taken of the issuer, and another list with the same number.
    let mut store = RevocationStore::default();
    let me = authority(1).issuer();
    let mut take = |bytes: &[u8]| {
        let result = store.take(&verify_list(bytes).unwrap());
        (result, store.number(&me), store.is_revoked(&anchors(), &me, 7))
    };
    let (three, four) = (list_of(3, &[7..=7]), list_of(4, &[8..=8]));
    assert_eq!(take(&three), (Ok(ListTaken::New), 3, true));
    assert_eq!(take(&three), (Ok(ListTaken::Known), 3, true));
    assert_eq!(take(&list_of(3, &[])), (Err(RevocationError::Conflict), 3, true));
    assert_eq!(take(&list_of(2, &[])), (Err(RevocationError::Rollback { known: 3 }), 3, true));
    // A whole list takes the place of the one before, and those between were never needed.
    assert_eq!(take(&list_of(9, &[8..=8])), (Ok(ListTaken::New), 9, false));
    assert_eq!(take(&four), (Err(RevocationError::Rollback { known: 9 }), 9, false));
    let kept: Vec<Vec<u8>> = store.lists().map(|(_, _, bytes)| bytes.to_vec()).collect();
    assert_eq!(kept, [list_of(9, &[8..=8])], "what is to be kept is what came");
}

#[test]
fn each_issuer_revokes_its_own_serials_only() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST refuse a credential whose serial is in the latest list of its issuer, or whose issuer is in the latest list of the authority that has certified it.
    let both = TrustAnchors::new(&[authority(1).public_key(), authority(2).public_key()]).unwrap();
    let (one, two) = (authority(1).issuer(), authority(2).issuer());
    let request = RevocationRequest {
        number: 1,
        issued: UnixSeconds(NOW),
        issuers: &[two],
        backends: &[5..=6],
        devices: &[9..=9],
    };
    let list = authority(1).revoke(&request).unwrap();
    let mut store = RevocationStore::default();
    store.take(&both.verify_revocations(&list, clock(NOW)).unwrap()).unwrap();
    let revoked = |issuer: &IssuerId| {
        (0..20).filter(|serial| store.is_revoked(&both, issuer, *serial)).collect::<Vec<u32>>()
    };
    assert_eq!(revoked(&one), [5, 6, 9]);
    //= SPEC.md#revocation-lists
    //= type=test
    //# A verifier MUST NOT take an issuer as revoked by another list than that of the authority which has certified it.
    assert_eq!(revoked(&two), [0; 0], "an authority that is trusted for itself");
    assert_eq!(revoked(&IssuerId([7; 8])), [0; 0]);
}

proptest! {
    #[test]
    fn holds_exactly_what_was_put_in(
        runs in proptest::collection::vec((any::<u32>(), 0u32..40), 0..20),
        near in proptest::collection::vec((0u32..100, 0u32..9), 0..20),
        probes: Vec<u32>,
    ) {
        let runs: Vec<_> = runs.into_iter().chain(near).map(|(at, more)| at..=at.saturating_add(more)).collect();
        let list = list_of(1, &runs);
        let verified = verify_list(&list).unwrap();
        let serials = verified.devices().unwrap();
        let meant: BTreeSet<u32> = runs.iter().cloned().flatten().collect();
        prop_assert_eq!(serials.count(), meant.len() as u64);
        let mut store = RevocationStore::default();
        store.take(&verified).unwrap();
        let edges = runs.iter().flat_map(|run| [run.start().wrapping_sub(1), *run.start(), *run.end(), run.end().wrapping_add(1)]);
        for serial in edges.chain(probes) {
            prop_assert_eq!(serials.contains(serial), meant.contains(&serial));
            prop_assert_eq!(store.is_revoked(&anchors(), &authority(1).issuer(), serial), meant.contains(&serial));
        }
        // Runs do not touch: there is one encoding.
        let again: Vec<_> = serials.iter().collect();
        prop_assert!(again.windows(2).all(|two| u64::from(*two[0].end()) + 1 < u64::from(*two[1].start())));
        prop_assert_eq!(list_of(1, &again), list);
    }

    #[test]
    fn bytes_of_strangers_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..400), form in 1u8..=2) {
        prop_assert!(verify_list(&bytes).is_err());
        let mut shaped = raw().signed();
        shaped[1] = form;
        shaped.truncate(10 + 1 + 5 + 64);
        shaped.extend(bytes);
        prop_assert!(verify_list(&shaped).is_err());
    }
}

#[test]
fn lists_and_certificates_are_those_of_the_vectors() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let empty = Raw { number: 1, issued: 0, backends: vec![0], devices: vec![], ..raw() };
    let issuers = {
        let mut backends = vec![2];
        backends.extend([[1; 8], [2; 8]].concat());
        backends.extend([2, 1, 0]);
        Raw { number: u64::MAX, issued: MAX_UNIX_SECONDS - 1, backends, devices: vec![1, 98], ..raw() }
    };
    let runs = |runs: SerialRuns<'_>| runs.iter().map(|run| [*run.start(), *run.end()]).collect::<Vec<_>>();
    let lists: Vec<_> = [("usual", raw()), ("empty", empty), ("issuers", issuers)]
        .into_iter()
        .map(|(name, raw)| {
            let encoded = raw.signed();
            let list = anchors().verify_revocations(&encoded, floor(0)).unwrap();
            serde_json::json!({
                "name": name,
                "issuer": hex(&raw.issuer.0),
                "number": raw.number.to_string(),
                "issued": raw.issued,
                "revoked_issuers": list.issuers().map(|id| hex(&id.0)).collect::<Vec<_>>(),
                "backend_serials": runs(list.backends()),
                "device_serials": runs(list.devices().unwrap()),
                "signed_message": hex(&raw.message(b"vitalwire/1 revocation")),
                "encoded": hex(&encoded),
                "for_devices": hex(&list.for_devices()),
            })
        })
        .collect();
    let file = serde_json::json!({
        "origin": "src/identity/tests/revocations.rs; all byte strings in hex, runs as [first, last]",
        "authority_seed": hex(&[1; 32]),
        "authority_public": hex(&authority(1).public_key().0),
        "lists": lists,
        "certificates": super::intermediates::vectors(),
    });
    crate::test_vectors::compare_or_bless("authority.json", &file);
}
