//! Identifiers, pseudonyms, dates and bundles.

use super::super::{
    Bundle, Clock, Context, Device, FhirError, Observation, Pseudonym, RecordId, Resource, Subject,
};
use super::super::{DeviceInfo, from_json, to_json};
use super::{context, measured, numeric, record};
use crate::clinical::mdc::{self, unit};
use crate::framing::{BatchRecord, BootTag, Component, Lane, Measurement, Quality, Value, Values};
use crate::time::Instant;
use std::collections::BTreeSet;

const ID: &str = "1111111111111111/22222222222222222222222222222222/7-c0ffee01/event/41";

fn heart_rate_set() -> Vec<u8> {
    numeric(mdc::ECG_HEART_RATE, &[Component::new(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN)])
}

#[test]
fn a_record_has_one_identifier_in_one_form() {
    let set = heart_rate_set();
    let observation = measured(&set, &[Value::Present(72, Quality::Valid)]);
    assert_eq!(observation.identifier[0].value.as_deref(), Some(ID));
    assert_eq!(ID.parse::<RecordId>().unwrap().to_string(), ID);
    let others = [
        ID.replace("c0ffee01", "C0FFEE01"),
        ID.replace("/41", "/041"),
        ID.replace("/41", "/+41"),
        ID.replace("/7-", "/-7-"),
        ID.replace("event", "Event"),
        format!("{ID}/"),
        format!("{ID}/0/0"),
        format!(" {ID}"),
        ID.replacen('1', "é", 1),
        ID.replace("/41", "/18446744073709551616"),
    ];
    for text in others {
        assert!(matches!(text.parse::<RecordId>(), Err(FhirError::Unexpected(_))), "{text}");
    }
}

#[test]
fn records_of_different_streams_have_different_names() {
    let set = heart_rate_set();
    let name = |context: &Context<'_>, sequence| {
        let measurement = Measurement::new(1, Values::valid(&[72]).unwrap());
        let found = BatchRecord { sequence, ..record(measurement) };
        context.observations(&found).unwrap()[0].identifier[0].value.clone().unwrap()
    };
    let one = context(&set);
    assert_eq!(name(&one, 41), name(&one.clone(), 41));
    let mut other_device = one.clone();
    other_device.device.subject.0[0] ^= 1;
    let mut other_issuer = one.clone();
    other_issuer.device.issuer.0[0] ^= 1;
    let others = [
        name(&one, 41),
        name(&one, 42),
        name(&other_device, 41),
        name(&other_issuer, 41),
        name(&Context { boot: 8, ..one.clone() }, 41),
        // the same number again, as after a replaced flash
        name(&Context { tag: BootTag([0xc0, 0xff, 0xee, 2]), ..one.clone() }, 41),
        name(&Context { lane: Lane::Alarm, ..one.clone() }, 41),
    ];
    assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len());
    // neither whose it is nor when it was changes the name of a record
    assert_eq!(name(&Context { subject: None, clock: None, ..one.clone() }, 41), name(&one, 41));
}

#[test]
fn refuses_pseudonyms_that_somebody_could_read() {
    for text in
        ["", " ", "Jane Doe", "jane.doe@example.org", "0815", "19700101", "9d4e4f508a617b2", "patient-4711"]
    {
        assert!(matches!(Pseudonym::new(text), Err(FhirError::Pseudonym)), "{text}");
    }
    let too_long = "a".repeat(65);
    assert!(Pseudonym::new(&too_long).is_err());
    assert!(Pseudonym::new(&too_long[1..]).is_ok());
    assert!(Pseudonym::new("6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f6").is_err());
    assert!(Pseudonym::new("6f1c2b3a9d4e-4f50-8a61-7b2c-3d4e5f60").is_err());
    assert_eq!(Pseudonym::new("0123456789ABCDEF").unwrap().as_str(), "0123456789abcdef");
}

#[test]
fn debug_output_does_not_tell_the_pseudonym() {
    let subject = Subject::patient(Pseudonym::new("0123456789abcdef").unwrap());
    assert!(!format!("{subject:?}").contains("0123456789abcdef"));
}

#[test]
fn refuses_systems_that_are_no_uris() {
    let pseudonym = || Pseudonym::new("0123456789abcdef").unwrap();
    for system in ["", "hospital", "urn:", ":x", "urn:a b", "urn:a|b", "1rn:x", "urn:\u{e9}"] {
        assert!(matches!(Subject::identifier(system, pseudonym()), Err(FhirError::Uri)), "{system}");
    }
    assert!(Subject::identifier("https://example.org/ids", pseudonym()).is_ok());
}

#[test]
fn dates_are_those_of_the_calendar() {
    let date = |millis| Clock::new(millis).date_time(Instant::ZERO).unwrap();
    // checked with `date -u -d @SECONDS`
    assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(date(951_782_399_999), "2000-02-28T23:59:59.999Z");
    assert_eq!(date(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(date(951_868_800_000), "2000-03-01T00:00:00.000Z");
    assert_eq!(date(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    assert_eq!(date(1_704_067_199_000), "2023-12-31T23:59:59.000Z");
    assert_eq!(date(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
    let too_late = Clock::new(253_402_300_799_999).date_time(Instant::from_millis(1));
    assert!(matches!(too_late, Err(FhirError::Time)));
    assert!(matches!(Clock::new(u64::MAX).date_time(Instant::FAR_FUTURE), Err(FhirError::Time)));
}

#[test]
fn an_upload_may_be_repeated() {
    let set = heart_rate_set();
    let device = context(&set).device_resource(&DeviceInfo::default());
    let heart_rate = measured(&set, &[Value::Present(72, Quality::Valid)]);
    let bundle = Bundle::transaction(Some(device), [heart_rate]);
    let request = |at: usize| bundle.entry[at].request.as_ref().unwrap();
    let by_name = "urn:vitalwire:device|1111111111111111/22222222222222222222222222222222";
    assert_eq!(request(0).method, "PUT");
    assert_eq!(request(0).url, format!("Device?identifier={by_name}"));
    assert_eq!((request(1).method.as_str(), request(1).url.as_str()), ("POST", "Observation"));
    assert_eq!(
        request(1).if_none_exist.as_deref(),
        Some(format!("identifier=urn:vitalwire:record|{ID}").as_str())
    );
    // the Observation refers to the Device that comes along
    let Some(Resource::Observation(observation)) = &bundle.entry[1].resource else { panic!() };
    assert_eq!(observation.device.as_ref().unwrap().reference, bundle.entry[0].full_url);
    // an entry of a batch may not refer to another one
    let batch = Bundle::batch(None, [(**observation).clone()]);
    assert_eq!(batch.observations().count(), 1);
    assert!(to_json(&batch).unwrap().contains(r#""type":"batch""#));
}

#[test]
fn a_record_is_in_a_bundle_once() {
    let set = heart_rate_set();
    let one = measured(&set, &[Value::Present(72, Quality::Valid)]);
    let mut other = one.clone();
    other.identifier[0].value = Some(ID.replace("/41", "/42"));
    let all = [one.clone(), other.clone(), one.clone()];
    for bundle in [Bundle::collection, Bundle::transaction, Bundle::batch].map(|make| make(None, all.clone()))
    {
        let values = bundle.observations().map(|found| found.identifier[0].value.clone().unwrap());
        assert_eq!(values.collect::<Vec<_>>(), [ID.to_owned(), ID.replace("/41", "/42")]);
    }
    // without an identifier there is nothing that they could share
    let unnamed = Observation { identifier: Vec::new(), ..one };
    assert_eq!(Bundle::batch(None, [unnamed.clone(), unnamed]).observations().count(), 2);
}

#[test]
fn escapes_what_would_end_a_query() {
    let mut device = Device::default();
    let name = super::super::Identifier { system: Some("urn:a&b".into()), value: Some("x|y, z".into()) };
    device.identifier.push(name);
    let bundle = Bundle::batch(Some(device), []);
    let request = bundle.entry[0].request.as_ref().unwrap();
    assert_eq!(request.url, "Device?identifier=urn:a%26b|x%7Cy%2C%20z");
}

#[test]
fn entries_of_a_bundle_have_different_names() {
    let set = heart_rate_set();
    let plain = measured(&set, &[Value::Present(72, Quality::Valid)]);
    let named = (0..20_000).map(|sequence| {
        let mut observation = plain.clone();
        observation.identifier[0].value = Some(ID.replace("/41", &format!("/{sequence}")));
        observation
    });
    let bundle = Bundle::collection(None, named);
    let names: BTreeSet<_> = bundle.entry.iter().map(|entry| entry.full_url.clone().unwrap()).collect();
    assert_eq!(names.len(), 20_000);
    let name = bundle.entry[0].full_url.as_deref().unwrap();
    assert_eq!(name.len(), "urn:uuid:".len() + 36);
    assert_eq!(&name[23..24], "8", "the version of the UUID: {name}");
    assert!(matches!(&name[28..29], "8" | "9" | "a" | "b"), "the variant of the UUID: {name}");
}

#[test]
fn a_bundle_keeps_resources_of_other_types() {
    let text = r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","multipleBirthInteger":1.50}}]}"#;
    let bundle: Bundle = from_json(text).unwrap();
    assert!(matches!(&bundle.entry[0].resource, Some(Resource::Other(_))));
    assert_eq!(to_json(&bundle).unwrap(), text);
    assert!(from_json::<Bundle>(r#"{"resourceType":"Observation","type":"collection"}"#).is_err());
    assert!(
        from_json::<Bundle>(r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":1}]}"#)
            .is_err()
    );
}
