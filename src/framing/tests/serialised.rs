//! The data model in JSON, CBOR and postcard: it comes back, and what could not be encoded is refused.

use super::records::{any_mode, any_record};
use super::*;
use crate::time::Duration;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Writes `one` in each format, and reads what came from it as a `T`.
fn through_each_format<T: DeserializeOwned>(one: &impl Serialize) -> [T; 3] {
    let json = serde_json::to_string(one).unwrap();
    let mut cbor = Vec::new();
    ciborium::into_writer(one, &mut cbor).unwrap();
    let mut space = vec![0; 1 << 16];
    let postcard = postcard::to_slice(one, &mut space).unwrap();
    [
        serde_json::from_str(&json).unwrap(),
        ciborium::from_reader(&cbor[..]).unwrap(),
        postcard::from_bytes(postcard).unwrap(),
    ]
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(one: &T) {
    for read in through_each_format::<T>(one) {
        assert_eq!(read, *one);
    }
}

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(json: &str) {
    let read = serde_json::from_str::<T>(json);
    assert!(read.is_err(), "{read:?}");
}

proptest! {
    #[test]
    fn every_record_comes_back(record in any_record()) {
        let owned = RecordBuf::from(&record);
        prop_assert_eq!(owned.as_record(), record.clone());
        for read in through_each_format::<RecordBuf>(&record) {
            prop_assert_eq!(read.as_record(), record.clone());
        }
        for read in through_each_format::<RecordBuf>(&owned) {
            prop_assert_eq!(&read, &owned);
        }
    }

    #[test]
    fn blocks_come_back(
        samples in proptest::collection::vec(any::<i32>(), 1..=MAX_SAMPLES),
        first_sample in 0..u64::MAX - MAX_SAMPLES as u64,
        mode in any_mode(),
    ) {
        let status = Status { mode, quality: Quality::Calibrating };
        let mut waveform = WaveformBlock::new(ECG, first_sample, &samples);
        waveform.status = status;
        let point = |(n, &raw): (u64, &i32)| TrendPoint { offset: Duration::from_millis(n * n), raw };
        let points: Vec<_> = (0..).zip(&samples).map(point).collect();
        let mut trend = TrendBlock::new(HEART_RATE, &points);
        trend.status = status;
        // rows of two components, and of one of these
        let rows = samples.len() / 2;
        let offsets: Vec<_> = points[..rows].iter().map(|point| point.offset).collect();
        let pairs = WaveformBlock::interleaved(ECG, first_sample, 2, &samples[..2 * rows]);
        let compound = TrendBlock::compound(OXIMETER, 2, &offsets, &samples[..2 * rows]);
        let mut records = vec![Record::from(waveform), Record::from(trend)];
        if rows > 0 {
            records.extend([pairs, pairs.without(0, Absence::Failed)].map(Record::from));
            records.push(pairs.without(0, Absence::Failed).without(1, Absence::Withheld).into());
            records.extend([compound, compound.without(1, Absence::Overflow)].map(Record::from));
        }
        for record in records {
            for read in through_each_format::<RecordBuf>(&record) {
                prop_assert_eq!(read.as_record(), record.clone());
            }
        }
    }
}

const MAX_SAMPLES: usize = crate::limits::MAX_BLOCK_SAMPLES;

#[test]
fn encoded_blocks_serialise_like_listed_ones() {
    with_set(|set| {
        let record = Record::from(WaveformBlock::new(ECG, 7, &[3, 4, 5]));
        let bytes = encode(&record, set).unwrap();
        let decoded = decode(&bytes, set).unwrap();
        let json = r#"{"waveform":{"channel":3,"first_sample":7,"status":{"mode":"real","quality":"valid"},"rows":3,"components":[{"present":[3,4,5]}]}}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(serde_json::to_string(&decoded).unwrap(), json);
        assert_eq!(RecordBuf::from(&decoded).as_record(), record);
    });
}

#[test]
fn descriptors_come_back() {
    with_set(|set| {
        let owned: Vec<DescriptorBuf> = set.channels().map(|channel| (&channel).into()).collect();
        assert_eq!(owned.len(), 9);
        for read in through_each_format::<Vec<DescriptorBuf>>(set) {
            assert_eq!(read, owned);
        }
        let borrowed: Vec<_> = owned.iter().map(DescriptorBuf::as_descriptor).collect();
        let mut bytes = [0; 512];
        let len = encode_descriptors(&borrowed, &mut bytes).unwrap();
        assert_eq!(&bytes[..len], set.as_bytes());
    });
}

#[test]
fn identifiers_come_back_and_are_hex_where_people_read() {
    let (tag, hash) = (BootTag([0, 0x1f, 0xa0, 0xff]), SetHash([9; 16]));
    comes_back(&tag);
    comes_back(&hash);
    comes_back(&Lane::Alarm);
    assert_eq!(serde_json::to_string(&tag).unwrap(), "\"001fa0ff\"");
    for wrong in
        ["\"001fa0\"", "\"001fa0ff00\"", "\"001fa0f\"", "\"001fa0fg\"", "\"001FA0FF\"", "\"001fa0é\"", "3"]
    {
        refused::<BootTag>(wrong);
    }
}

#[test]
fn a_batch_record_says_where_and_when_it_belongs() {
    let record = BatchRecord {
        sequence: 70,
        time: Instant::from_millis(5000),
        record: Gap { lane: Some(Lane::Trend), first: 3, count: 2, reason: GapReason::OutboxFull }.into(),
    };
    assert_eq!(
        serde_json::to_string(&record).unwrap(),
        r#"{"sequence":70,"time":5000,"record":{"gap":{"lane":"trend","first":3,"count":2,"reason":"outbox_full"}}}"#
    );
}

#[test]
fn what_could_not_be_encoded_is_refused() {
    let eight = ["{\"absent\":\"unknown\"}"; 8].join(",");
    assert_eq!(serde_json::from_str::<Values>(&format!("[{eight}]")).unwrap().len(), 8);
    refused::<Values>("[]");
    refused::<Values>(&format!("[{eight},{{\"absent\":\"unknown\"}}]"));
    refused::<Values>(r#"[{"present":[1,"excellent"]}]"#);
    refused::<Value>(r#"{"present":[2147483648,"valid"]}"#);
    refused::<Gap>(r#"{"lane":null,"first":3,"count":0,"reason":"unknown"}"#);
    refused::<Gap>(r#"{"lane":null,"first":18446744073709551615,"count":1,"reason":"unknown"}"#);
    refused::<Gap>(r#"{"lane":null,"first":1,"count":1,"reason":7}"#);
    // 51 is the low limit where the channel's scale is negative: its descriptor decides, when they are encoded
    let falling = r#"{"channel":1,"component":0,"mode":"real","low":51,"high":50}"#;
    assert_eq!(serde_json::from_str::<AlarmLimits>(falling).unwrap().low, Some(51));
    refused::<AlarmLimits>(r#"{"channel":1,"component":12,"mode":"real","low":null,"high":null}"#);
    refused::<Rate>(r#"{"numerator":1,"denominator":0}"#);
    refused::<Component>(
        r#"{"metric":1,"unit":1,"scale":{"mantissa":0,"exponent":0},"offset":{"mantissa":0,"exponent":0}}"#,
    );
    refused::<Component>(
        r#"{"metric":1,"unit":1,"scale":{"mantissa":1,"exponent":0},"offset":{"mantissa":2147483648,"exponent":0}}"#,
    );
    refused::<RecordBuf>(r#"{"extension":{"kind":1,"bytes":"00"}}"#);
    refused::<RecordBuf>(r#"{"extension":{"kind":9,"bytes":"0"}}"#);
    refused::<RecordBuf>(r#"{"prophecy":{"kind":9}}"#);
    let status = r#""status":{"mode":"real","quality":"valid"}"#;
    let waveform = |first: u64, rows: u32, components: &str| {
        format!(
            r#"{{"waveform":{{"channel":1,"first_sample":{first},{status},"rows":{rows},"components":[{components}]}}}}"#
        )
    };
    let (pair, absent) = (r#"{"present":[1,2]}"#, r#"{"absent":"sensor_off"}"#);
    assert!(serde_json::from_str::<RecordBuf>(&waveform(0, 2, &[pair, absent].join(","))).is_ok());
    refused::<RecordBuf>(&waveform(0, 0, r#"{"present":[]}"#));
    refused::<RecordBuf>(&waveform(0, 2, ""));
    refused::<RecordBuf>(&waveform(0, 3, pair));
    refused::<RecordBuf>(&waveform(0, 1025, absent));
    refused::<RecordBuf>(&waveform(0, 2, &[pair; 13].join(",")));
    refused::<RecordBuf>(&waveform(u64::MAX, 2, pair));
    let trend = |offsets: &str, components: &str| {
        format!(r#"{{"trend":{{"channel":1,{status},"offsets":[{offsets}],"components":[{components}]}}}}"#)
    };
    assert!(serde_json::from_str::<RecordBuf>(&trend("0,2", pair)).is_ok());
    refused::<RecordBuf>(&trend("", r#"{"present":[]}"#));
    refused::<RecordBuf>(&trend("1,2", pair));
    assert!(serde_json::from_str::<RecordBuf>(&trend("0,2147483647", pair)).is_ok());
    refused::<RecordBuf>(&trend("0,2147483648", pair));
    refused::<RecordBuf>(&trend("0", pair));
    refused::<RecordBuf>(&trend("0,2,1", r#"{"present":[1,2,3]}"#));
    refused::<RecordBuf>(&trend("0,2", &[pair; 9].join(",")));
    let text = "x".repeat(129);
    refused::<RecordBuf>(&format!(
        r#"{{"annotation":{{"channel":null,"mode":"real","code":0,"span":0,"text":"{text}"}}}}"#
    ));
    refused::<RecordBuf>(
        r#"{"annotation":{"channel":null,"mode":"real","code":0,"span":4294967296,"text":""}}"#,
    );
    let channel = |kind: &str, extensions: &str| {
        format!(
            r#"{{"number":1,"kind":"{kind}","metric":1,"site":0,"rate":null,"components":[],"extensions":"{extensions}"}}"#
        )
    };
    assert!(serde_json::from_str::<DescriptorBuf>(&channel("alarm", "0301094002")).is_err());
    assert!(serde_json::from_str::<DescriptorBuf>(&channel("alarm", "030109")).is_ok());
    refused::<DescriptorBuf>(&channel("numeric", ""));
    refused::<DescriptorBuf>(&channel("dream", ""));
}
