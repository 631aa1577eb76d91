//! What is printed at the end.

use crate::args::Args;
use crate::histogram::Histogram;
use crate::link::{self, Tally};
use crate::service::{Moment, Summary};
use std::collections::BTreeMap;
use vitalwire::crypto::PROVIDER;

/// What the operating system says of this process; nothing on systems without `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Time on processors of all threads, in nanoseconds.
    pub busy: Option<u64>,
}

pub fn usage() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let tasks = std::fs::read_dir("/proc/self/task").ok();
    let busy = tasks.map(|tasks| {
        let of_task = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.filter_map(Result::ok).filter_map(of_task).sum()
    });
    Usage { resident: kilobytes.map(|kilobytes| kilobytes * 1024), busy }
}

/// Prints the report; returns what went wrong.
pub fn print(args: &Args, summary: &Summary, tallies: &[Tally]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut latency = Histogram::default();
    summary.shards.iter().for_each(|shard| latency.merge(&shard.latency));
    let charts: BTreeMap<usize, _> = summary
        .shards
        .iter()
        .flat_map(|shard| &shard.charts)
        .filter(|(_, chart)| chart.stored > 0)
        .map(|(identity, chart)| (link::number(identity.subject), chart))
        .collect();

    let recorded: u64 = tallies.iter().map(|tally| tally.recorded).sum();
    let refused: u64 = tallies.iter().map(|tally| tally.refused).sum();
    let (mut stored, mut repeats, mut wrong) = (0, 0, 0);
    for tally in tallies {
        let (count, sum) = charts.get(&tally.device).map_or((0, 0), |chart| (chart.stored, chart.sum));
        stored += count;
        repeats += charts.get(&tally.device).map_or(0, |chart| chart.repeats);
        // The numbers of a device's records are 0, 1, 2 …
        let right = count == tally.recorded && sum == tally.recorded * tally.recorded.saturating_sub(1) / 2;
        wrong += u64::from(!right);
    }
    if tallies.len() != args.devices {
        failures.push(format!("{} of {} devices have told what they recorded", tallies.len(), args.devices));
    }
    if wrong > 0 {
        failures.push(format!("the records of {wrong} devices are not what they recorded"));
    }
    let undrained = tallies.iter().filter(|tally| !tally.drained).count();
    if undrained > 0 {
        failures.push(format!("{undrained} devices were not drained in time"));
    }
    if recorded == 0 {
        failures.push("nothing was recorded".into());
    }

    println!(
        "\n{} devices, {} of them on each socket, {} shards; crypto provider: {PROVIDER}",
        args.devices, args.per_socket, args.shards
    );
    let shares: Vec<_> = summary.shards.iter().map(|shard| shard.charts.len().to_string()).collect();
    println!("  shards         {} devices", shares.join(", "));
    let sessions: u64 = tallies.iter().map(|tally| u64::from(tally.sessions)).sum();
    if let Some((first, last)) = connecting(&summary.moments, args.devices as u64) {
        let seconds = (last.micros - first.micros) as f64 / 1e6;
        println!(
            "  sessions       {sessions} by IK, {:.0} a second",
            (last.sessions - first.sessions) as f64 / seconds
        );
        if let (Some(before), Some(after)) = (first.usage.resident, last.usage.resident) {
            let each = after.saturating_sub(before) / (last.sessions - first.sessions).max(1);
            println!(
                "  memory         {} MB resident with all connected: {each} bytes a session, what is stored included",
                after / 1_000_000
            );
        }
        if let (Some(before), Some(after)) = (first.usage.busy, last.usage.busy) {
            let each = (after - before) / (last.sessions - first.sessions).max(1) / 1000;
            println!("  processor      {each} µs a session, from Hello to the first record's place");
        }
    }
    println!(
        "  records        {recorded} recorded, {stored} stored, {repeats} came twice, {refused} found no room"
    );
    if let Some((first, last)) = steady(&summary.moments, args) {
        let seconds = (last.micros - first.micros) as f64 / 1e6;
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let records = last.records - first.records;
        let packets = last.packets_in - first.packets_in;
        println!(
            "  rate           {:.0} records/s, {:.0} packets/s in, {:.0} out, {:.1} bytes in and {:.1} out for each record",
            rate(last.records, first.records),
            rate(last.packets_in, first.packets_in),
            rate(last.packets_out, first.packets_out),
            (last.bytes_in - first.bytes_in) as f64 / records.max(1) as f64,
            (last.bytes_out - first.bytes_out) as f64 / records.max(1) as f64,
        );
        if let (Some(before), Some(after)) = (first.usage.busy, last.usage.busy) {
            let busy = (after - before) as f64;
            println!(
                "  processor      {:.1} µs for each packet in, its answer and the system's calls included; {:.0} % of a core",
                busy / 1000.0 / packets.max(1) as f64,
                busy / 1e7 / seconds
            );
        }
    }
    println!(
        "  latency        from the measurement to the commit: half {}, 99 % {}, 99.9 % {}, longest {}",
        millis(latency.quantile(0.5)),
        millis(latency.quantile(0.99)),
        millis(latency.quantile(0.999)),
        millis(latency.longest())
    );
    let mut discards = BTreeMap::new();
    for (discard, count) in summary.shards.iter().flat_map(|shard| &shard.discards) {
        *discards.entry(discard.to_string()).or_insert(0) += count;
    }
    println!("  discarded      {} packets by the router, by the shards {discards:?}", summary.dropped);
    let lost: Vec<_> = summary.shards.iter().flat_map(|shard| &shard.lost_sessions).collect();
    if !lost.is_empty() {
        println!("  sessions ended {} before their time, the first with {:?}", lost.len(), lost[0]);
    }
    failures
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

/// From before the first session until all are there.
fn connecting(moments: &[Moment], devices: u64) -> Option<(Moment, Moment)> {
    let first = moments.iter().rev().find(|moment| moment.sessions == 0)?;
    let last = moments.iter().find(|moment| moment.sessions >= devices).or(moments.last())?;
    (last.sessions > 0).then_some((*first, *last))
}

/// The seconds in which all measure: without the first and the last.
fn steady(moments: &[Moment], args: &Args) -> Option<(Moment, Moment)> {
    let begun = moments.iter().position(|moment| moment.records > 0)?;
    let first = moments.get(begun + 1)?;
    let last = moments.get(begun + args.seconds.saturating_sub(1).max(1) as usize).or(moments.last())?;
    (last.micros > first.micros).then_some((*first, *last))
}
