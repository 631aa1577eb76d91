//! The same records in JSON and CBOR, for comparison: one map per record, without any protection on the way.

use crate::signals::{Content, Fact, Signal};
use serde::Serialize;
use vitalwire::framing::{Phase, Value};

#[derive(Serialize)]
struct Plain<'a> {
    device: &'a str,
    id: u64,
    channel: &'static str,
    unit: &'static str,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<&'a [i32]>,
    /// Milliseconds since `time`, value.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<Vec<(u64, i32)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm: Option<PlainAlarm>,
}

#[derive(Serialize)]
struct PlainAlarm {
    phase: &'static str,
    priority: &'static str,
    code: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i32>,
}

/// Bytes of one record in both: (JSON, CBOR).
pub fn encoded(device: &str, id: u64, fact: &Fact) -> Result<(u64, u64), String> {
    let signal = Signal::of_channel(fact.channel);
    let mut plain = Plain {
        device,
        id,
        channel: signal.map_or("?", Signal::name),
        unit: signal.map_or("?", Signal::unit),
        time: fact.time.as_millis(),
        value: None,
        first: None,
        samples: None,
        points: None,
        alarm: None,
    };
    match &fact.content {
        Content::Waveform { first, samples } => {
            plain.first = Some(*first);
            plain.samples = Some(samples);
        }
        Content::Measurement(measurement) => {
            plain.value = measurement.values.first().copied().and_then(Value::valid);
        }
        Content::Trend(points) => {
            let points = points.iter().map(|point| (point.offset.as_millis(), point.raw));
            plain.points = Some(points.collect());
        }
        Content::Alarm(alarm) => {
            plain.value = alarm.value;
            plain.alarm = Some(PlainAlarm {
                phase: if alarm.phase == Phase::Start { "start" } else { "end" },
                priority: "medium",
                code: alarm.code,
                limit: alarm.high_limit,
            });
        }
        Content::Other(_) => {}
    }
    let json = serde_json::to_vec(&plain).map_err(|error| error.to_string())?;
    let mut cbor = Vec::new();
    ciborium::into_writer(&plain, &mut cbor).map_err(|error| error.to_string())?;
    Ok((json.len() as u64, cbor.len() as u64))
}
