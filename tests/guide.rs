//! `guide::answers` has one row for each error, event and discard that firmware can meet: none is missing, none is stale,
//! and each says something.

use std::path::Path;

/// Each table: the type that its heading names, and where that is declared.
const TABLES: [(&str, &str); 11] = [
    ("CallError", "error.rs"),
    ("DeviceEvent", "device/event.rs"),
    ("DeviceReceived", "device/event.rs"),
    ("StorageTrouble", "device/event.rs"),
    ("CloseReason", "error.rs"),
    ("RefusedReason", "framing/frame.rs"),
    ("CommandRefusal", "framing/command.rs"),
    ("Discard", "error.rs"),
    ("LinkDiscard", "wire/link/mod.rs"),
    ("LinkError", "wire/link/mod.rs"),
    ("HealthError", "health.rs"),
];

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)).unwrap()
}

/// The variants of an enum, in order: what stands one step deeper than the line that opens it.
fn variants(text: &str, name: &str) -> Vec<String> {
    let opens = |line: &str| {
        let head = line.trim_start().trim_start_matches("pub enum ");
        head.strip_suffix('{').is_some_and(|head| head.trim_end().split('<').next() == Some(name))
    };
    let mut lines = text.lines().skip_while(|line| !opens(line));
    let first = lines.next().unwrap_or_else(|| panic!("{name} is not declared there"));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let body = lines.take_while(|line| line.trim() != "}" || depth(line) != depth(first));
    body.filter(|line| depth(line) == depth(first) + 4)
        .filter_map(|line| line.trim().split([' ', ',', '(', '{']).next())
        .filter(|word| word.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

/// The rows below the heading that names this type: first and last cell.
fn rows(text: &str, name: &str) -> Vec<(String, String)> {
    let heading = format!(": [`{name}`]");
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let section = lines.skip_while(|line| !(line.starts_with("# ") && line.contains(&heading))).skip(1);
    section
        .take_while(|line| !line.starts_with("# "))
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(variant, rest)| (variant.to_owned(), rest.rsplit(" | ").next().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn each_variant_has_a_row_and_each_row_a_variant() {
    let answers = source("guide/answers.rs");
    for (name, path) in TABLES {
        let variants = variants(&source(path), name);
        assert!(variants.len() > 1, "{name}: {variants:?}");
        let rows = rows(&answers, name);
        let named: Vec<_> = rows.iter().map(|(variant, _)| variant.clone()).collect();
        assert_eq!(named, variants, "{name}");
        for (variant, answer) in rows {
            assert!(answer.len() > 6 && answer.ends_with('.'), "{name}::{variant}: {answer}");
        }
    }
}

/// Every table that the page has is held by the test above.
#[test]
fn each_table_is_checked() {
    let answers = source("guide/answers.rs");
    let headings = answers.lines().filter(|line| line.starts_with("//! # "));
    let named: Vec<_> = headings.filter_map(|line| line.split(": [`").nth(1)?.split('`').next()).collect();
    assert_eq!(named, TABLES.map(|(name, _)| name));
}

/// The scan counts what the library counts.
#[test]
fn the_scan_finds_every_discard() {
    let found = variants(&source("error.rs"), "Discard");
    let all: Vec<_> = vitalwire::Discard::ALL.iter().map(|discard| format!("{discard:?}")).collect();
    assert_eq!(found, all);
    let found = variants(&source("wire/link/mod.rs"), "LinkDiscard");
    assert_eq!(found, vitalwire::wire::link::LinkDiscard::ALL.map(|discard| format!("{discard:?}")));
}
