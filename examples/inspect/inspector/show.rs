//! Records in words, and what their numbers mean as JSON.

use super::names::{hex, lane, term, unit, with_unit, words};
use serde_json::{Map, Value as Json, json};
use vitalwire::framing::*;

/// The channel's components; none if the set does not have it.
fn components(set: &DescriptorSet<'_>, channel: u8) -> Vec<Component> {
    set.channel(channel).map(|channel| channel.components.iter().collect()).unwrap_or_default()
}

/// Writes a raw value as what it stands for in a component, or as it is without one.
fn physical(component: Option<&Component>, raw: i32) -> String {
    match component.and_then(|component| component.physical(raw)) {
        Some(value) => value.to_string(),
        None => format!("raw {raw}"),
    }
}

/// One component of a block: its numbers, or why there are none.
type Column = Result<Vec<i32>, Absence>;

fn trend_columns(block: &TrendBlock<'_>) -> Vec<Column> {
    let column = |n| match block.absence(n) {
        Some(absence) => Err(absence),
        None => Ok(block.rows().filter_map(|(_, row)| row.get(n)).collect()),
    };
    (0..block.components()).map(column).collect()
}

fn waveform_columns(block: &WaveformBlock<'_>) -> Vec<Column> {
    let column = |n| block.absence(n).map_or_else(|| Ok(block.component(n).collect()), Err);
    (0..block.components()).map(column).collect()
}

/// Returns the record's channel, if it is of one.
const fn channel_of(record: &Record<'_>) -> Option<u8> {
    match record {
        Record::Measurement(m) => Some(m.channel),
        Record::Trend(t) => Some(t.channel),
        Record::Waveform(w) => Some(w.channel),
        Record::Event(e) => Some(e.channel),
        Record::Alarm(a) => Some(a.channel),
        Record::AlarmLimits(l) => Some(l.channel),
        Record::Annotation(a) => a.channel,
        _ => None,
    }
}

/// Tells how a record came to be; a gap and an extension do not say.
const fn mode_of(record: &Record<'_>) -> Mode {
    match record {
        Record::Measurement(m) => m.mode,
        Record::Trend(t) => t.status.mode,
        Record::Waveform(w) => w.status.mode,
        Record::Event(e) => e.mode,
        Record::Alarm(a) => a.mode,
        Record::AlarmLimits(l) => l.mode,
        Record::Annotation(a) => a.mode,
        _ => Mode::Real,
    }
}

fn quality(quality: Quality) -> String {
    if quality == Quality::Valid { String::new() } else { format!(" [{}]", words(&quality)) }
}

/// Says a record in words, on one line. What is not of the patient says so before anything else.
pub fn text(record: &Record<'_>, set: &DescriptorSet<'_>) -> String {
    let mode = match mode_of(record) {
        Mode::Real => String::new(),
        mode => format!("*** {} *** ", words(&mode).to_uppercase()),
    };
    let heading = |kind: &str| match channel_of(record) {
        Some(number) => {
            let metric = set.channel(number).map_or("not in the set".into(), |channel| term(channel.metric));
            format!("{mode}{kind} channel {number} {metric}:")
        }
        None => format!("{mode}{kind}:"),
    };
    let components = channel_of(record).map(|channel| components(set, channel)).unwrap_or_default();
    match record {
        Record::Measurement(m) => format!("{} {}", heading("measurement"), values(m, &components)),
        Record::Trend(t) => {
            let columns = columns(&trend_columns(t), &components);
            let quality = quality(t.status.quality);
            format!("{}{quality} {} points {}: {columns}", heading("trend"), t.len(), times(t))
        }
        Record::Waveform(w) => {
            let columns = columns(&waveform_columns(w), &components);
            let quality = quality(w.status.quality);
            format!("{}{quality} {} rows from {}: {columns}", heading("waveform"), w.len(), w.first_sample)
        }
        Record::Event(e) => {
            let value = amount("", e.value, components.first());
            format!("{} {}{value}", heading("event"), term(e.code))
        }
        Record::Alarm(a) => format!(
            "{} {}, {} priority, {}: {}{}{}{}",
            heading("alarm"),
            words(&a.kind),
            words(&a.priority),
            words(&a.phase),
            term(a.code),
            amount("value ", a.value, components.first()),
            amount("low limit ", a.low_limit, components.first()),
            amount("high limit ", a.high_limit, components.first()),
        ),
        Record::AlarmLimits(l) => {
            let component = components.get(usize::from(l.component));
            let name = component.map_or(format!("component {}", l.component), |found| term(found.metric));
            let limit = |name: &str, raw: Option<i32>| match raw {
                Some(_) => amount(name, raw, component),
                None => format!(", {name}none"),
            };
            format!("{} {name}{}{}", heading("alarm limits"), limit("low ", l.low), limit("high ", l.high))
        }
        Record::Annotation(a) => {
            let code = if a.code == 0 { String::new() } else { format!(" {}", term(a.code)) };
            let span = a.span.as_millis();
            let span = if span == 0 { String::new() } else { format!(" for {span} ms") };
            // quoted, as a line break in it must not end the line
            let text = if a.text.is_empty() { String::new() } else { format!(" {:?}", a.text) };
            format!("{}{code}{span}{text}", heading("annotation"))
        }
        Record::Gap(g) => {
            let of = g.lane.map_or("this stream", lane);
            format!("gap: {} records of {of} from {} on: {}", g.count, g.first, words(&g.reason))
        }
        Record::Extension(e) => format!("extension of kind {}: {}", e.kind, hex(e.bytes)),
        other => format!("{other:?}"),
    }
}

/// The values of a measurement; with names if there is more than one.
fn values(measurement: &Measurement, components: &[Component]) -> String {
    let value = |(n, value): (usize, &Value)| {
        let component = components.get(n);
        let name = match component {
            Some(found) if measurement.values.len() > 1 => format!("{} ", term(found.metric)),
            _ => String::new(),
        };
        match value {
            Value::Present(raw, trust) => {
                let unit = component.map_or(0, |found| found.unit);
                format!("{name}{}{}", with_unit(&physical(component, *raw), unit), quality(*trust))
            }
            Value::Absent(absence) => format!("{name}absent: {}", words(absence)),
        }
    };
    measurement.values.iter().enumerate().map(value).collect::<Vec<_>>().join(", ")
}

/// The components of a block, one behind the other; with names if there is more than one.
fn columns(columns: &[Column], components: &[Component]) -> String {
    let column = |(n, column): (usize, &Column)| {
        let component = components.get(n);
        let name = match component {
            Some(found) if columns.len() > 1 => format!("{} ", term(found.metric)),
            _ => String::new(),
        };
        match column {
            Ok(numbers) => {
                let unit = component.map_or(String::new(), |found| unit(found.unit));
                let unit = if unit.is_empty() { unit } else { format!("in {unit} ") };
                let numbers: Vec<String> = numbers.iter().map(|raw| physical(component, *raw)).collect();
                format!("{name}{unit}{}", numbers.join(" "))
            }
            Err(absence) => format!("{name}absent: {}", words(absence)),
        }
    };
    columns.iter().enumerate().map(column).collect::<Vec<_>>().join("; ")
}

/// When the points of a trend are: the step if there is one, else each of them, from the record's time on.
fn times(block: &TrendBlock<'_>) -> String {
    let offsets: Vec<u64> = block.rows().map(|(offset, _)| offset.as_millis()).collect();
    let mut steps = offsets.windows(2).map(|pair| pair[1] - pair[0]);
    match steps.next() {
        None => "at its time".into(),
        Some(first) if steps.all(|step| step == first) => format!("every {first} ms"),
        Some(_) => {
            let offsets: Vec<String> = offsets.iter().map(u64::to_string).collect();
            format!("at {} ms", offsets.join(" "))
        }
    }
}

/// A value with its unit behind a comma, if there is one.
fn amount(name: &str, raw: Option<i32>, component: Option<&Component>) -> String {
    let unit = component.map_or(0, |found| found.unit);
    raw.map_or(String::new(), |raw| format!(", {name}{}", with_unit(&physical(component, raw), unit)))
}

/// Says what a record means that its serialised form says in codes and raw numbers: names of codes, and the numbers
/// as texts with all their digits.
pub fn meaning(record: &Record<'_>, set: &DescriptorSet<'_>) -> Json {
    let mut meaning = Map::new();
    let mut add = |name: &str, value: Json| {
        meaning.insert(name.into(), value);
    };
    let channel = channel_of(record).and_then(|number| set.channel(number));
    if let Some(channel) = channel {
        add("metric", term(channel.metric).into());
    }
    if mode_of(record) != Mode::Real {
        add("not_real", words(&mode_of(record)).into());
    }
    let components = channel.map(|channel| channel.components.iter().collect::<Vec<_>>()).unwrap_or_default();
    let one = |n: usize, values: Json| match components.get(n) {
        Some(found) => json!({ "metric": term(found.metric), "unit": unit(found.unit), "values": values }),
        None => json!({ "values": values }),
    };
    let single = |n: usize, values: &[(&str, Option<i32>)]| {
        let values = values.iter().filter_map(|(name, raw)| {
            raw.map(|raw| ((*name).to_owned(), Json::from(physical(components.get(n), raw))))
        });
        json!([one(n, Json::Object(values.collect()))])
    };
    let block = |columns: Vec<Column>| {
        let column = |(n, column): (usize, Column)| {
            let number = |raw| physical(components.get(n), raw);
            one(n, column.map_or(Json::Null, |raw| raw.into_iter().map(number).collect()))
        };
        columns.into_iter().enumerate().map(column).collect::<Json>()
    };
    match record {
        Record::Measurement(m) => {
            let value = |(n, value): (usize, &Value)| match value {
                Value::Present(raw, _) => one(n, json!([physical(components.get(n), *raw)])),
                Value::Absent(_) => one(n, Json::Null),
            };
            add("components", m.values.iter().enumerate().map(value).collect());
        }
        Record::Trend(t) => add("components", block(trend_columns(t))),
        Record::Waveform(w) => add("components", block(waveform_columns(w))),
        Record::Event(e) => {
            add("code", term(e.code).into());
            if e.value.is_some() {
                add("components", single(0, &[("value", e.value)]));
            }
        }
        Record::Alarm(a) => {
            add("code", term(a.code).into());
            let values = [("value", a.value), ("low_limit", a.low_limit), ("high_limit", a.high_limit)];
            if values.iter().any(|(_, raw)| raw.is_some()) {
                add("components", single(0, &values));
            }
        }
        Record::AlarmLimits(l) => {
            add("components", single(l.component.into(), &[("low", l.low), ("high", l.high)]));
        }
        Record::Annotation(a) if a.code != 0 => add("code", term(a.code).into()),
        _ => {}
    }
    Json::Object(meaning)
}
