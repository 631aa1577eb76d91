//! Codes of [`vitalwire::clinical`] against `data/mdc_codes.csv` and `data/mdc_units.csv`, both ways, and against
//! the table of private codes in SPEC.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use vitalwire::clinical::{Evidence, private, term, terms, unit, units};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of a table, each as its fields by the names of the columns. No field has a comma or a quote.
fn rows(path: &str) -> Vec<BTreeMap<String, String>> {
    let text = read(path);
    let mut lines = text.lines().map(|line| split_row(path, line));
    let head = lines.next().unwrap();
    lines
        .map(|fields| {
            assert_eq!(fields.len(), head.len(), "{path}: {fields:?}");
            head.iter().cloned().zip(fields).collect()
        })
        .collect()
}

fn split_row(path: &str, line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(c),
        }
    }
    assert!(!quoted, "{path}: {line}");
    fields
}

/// Splits the rows `V1..V6` and `X/Y/Z` into one for each code: reference identifier, partition, term, code.
fn expand(row: &BTreeMap<String, String>) -> Vec<(String, u32, u32, u32)> {
    let partition = row["part"].parse().unwrap();
    let range = |field: &str| -> (u32, u32) {
        let (first, last) = row[field].split_once("..").unwrap_or((&row[field], &row[field]));
        (first.parse().unwrap(), last.parse().unwrap())
    };
    let (terms, codes) = (range("term"), range("code32"));
    assert_eq!(terms.1 - terms.0, codes.1 - codes.0, "{row:?}");
    let refid = &row["refid"];
    let refids: Vec<String> = if let Some(stem) = refid.strip_suffix("_V1..V6") {
        (1..=6).map(|lead| format!("{stem}_V{lead}")).collect()
    } else if let Some(stem) = refid.strip_suffix("_X/Y/Z") {
        ["X", "Y", "Z"].map(|axis| format!("{stem}_{axis}")).to_vec()
    } else {
        vec![refid.clone()]
    };
    assert_eq!(refids.len() as u32, terms.1 - terms.0 + 1, "{row:?}");
    let numbers = (terms.0..=terms.1).zip(codes.0..=codes.1);
    refids.into_iter().zip(numbers).map(|(refid, (term, code))| (refid, partition, term, code)).collect()
}

/// What a cell of sources says: `private`, `… only`, or sources joined by `+`; a body's own word suffices for LOINC.
fn is_confirmed(cell: &str, own_word: &[&str]) -> bool {
    !cell.ends_with(" only") && (cell.split(['+', ',']).count() > 1 || own_word.contains(&cell))
}

#[track_caller]
fn check_evidence(evidence: Evidence, cell: &str, own_word: &[&str]) {
    match evidence {
        Evidence::Confirmed => assert!(is_confirmed(cell, own_word), "{cell}"),
        Evidence::OneSource(source) => {
            let cell = cell.strip_suffix(" only").unwrap();
            assert_eq!(source.trim_start_matches("an "), cell.trim_start_matches("one "));
        }
        Evidence::Private => assert_eq!(cell, "private"),
        other => panic!("{other:?}"),
    }
}

/// The LOINC codes of a cell: what is in parentheses is for another unit.
fn loinc(cell: &str) -> Vec<&str> {
    let outside = cell.split('(').map(|part| part.rsplit_once(')').map_or(part, |(_, after)| after));
    outside.flat_map(|part| part.split('+')).map(str::trim).filter(|code| !code.is_empty()).collect()
}

#[test]
fn every_row_has_its_constant_and_every_constant_its_row() {
    let mut seen = BTreeSet::new();
    for row in rows("data/mdc_codes.csv") {
        for (refid, partition, number, code) in expand(&row) {
            assert_eq!(partition * 65536 + number, code, "{refid}");
            let term = term(code).unwrap_or_else(|| panic!("{refid} has no constant"));
            assert_eq!((term.code, term.refid), (code, &*refid));
            assert_eq!(term.loinc, loinc(&row["loinc"]), "{refid}");
            check_evidence(term.evidence, &row["verified_code"], &[]);
            if !term.loinc.is_empty() {
                let own_word = ["FHIR R4", "PHD-IG", "HL7 CGM IG", "many FHIR projects"];
                check_evidence(term.loinc_evidence, &row["verified_loinc"], &own_word);
            }
            let named = unit(term.unit).map(|unit| (unit.refid, unit.code.to_string(), unit.ucum));
            let (name, code, ucum) = named.unwrap_or(("", String::new(), ""));
            assert_eq!(
                (name, &*code, ucum),
                (&*row["mdc_unit"], &*row["unit_code32"], &*row["ucum"]),
                "{refid}"
            );
            assert!(seen.insert(term.code), "{refid} is there twice");
        }
    }
    let without: Vec<_> = terms().filter(|term| !seen.contains(&term.code)).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn every_unit_has_its_row_and_every_row_its_unit() {
    let mut seen = BTreeSet::new();
    for row in rows("data/mdc_units.csv") {
        let [(refid, partition, number, code)] = &expand(&row)[..] else { panic!("{row:?}") };
        assert_eq!(partition * 65536 + number, *code, "{refid}");
        let unit = unit(*code).unwrap_or_else(|| panic!("{refid} has no constant"));
        assert_eq!((unit.refid, unit.ucum), (&**refid, &*row["ucum"]));
        check_evidence(unit.evidence, &row["verified_code"], &[]);
        assert!(seen.insert(*code), "{refid} is there twice");
    }
    assert!(units().all(|unit| seen.contains(&unit.code)));
}

#[test]
fn tables_are_in_the_order_of_their_codes() {
    // `term` and `unit` search them by halves
    assert!(terms().zip(terms().skip(1)).all(|(one, next)| one.code < next.code));
    assert!(units().zip(units().skip(1)).all(|(one, next)| one.code < next.code));
    assert!(terms().all(|one| term(one.code) == Some(one)));
    assert!(units().all(|one| unit(one.code) == Some(one)));
    for code in [0, 1, 66_000, 131_327, 262_144, u32::from(private::PARTITION) << 16, u32::MAX] {
        assert_eq!((term(code), unit(code)), (None, None), "{code}");
    }
}

#[test]
fn private_codes_are_those_of_the_specification() {
    let spec = read("SPEC.md");
    let section = spec.split("\n### Codes\n").nth(1).and_then(|rest| rest.split("\n#").next()).unwrap();
    let listed: BTreeMap<u32, String> = section
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            Some((cells.first()?.parse().ok()?, cells.get(1)?.trim_matches('`').to_owned()))
        })
        .collect();
    let own = terms().filter(|term| term.code >> 16 == u32::from(private::PARTITION));
    let own: BTreeMap<u32, String> = own.map(|term| (term.code & 0xffff, term.refid.to_owned())).collect();
    assert_eq!(listed, own);
    assert!(own.keys().all(|&number| term(u32::from(private::PARTITION) << 16 | number).is_some()));
}
