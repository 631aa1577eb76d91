//! The tables of the report, in Markdown.

use crate::Measured;
use crate::components::{APPLICATION, CONSTANTS, MEASURING, UNKNOWN};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is told of a device, besides its operations: a title, and a figure in bytes.
const MEMORY: [(&str, &str); 12] = [
    ("flash, without the measuring code", "flash"),
    ("`.data`", "ram.data"),
    ("`.bss`, without the heap's region", "ram.bss"),
    ("heap, at its peak", "heap.peak"),
    ("`.data`, `.bss` and heap", "ram"),
    ("stack, at its peak", "stack.peak"),
    ("`size_of::<Device>()`, part of the above", "device.size"),
    ("XX on the link", "wire.xx"),
    ("IK on the link", "wire.ik"),
    ("resumption on the link", "wire.resume"),
    ("16 bytes sealed, on the link", "wire.record.16"),
    ("48 bytes sealed, on the link", "wire.record.48"),
];

/// The operations, in the order of the report.
const OPERATIONS: [(&str, &str); 15] = [
    ("XX handshake", "xx"),
    ("XX handshake, without the credential", "xx.unverified"),
    ("IK handshake", "ik"),
    ("resumption", "resume"),
    ("verify a credential", "credential.verify"),
    ("rekey", "rekey"),
    ("encode one second of ECG", "ecg.second"),
    ("seal 16 bytes", "seal.16"),
    ("seal 48 bytes", "seal.48"),
    ("seal 64 bytes", "seal.64"),
    ("seal 256 bytes", "seal.256"),
    ("open 16 bytes", "open.16"),
    ("open 48 bytes", "open.48"),
    ("open 64 bytes", "open.64"),
    ("open 256 bytes", "open.256"),
];

/// What devices and peers have in common: a title, the figure of a device, that of a peer. A device that knows its
/// backend has no XX: the second of two figures counts then.
const SIDE_BY_SIDE: [(&str, &str, &str); 12] = [
    ("flash, bytes", "flash", "flash"),
    ("`.data`, `.bss` and heap, bytes", "ram", "ram"),
    ("stack at its peak, bytes", "stack.peak", "stack.peak"),
    ("handshake, instructions", "xx|ik", "handshake"),
    ("handshake, stack in bytes", "xx.stack|ik.stack", "handshake.stack"),
    ("handshake on the link, bytes", "wire.xx|wire.ik", "wire.handshake"),
    ("seal 16 bytes, instructions", "seal.16", "seal.16"),
    ("seal 48 bytes, instructions", "seal.48", "seal.48"),
    ("open 16 bytes, instructions", "open.16", "open.16"),
    ("open 48 bytes, instructions", "open.48", "open.48"),
    ("16 bytes sealed, on the link", "wire.record.16", "wire.record.16"),
    ("48 bytes sealed, on the link", "wire.record.48", "wire.record.48"),
];

/// Makes the whole report.
pub fn report(devices: &[Measured], peers: &[Measured]) -> String {
    let mut out = String::new();
    if !devices.is_empty() {
        section(&mut out, "Memory and link, in bytes", devices, memory(devices));
        section(
            &mut out,
            "Operations: instructions / stack / heap, the latter in bytes",
            devices,
            operations(devices),
        );
        section(&mut out, "Flash by component, in bytes", devices, components(devices));
    }
    if !peers.is_empty() {
        let all: Vec<&Measured> = devices.iter().chain(peers).collect();
        let row = |&(title, device, peer): &(&str, &str, &str)| {
            let ours = devices.iter().map(|measured| (measured, device));
            let theirs = peers.iter().map(|measured| (measured, peer));
            (title.to_owned(), ours.chain(theirs).map(|(measured, figure)| cell(measured, figure)).collect())
        };
        section(&mut out, "Beside peers", all, SIDE_BY_SIDE.iter().map(row).collect());
        section(&mut out, "Peers: flash by component, in bytes", peers, components(peers));
    }
    out
}

type Row = (String, Vec<String>);

fn memory(devices: &[Measured]) -> Vec<Row> {
    let row = |&(title, figure): &(&str, &str)| {
        (title.to_owned(), devices.iter().map(|device| cell(device, figure)).collect())
    };
    MEMORY.iter().map(row).collect()
}

fn operations(devices: &[Measured]) -> Vec<Row> {
    let row = |&(title, figure): &(&str, &str)| {
        let parts =
            |device| ["", ".stack", ".heap"].map(|part| cell(device, &format!("{figure}{part}"))).join(" / ");
        (title.to_owned(), devices.iter().map(parts).collect())
    };
    OPERATIONS.iter().map(row).collect()
}

fn components(images: &[Measured]) -> Vec<Row> {
    let mut largest = BTreeMap::<&str, u64>::new();
    for (row, &bytes) in images.iter().flat_map(|measured| &measured.image.components) {
        let entry = largest.entry(row).or_default();
        *entry = bytes.max(*entry);
    }
    let mut rows: Vec<(&str, u64)> = largest.into_iter().collect();
    let last = |row: &str| [CONSTANTS, UNKNOWN, APPLICATION, MEASURING].iter().position(|name| *name == row);
    rows.sort_by_key(|&(row, bytes)| (last(row), u64::MAX - bytes));
    let cell = |row: &str, measured: &Measured| {
        measured.image.components.get(row).map_or_else(|| "–".into(), |&bytes| grouped(bytes))
    };
    let cells = |row: &str| images.iter().map(|measured| cell(row, measured)).collect();
    let mut table: Vec<Row> = rows.into_iter().map(|(row, _)| (row.to_owned(), cells(row))).collect();
    let totals = images.iter().map(|measured| grouped(measured.image.flash())).collect();
    table.push((format!("**all but the {MEASURING}**"), totals));
    table
}

/// Writes a figure, or the first that there is of `a|b`.
fn cell(measured: &Measured, figure: &str) -> String {
    let value = figure.split('|').find_map(|figure| measured.figures.get(figure));
    value.map_or_else(|| "–".into(), |&value| grouped(value))
}

/// Writes a number in groups of three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Writes a heading and a table whose columns are as wide as they need to be.
fn section<'m>(
    out: &mut String,
    title: &str,
    images: impl IntoIterator<Item = &'m Measured>,
    rows: Vec<Row>,
) {
    let heads: Vec<String> = images.into_iter().map(|measured| measured.name.clone()).collect();
    let width = |text: &String| text.chars().count();
    let first = rows.iter().map(|(title, _)| width(title)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = rows.iter().map(|(_, cells)| cells).chain([&heads]);
            cells.filter_map(|cells| cells.get(column)).map(width).max().unwrap_or(0)
        })
        .collect();
    let rule = ("-".repeat(first), widths.iter().map(|width| format!("{:->width$}", ":")).collect());
    let _ = writeln!(out, "\n{title}\n");
    for (title, cells) in [(String::new(), heads), rule].into_iter().chain(rows) {
        let _ = write!(out, "| {title:first$} |");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, " {cell:>width$} |");
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        let groups = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "999", "1 000", "1 234 567"]);
    }
}
