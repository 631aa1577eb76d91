//! What the library has, C has: an error, an event or a request that was added to the library shows up here.

use std::fs;
use std::path::Path;

/// Lists the variants of an enum in a source of the library.
fn variants(source: &str, name: &str) -> Vec<String> {
    let body = source.split(&format!("pub enum {name}")).nth(1).expect("the enum");
    let body = body.split("\n}").next().expect("its end");
    assert!(body.starts_with([' ', '<']), "another enum's name begins like this");
    // A variant stands four spaces in; what it has, eight.
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let starts = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    starts.map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
}

fn all_are_named(library: &str, name: &str, layer: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path| fs::read_to_string(path).expect("a source");
    let (source, mapping) = (read(root.join("../src").join(library)), read(root.join("src").join(layer)));
    let mapping = mapping.split("#[cfg(test)]").next().expect("the layer's own part");
    let found = variants(&source, name);
    assert!(found.len() >= least, "{name}: {found:?}");
    for variant in found {
        let path = format!("{name}::{variant}");
        let ends = mapping.match_indices(&path).map(|(at, _)| at + path.len());
        let whole = |at: usize| !mapping[at..].starts_with(|next: char| next.is_ascii_alphanumeric());
        assert!(ends.clone().any(whole), "{path} has no place in {layer}");
    }
}

#[test]
fn errors_have_codes() {
    all_are_named("error.rs", "CallError", "status.rs", 15);
    all_are_named("health.rs", "HealthError", "health.rs", 2);
}

#[test]
fn events_and_storage_troubles_have_codes() {
    all_are_named("device/event.rs", "DeviceEvent", "event.rs", 12);
    all_are_named("device/event.rs", "StorageTrouble", "event.rs", 8);
    all_are_named("device/event.rs", "DeviceReceived", "event.rs", 2);
}

#[test]
fn storage_requests_have_codes() {
    all_are_named("storage/mod.rs", "StorageRequest", "storage.rs", 6);
    all_are_named("storage/mod.rs", "Item", "storage.rs", 4);
}

#[test]
fn absences_phases_and_policies_have_codes() {
    all_are_named("framing/values.rs", "Absence", "records.rs", 7);
    all_are_named("framing/values.rs", "Quality", "records.rs", 4);
    all_are_named("framing/values.rs", "Mode", "records.rs", 3);
    all_are_named("framing/record.rs", "Phase", "records.rs", 6);
    all_are_named("framing/record.rs", "Priority", "records.rs", 4);
    all_are_named("delivery/outbox/policy.rs", "LanePolicy", "rekey.rs", 3);
}

/// Every method of the device that firmware has a use for is behind a call.
#[test]
fn methods_are_called() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = |folder: &Path| {
        let files = fs::read_dir(folder).expect("sources").map(|file| file.expect("a source").path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == "rs"));
        files.map(|file| fs::read_to_string(file).expect("a source")).collect::<Vec<_>>()
    };
    let layer = all(&root.join("src")).concat();
    let mut methods = Vec::new();
    let mut folders = vec![root.join("../src/device")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("sources").map(|entry| entry.expect("a source").path());
        folders.extend(entries.filter(|entry| entry.is_dir() && !entry.ends_with("tests")));
        for source in all(&folder) {
            let parts = source.split("\nimpl").skip(1);
            for part in parts.filter(|part| part.lines().next().is_some_and(|line| line.contains(" Device<")))
            {
                let body = part.split("\n}").next().unwrap_or_default();
                let names =
                    body.split("\n    pub fn ").chain(body.split("\n    pub const fn ").skip(1)).skip(1);
                methods.extend(names.filter_map(|rest| Some(rest.split(['(', '<']).next()?.to_string())));
            }
        }
    }
    assert!(methods.len() > 30, "{methods:?}");
    for method in methods {
        // `record` is `record_at` of now.
        let called = layer.contains(&format!(".{method}(")) || method == "new" || method == "record";
        assert!(called, "no call leads to Device::{method}");
    }
}
