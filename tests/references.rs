//! Every section of SPEC.md that is named somewhere is there: `SPEC.md, "Liveness"` in a comment of the code, `section "Liveness"`
//! in SPEC.md itself. What is quoted is held by tests/trace.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SOURCES: [&str; 6] = ["src", "tests", "benches", "examples", "fuzz", "integrations"];

/// The headings of the text.
fn headings(spec: &str) -> BTreeSet<&str> {
    spec.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect()
}

/// A file's comments and text as one line, without what a comment's line begins with.
fn joined(text: &str) -> String {
    let lines =
        text.lines().map(|line| line.trim().trim_start_matches("//").trim_start_matches(['/', '!', ' ']));
    lines.collect::<Vec<_>>().join(" ")
}

/// The quoted names behind `start`, one or several: `"One"`, `"One", "Two"`, `"One" and "Two"`.
fn named(text: &str, start: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(start) {
        let mut rest = &text[at + start.len()..];
        while let Some((name, behind)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            names.push(name.to_owned());
            rest = behind.strip_prefix(", ").or_else(|| behind.strip_prefix(" and ")).unwrap_or("");
        }
    }
    names
}

fn stale(path: &str, text: &str, start: &str, headings: &BTreeSet<&str>) -> Vec<String> {
    let missing = named(text, start).into_iter().filter(|name| !headings.contains(name.as_str()));
    missing.map(|name| format!("{path}: SPEC.md has no section \"{name}\"")).collect()
}

fn visit(root: &Path, directory: &Path, found: &mut impl FnMut(&str, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !["target", "corpus", "seeds", "artifacts"].iter().any(|skipped| path.ends_with(skipped)) {
                visit(root, &path, found);
            }
        } else if [".rs", ".py", ".md"].iter().any(|end| name.ends_with(end)) && name != "tests/references.rs"
        {
            found(&name, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_section_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = fs::read_to_string(root.join("SPEC.md")).unwrap();
    let headings = headings(&spec);
    let mut faults = stale("SPEC.md", &joined(&spec), "section ", &headings);
    let mut count = 0;
    for directory in SOURCES {
        visit(root, &root.join(directory), &mut |path, text| {
            let text = joined(text);
            count += named(&text, "SPEC.md, ").len();
            faults.extend(stale(path, &text, "SPEC.md, ", &headings));
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "{count} names were found");
}

#[test]
fn finds_names_over_lines_and_in_rows() {
    let spec = "# T\n## Hello\n### Reply, Finish\n";
    let text = joined(
        "/// It waits (SPEC.md,\n    /// \"Hello\", \"Gone\" and \"Reply, Finish\").\n//! SPEC.md, \"Robustness\"",
    );
    assert_eq!(named(&text, "SPEC.md, "), ["Hello", "Gone", "Reply, Finish", "Robustness"]);
    let faults = stale("x.rs", &text, "SPEC.md, ", &headings(spec));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("Gone") && faults[1].contains("Robustness"));
}
