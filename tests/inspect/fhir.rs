//! Records as FHIR.

use super::said::{captured, monitor};
use super::session::{DEVICE_SECRET, session};
use super::*;
use vitalwire::interop::fhir::{Observation, from_json, parse};

const DEVICE: &str = "0011223344556677/000102030405060708090a0b0c0d0e0f";

#[test]
fn prints_observations_that_read_back() {
    let points = [(0, 72), (1000, 73)];
    let points = points.map(|(ms, raw)| TrendPoint { offset: Duration::from_millis(ms), raw });
    let measurement = Measurement::new(1, Values::valid(&[72]).unwrap());
    let labels = json!({ "identity": DEVICE, "boot": 7, "tag": "c0ffee01", "lane": "trend" });
    let capture = captured(&[measurement.into(), Record::Trend(TrendBlock::new(1, &points))], &labels);
    let (tally, out, errors) = inspect(Format::Fhir, &capture);
    assert_eq!((tally.records, tally.problems, errors.as_str()), (2, 0, ""));
    let set = monitor();
    let set = DescriptorSet::parse(&set).unwrap();
    let parsed: Vec<_> =
        out.lines().map(|line| parse(&from_json::<Observation>(line).unwrap(), &set).unwrap()).collect();
    let ids: Vec<String> = parsed.iter().map(|parsed| parsed.id.to_string()).collect();
    let id = |rest| format!("{DEVICE}/7-c0ffee01/trend/{rest}");
    assert_eq!(ids, [id("5"), id("6/0"), id("6/1")]);
    assert_eq!(parsed[0].content.record(), Some(measurement.into()));
}

#[test]
fn takes_the_device_from_the_keys_or_the_command_line() {
    let session = session();
    let (_, out, errors) = inspect(Format::Fhir, &session.capture(&[DEVICE_SECRET]));
    assert_eq!(out, "");
    assert!(errors.contains("FHIR needs the device's identity (see --identity)"), "{errors}");
    let capture = session.capture(&[DEVICE_SECRET]);
    let mut inspector = Inspector::new(Format::Fhir).unwrap();
    inspector.take_identity(DEVICE).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let tally = inspector.read_all(&mut capture.as_bytes(), &mut out, &mut errors).unwrap().unwrap();
    assert_eq!((tally.records, tally.problems), (session.sent, 0));
    let line = out.split(|byte| *byte == b'\n').next().unwrap();
    assert!(String::from_utf8_lossy(line).contains(&format!("{DEVICE}/9-01020304/trend/0")));
    let (keys, rest) = capture.split_once('\n').unwrap();
    let mut keys: Json = serde_json::from_str(keys).unwrap();
    keys["identity"] = DEVICE.into();
    let (tally, again, _) = inspect(Format::Fhir, &format!("{keys}\n{rest}"));
    assert_eq!((tally.problems, again.as_bytes()), (0, out.as_slice()));
}

#[test]
fn says_what_it_lacks_and_what_has_no_form() {
    let extension = ExtensionRecord { kind: 200, bytes: &[1] };
    let labels = json!({ "identity": DEVICE, "boot": 7, "tag": "c0ffee01", "lane": "event" });
    for missing in ["boot", "tag", "lane"] {
        let mut labels = labels.clone();
        labels.as_object_mut().unwrap().remove(missing);
        let measurement = Measurement::new(1, Values::valid(&[72]).unwrap());
        let (tally, out, errors) = inspect(Format::Fhir, &captured(&[measurement.into()], &labels));
        assert_eq!((tally.problems, out.as_str()), (1, ""));
        assert!(errors.contains(missing), "{errors}");
    }
    let (tally, _, errors) = inspect(Format::Fhir, &captured(&[extension.into()], &labels));
    assert!(tally.problems == 1 && errors.contains("line 2: sequence 5: "), "{errors}");
}
