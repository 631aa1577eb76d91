//! The same facts in other encodings: the structs that one would write without much thought, in postcard and in JSON,
//! and SenML (RFC 8428) in JSON and CBOR. Each says by itself what it is about, when and in which unit.
//!
//! Where an encoding leaves a choice, the shorter form is taken.

use ciborium::Value as Cbor;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

/// Milliseconds since 1970.
const TIME: u64 = 1_750_000_000_123;

/// Bytes of one example, mean where there are many; `None` where the encoding has no way to say it.
pub struct Sizes {
    pub postcard: f64,
    pub senml_cbor: Option<f64>,
    pub senml_json: Option<f64>,
    pub json: f64,
}

#[derive(Serialize)]
struct Numeric {
    time: u64,
    values: Vec<NumericValue>,
}

#[derive(Serialize)]
struct NumericValue {
    code: u32,
    unit: u32,
    exponent: i8,
    value: i32,
    state: u8,
}

/// A waveform, or values at equal steps.
#[derive(Serialize)]
struct Series<'a> {
    time: u64,
    code: u32,
    unit: u32,
    exponent: i8,
    scale: i32,
    period_us: u32,
    samples: &'a [i32],
}

#[derive(Serialize)]
struct Event {
    time: u64,
    code: u32,
    unit: u32,
    exponent: i8,
    value: i32,
}

#[derive(Serialize)]
struct Alarm {
    time: u64,
    source: u32,
    unit: u32,
    kind: u8,
    priority: u8,
    phase: u8,
    code: u32,
    value: Option<i32>,
    low_limit: Option<i32>,
    high_limit: Option<i32>,
}

#[derive(Serialize)]
struct Gap {
    time: u64,
    lane: u8,
    first: u64,
    count: u64,
    reason: u8,
}

/// A number as it is measured: `mantissa · 10^exponent`.
#[derive(Clone, Copy)]
struct Number(i64, i8);

/// One record of a SenML pack: name (empty: the base name alone), milliseconds since the base time, value.
struct Resolved<'a>(&'a str, i64, Number);

/// A pack: base unit, records.
struct Pack<'a> {
    unit: &'a str,
    records: Vec<Resolved<'a>>,
}

fn sizes(plain: &impl Serialize, pack: Option<&Pack<'_>>) -> Sizes {
    let cbor = |pack: &Pack<'_>| {
        let mut bytes = Vec::new();
        ciborium::into_writer(&pack.cbor(), &mut bytes).expect("memory does not fail");
        bytes.len() as f64
    };
    Sizes {
        postcard: postcard::to_allocvec(plain).expect("plain data").len() as f64,
        senml_cbor: pack.map(cbor),
        senml_json: pack.map(|pack| pack.json().to_string().len() as f64),
        json: serde_json::to_vec(plain).expect("plain data").len() as f64,
    }
}

/// A device's name as RFC 9039 forms it from a MAC address.
const DEVICE: &str = "urn:dev:mac:0024befffe804ff1:";

impl Pack<'_> {
    fn json(&self) -> Json {
        let records = self.records.iter().enumerate().map(|(index, Resolved(name, time, value))| {
            let mut map = Map::new();
            if index == 0 {
                map.insert("bn".into(), json!(DEVICE));
                map.insert("bt".into(), json!(TIME as f64 / 1000.0));
                map.insert("bu".into(), json!(self.unit));
            }
            if !name.is_empty() {
                map.insert("n".into(), json!(name));
            }
            if *time != 0 {
                map.insert("t".into(), json!(*time as f64 / 1000.0));
            }
            map.insert("v".into(), value.json());
            Json::Object(map)
        });
        Json::Array(records.collect())
    }

    /// With the integer labels of RFC 8428, section 6.
    fn cbor(&self) -> Cbor {
        let label = |number: i8| Cbor::Integer(number.into());
        let records = self.records.iter().enumerate().map(|(index, Resolved(name, time, value))| {
            let mut map = Vec::new();
            if index == 0 {
                map.push((label(-2), Cbor::Text(DEVICE.into())));
                map.push((label(-3), Number(TIME as i64, -3).cbor()));
                map.push((label(-4), Cbor::Text(self.unit.into())));
            }
            if !name.is_empty() {
                map.push((label(0), Cbor::Text((*name).into())));
            }
            if *time != 0 {
                map.push((label(6), Number(*time, -3).cbor()));
            }
            map.push((label(2), value.cbor()));
            Cbor::Map(map)
        });
        Cbor::Array(records.collect())
    }
}

impl Number {
    fn json(self) -> Json {
        match self.1 {
            0 => json!(self.0),
            exponent => {
                // by way of text, so that 36.8 stays 36.8
                let text = format!("{}e{exponent}", self.0);
                json!(text.parse::<f64>().expect("a number"))
            }
        }
    }

    /// An integer, or a decimal fraction (tag 4), which is shorter than a double.
    fn cbor(self) -> Cbor {
        let integer = |number: i64| Cbor::Integer(number.into());
        match self.1 {
            0 => integer(self.0),
            exponent => Cbor::Tag(4, Box::new(Cbor::Array(vec![integer(exponent.into()), integer(self.0)]))),
        }
    }
}

/// Code, unit, exponent, value.
fn numeric(values: &[(u32, u32, i8, i32)]) -> Numeric {
    let value = |&(code, unit, exponent, value): &_| NumericValue { code, unit, exponent, value, state: 0 };
    Numeric { time: TIME, values: values.iter().map(value).collect() }
}

fn pack<'a>(unit: &'a str, values: &[(&'a str, i64, i8)]) -> Pack<'a> {
    let record = |&(name, value, exponent): &(&'a str, i64, i8)| Resolved(name, 0, Number(value, exponent));
    Pack { unit, records: values.iter().map(record).collect() }
}

/// Samples at equal steps in microseconds, under one name.
fn series<'a>(name: &'a str, samples: &'a [i32], step: i64, scale: i64, exponent: i8) -> Vec<Resolved<'a>> {
    let record = |(n, &x): (i64, &i32)| {
        Resolved(name, (n * step + 500) / 1000, Number(i64::from(x) * scale, exponent))
    };
    (0..).zip(samples).map(record).collect()
}

fn mean(all: Vec<Sizes>) -> Sizes {
    let count = all.len() as f64;
    let of = |part: &dyn Fn(&Sizes) -> f64| all.iter().map(part).sum::<f64>() / count;
    Sizes {
        postcard: of(&|sizes| sizes.postcard),
        senml_cbor: Some(of(&|sizes| sizes.senml_cbor.unwrap_or(0.0))),
        senml_json: Some(of(&|sizes| sizes.senml_json.unwrap_or(0.0))),
        json: of(&|sizes| sizes.json),
    }
}

const PER_MINUTE: u32 = 264_864;
const MMHG: u32 = 266_016;

/// What a kind of `measure::kinds` takes, by its name.
pub fn sizes_of(kind: &str) -> Option<Sizes> {
    Some(match kind {
        "heart rate" => {
            let plain = numeric(&[(147_842, PER_MINUTE, 0, 72)]);
            sizes(&plain, Some(&pack("beat/min", &[("hr", 72, 0)])))
        }
        "SpO2, pulse" => {
            let plain = numeric(&[(150_456, 262_688, 0, 98), (149_530, PER_MINUTE, 0, 72)]);
            // the units differ, so that the second one stands in the name
            sizes(&plain, Some(&pack("/100", &[("spo2", 98, 0), ("pulse/min", 72, 0)])))
        }
        "blood pressure, pulse" => {
            let plain = numeric(&[
                (150_021, MMHG, 0, 120),
                (150_022, MMHG, 0, 80),
                (150_023, MMHG, 0, 93),
                (149_546, PER_MINUTE, 0, 72),
            ]);
            let values = [("sys", 120, 0), ("dia", 80, 0), ("mean", 93, 0), ("pulse/min", 72, 0)];
            sizes(&plain, Some(&pack("mm[Hg]", &values)))
        }
        "temperature" => {
            let plain = numeric(&[(150_364, 268_192, -1, 368)]);
            sizes(&plain, Some(&pack("Cel", &[("temp", 368, -1)])))
        }
        "glucose" => {
            let plain = numeric(&[(160_212, 264_274, 0, 104)]);
            sizes(&plain, Some(&pack("mg/dL", &[("glucose", 104, 0)])))
        }
        "event: bolus" => {
            let plain = Event { time: TIME, code: 8_417_862, unit: 266_016, exponent: -2, value: 250 };
            sizes(&plain, Some(&pack("[iU]", &[("bolus", 250, -2)])))
        }
        "alarm" => {
            let plain = Alarm {
                time: TIME,
                source: 147_842,
                unit: PER_MINUTE,
                kind: 0,
                priority: 3,
                phase: 0,
                code: 196_650,
                value: Some(162),
                low_limit: None,
                high_limit: Some(150),
            };
            let values = [("hr/high/start", 162, 0), ("hr/limit", 150, 0)];
            sizes(&plain, Some(&pack("beat/min", &values)))
        }
        "gap" => sizes(&Gap { time: TIME, lane: 2, first: 900, count: 12, reason: 1 }, None),
        "ECG, 1 s of 360 Hz" => {
            // the baseline is taken off, so that many of them take one byte in postcard
            let ecg: Vec<i32> = crate::signals::ecg().iter().map(|x| x - 1024).collect();
            let second = |samples| {
                let plain = wave(131_330, 266_418, -3, 5, 2778, samples);
                let records = series("", samples, 2778, 5, -3);
                sizes(&plain, Some(&Pack { unit: "mV", records }))
            };
            mean(ecg.chunks(360).map(second).collect())
        }
        "60 heart rates, 1 Hz" => {
            let rates = crate::signals::heart_rates();
            let minute = |samples| {
                let plain = wave(147_842, PER_MINUTE, 0, 1, 1_000_000, samples);
                let records = series("", samples, 1_000_000, 1, 0);
                sizes(&plain, Some(&Pack { unit: "beat/min", records }))
            };
            mean(rates.chunks_exact(60).map(minute).collect())
        }
        "acceleration, 1 s of 3 x 50 Hz" => {
            let axes = crate::signals::acceleration();
            let plain: Vec<_> = axes.iter().map(|axis| wave(8_417_861, 0, -3, 1, 20_000, axis)).collect();
            let records = ["x", "y", "z"].iter().zip(&axes);
            let records = records.flat_map(|(name, axis)| series(name, axis, 20_000, 1, -3)).collect();
            sizes(&plain, Some(&Pack { unit: "g", records }))
        }
        _ => return None,
    })
}

fn wave(code: u32, unit: u32, exponent: i8, scale: i32, period_us: u32, samples: &[i32]) -> Series<'_> {
    Series { time: TIME, code, unit, exponent, scale, period_us, samples }
}
