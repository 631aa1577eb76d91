//! Every MUST of SPEC.md is quoted where it is enforced and where it is tested, and no quote is stale.
//!
//! A requirement is a sentence with the word MUST in a list item of SPEC.md. A quote is a comment:
//!
//! ```text
//! //= SPEC.md#packet-counter
//! //= type=test
//! //# A sender MUST NOT seal two packets of a session with the same counter.
//! ```
//!
//! Without the `type=test` line it says "enforced here". Further `//#` lines continue the text. A quote holds whole
//! sentences, word for word (line breaks and backticks do not count), under the slug of the innermost heading.
//!
//! While the crate is being built, `tests/untraced.txt` lists the requirements that still lack a quote. A line that is
//! done must be removed from it; `TRACE_UPDATE=1 cargo test --test trace` rewrites it. Without that file, or with
//! an empty one, every requirement must be traced or stand in [`EXCEPTIONS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Requirements that cannot have both quotes: section, sentence, what is missing, and why that is right.
const EXCEPTIONS: &[(&str, &str, Lacks, &str)] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the table above is empty while the modules land")]
enum Lacks {
    Enforcement,
    Test,
    Both,
}

const SOURCES: [&str; 5] = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets"];

#[test]
fn every_must_is_enforced_and_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = Spec::parse(&fs::read_to_string(root.join("SPEC.md")).unwrap());
    let mut quotes = Quotes::default();
    for directory in SOURCES {
        quotes.read_directory(root, directory);
    }
    let list = root.join("tests/untraced.txt");
    let untraced = parse_untraced(&fs::read_to_string(&list).unwrap_or_default());
    let report = examine(&spec, &quotes, EXCEPTIONS, &untraced);

    // Past the capture of the test harness: every run shows how far the tracing is.
    writeln!(std::io::stderr(), "SPEC.md: {}", report.summary()).unwrap();
    for (section, sentence, lacks) in &report.missing {
        println!("lacks {lacks:?}: {section}: {sentence}");
    }
    if std::env::var_os("TRACE_UPDATE").is_some() {
        fs::write(&list, report.untraced_file()).unwrap();
        let other: Vec<_> = report.faults.iter().filter(|fault| !fault.contains("untraced.txt")).collect();
        assert!(other.is_empty(), "tests/untraced.txt is rewritten; what is left:\n{other:#?}");
        return;
    }
    assert!(
        report.faults.is_empty(),
        "{} faults (TRACE_UPDATE=1 brings tests/untraced.txt up to date):\n{}",
        report.faults.len(),
        report.faults.join("\n")
    );
}

/// What a section of the text holds.
#[derive(Default)]
struct Section {
    /// Every sentence of it, in normal form.
    sentences: BTreeSet<String>,
    /// The requirements, in order.
    requirements: Vec<String>,
    /// Sentences with MUST that are in no list item.
    stray: Vec<String>,
}

#[derive(Default)]
struct Spec {
    sections: BTreeMap<String, Section>,
    order: Vec<String>,
}

impl Spec {
    fn parse(text: &str) -> Self {
        let mut spec = Self::default();
        let mut slugs: BTreeMap<String, usize> = BTreeMap::new();
        let mut current: Option<String> = None; // what stands before the first section says how to read the rest
        let mut block = Block::default();
        let mut fenced = false;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with("```") {
                fenced = !fenced;
            }
            if fenced || trimmed.starts_with("```") || line.starts_with("    ") && !block.list_item {
                block.end(&mut spec, current.as_deref());
            } else if line.starts_with('#') {
                block.end(&mut spec, current.as_deref());
                let level = line.chars().take_while(|c| *c == '#').count();
                let slug = slug(line.trim_start_matches('#').trim());
                let count = slugs.entry(slug.clone()).or_insert(0);
                let slug = if *count == 0 { slug } else { format!("{slug}-{count}") };
                *count += 1;
                if level > 1 {
                    spec.order.push(slug.clone());
                    spec.sections.insert(slug.clone(), Section::default());
                    current = Some(slug);
                }
            } else if trimmed.is_empty() {
                block.end(&mut spec, current.as_deref());
            } else if let Some(item) = list_item(trimmed) {
                block.end(&mut spec, current.as_deref());
                block = Block { text: item.into(), list_item: true };
            } else {
                if trimmed.starts_with('|') {
                    block.end(&mut spec, current.as_deref()); // each row of a table stands alone
                }
                block.text.push(' ');
                block.text.push_str(trimmed);
            }
        }
        block.end(&mut spec, current.as_deref());
        spec
    }

    fn requirements(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order.iter().flat_map(|slug| {
            self.sections[slug].requirements.iter().map(move |sentence| (slug.as_str(), sentence.as_str()))
        })
    }
}

/// A paragraph or list item that is being read.
#[derive(Default)]
struct Block {
    text: String,
    list_item: bool,
}

impl Block {
    fn end(&mut self, spec: &mut Spec, section: Option<&str>) {
        let Self { text, list_item } = std::mem::take(self);
        let Some(section) = section.and_then(|slug| spec.sections.get_mut(slug)) else { return };
        for sentence in sentences(&text) {
            if has_must(&sentence) {
                let kind = if list_item { &mut section.requirements } else { &mut section.stray };
                kind.push(sentence.clone());
            }
            section.sentences.insert(sentence);
        }
    }
}

fn list_item(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = if numbered.len() < line.len() { numbered.strip_prefix(". ") } else { None };
    line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).or(numbered)
}

/// The anchor that GitHub gives a heading: lower case, no punctuation, hyphens for spaces.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Splits into sentences in normal form: one space between words, no backticks. A sentence ends in a full stop
/// before a capital letter or the end.
fn sentences(text: &str) -> Vec<String> {
    let words: Vec<String> = text.split_whitespace().map(|word| word.replace('`', "")).collect();
    let mut sentences = Vec::new();
    let mut sentence = String::new();
    for (index, word) in words.iter().enumerate() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let next =
            words.get(index + 1).and_then(|next| next.trim_start_matches(['"', '(', '*']).chars().next());
        if word.ends_with(['.', '?', '!']) && next.is_none_or(|c| c.is_uppercase())
            || index + 1 == words.len()
        {
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    sentences
}

fn has_must(sentence: &str) -> bool {
    sentence.split(|c: char| !c.is_alphanumeric()).any(|word| word == "MUST")
}

/// Where a sentence is quoted, by kind.
#[derive(Default)]
struct Places {
    enforced: Vec<String>,
    tested: Vec<String>,
}

#[derive(Default)]
struct Quotes {
    places: BTreeMap<(String, String), Places>,
    faults: Vec<String>,
}

impl Quotes {
    fn read_directory(&mut self, root: &Path, directory: &str) {
        let Ok(entries) = fs::read_dir(root.join(directory)) else { return };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for name in names {
            let path = format!("{directory}/{name}");
            if root.join(&path).is_dir() {
                if name != "target" {
                    self.read_directory(root, &path);
                }
            } else if name.ends_with(".rs") && path != "tests/trace.rs" {
                self.read(&path, &fs::read_to_string(root.join(&path)).unwrap());
            }
        }
    }

    fn read(&mut self, path: &str, text: &str) {
        let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())).peekable();
        while let Some((number, line)) = lines.next() {
            let place = format!("{path}:{number}");
            let Some(target) = line.strip_prefix("//=") else {
                if line.starts_with("//#") {
                    self.faults
                        .push(format!("{place}: a `//#` line without a `//= SPEC.md#…` line before it"));
                }
                continue;
            };
            let Some(section) = target.trim().strip_prefix("SPEC.md#") else {
                self.faults.push(format!("{place}: expected `//= SPEC.md#section`, found `{line}`"));
                continue;
            };
            let kind = lines.next_if(|(_, line)| {
                line.strip_prefix("//=").is_some_and(|kind| kind.trim().starts_with("type="))
            });
            let kind = kind.map(|(_, line)| line.trim_start_matches("//=").trim());
            let mut quoted = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("//#")) {
                quoted.push(' ');
                quoted.push_str(line.trim_start_matches("//#"));
            }
            let test = match kind {
                Some("type=test") => true,
                None => false,
                Some(other) => {
                    self.faults.push(format!("{place}: unknown `{other}`"));
                    continue;
                }
            };
            let in_tests = path.starts_with("tests/") || path.starts_with("fuzz/");
            if in_tests && !test {
                self.faults.push(format!("{place}: a quote in a test needs the line `//= type=test`"));
            }
            if quoted.trim().is_empty() {
                self.faults.push(format!("{place}: no `//#` line follows"));
            }
            for sentence in sentences(&quoted) {
                let places = self.places.entry((section.to_owned(), sentence)).or_default();
                let kind = if test { &mut places.tested } else { &mut places.enforced };
                kind.push(place.clone());
            }
        }
    }
}

fn parse_untraced(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(section, sentence)| (section.trim().to_owned(), sentence.trim().to_owned()))
        .filter(|(section, _)| !section.starts_with('#'))
        .collect()
}

#[derive(Default)]
struct Report {
    requirements: usize,
    enforced: usize,
    tested: usize,
    exceptions: usize,
    missing: Vec<(String, String, Lacks)>,
    faults: Vec<String>,
}

impl Report {
    fn summary(&self) -> String {
        format!(
            "{} MUSTs, {} enforced, {} tested, {} exceptions, {} untraced",
            self.requirements,
            self.enforced,
            self.tested,
            self.exceptions,
            self.missing.len()
        )
    }

    fn untraced_file(&self) -> String {
        let mut text =
            String::from("# Requirements of SPEC.md that still lack a quote: see tests/trace.rs.\n");
        for (section, sentence, _) in &self.missing {
            writeln!(text, "{section}: {sentence}").unwrap();
        }
        text
    }
}

fn examine(
    spec: &Spec,
    quotes: &Quotes,
    exceptions: &[(&str, &str, Lacks, &str)],
    untraced: &BTreeSet<(String, String)>,
) -> Report {
    let mut report = Report { faults: quotes.faults.clone(), ..Report::default() };
    let all: BTreeSet<(&str, &str)> = spec.requirements().collect();

    for ((section, sentence), places) in &quotes.places {
        let place = places.enforced.iter().chain(&places.tested).next().unwrap();
        match spec.sections.get(section) {
            None => report.faults.push(format!("{place}: SPEC.md has no section #{section}")),
            Some(found) if !found.sentences.contains(sentence) => {
                let elsewhere = spec.sections.iter().find(|(_, other)| other.sentences.contains(sentence));
                let hint = elsewhere.map_or(String::new(), |(slug, _)| format!("; it stands in #{slug}"));
                report.faults.push(format!("{place}: stale, not in SPEC.md#{section}: \"{sentence}\"{hint}"));
            }
            Some(_) => {}
        }
    }
    for (slug, section) in &spec.sections {
        for sentence in &section.stray {
            report.faults.push(format!("SPEC.md#{slug}: a MUST outside a list item: \"{sentence}\""));
        }
    }
    for (section, sentence) in untraced {
        if !all.contains(&(section.as_str(), sentence.as_str())) {
            report.faults.push(format!("untraced.txt: not in SPEC.md: {section}: {sentence}"));
        }
    }
    for (section, sentence, _, reason) in exceptions {
        if !all.contains(&(section, sentence)) {
            report.faults.push(format!("exception is not in SPEC.md: {section}: {sentence}"));
        }
        if reason.trim().is_empty() {
            report.faults.push(format!("exception without a reason: {section}: {sentence}"));
        }
    }

    for (section, sentence) in spec.requirements() {
        let key = (section.to_owned(), sentence.to_owned());
        let places = quotes.places.get(&key);
        let enforced = places.is_some_and(|places| !places.enforced.is_empty());
        let tested = places.is_some_and(|places| !places.tested.is_empty());
        report.requirements += 1;
        report.enforced += usize::from(enforced);
        report.tested += usize::from(tested);
        let lacks = match (enforced, tested) {
            (true, true) => None,
            (false, true) => Some(Lacks::Enforcement),
            (true, false) => Some(Lacks::Test),
            (false, false) => Some(Lacks::Both),
        };
        let exception = exceptions.iter().find(|(slug, text, ..)| *slug == section && *text == sentence);
        let listed = untraced.contains(&key);
        if let Some((.., excused, _)) = exception {
            report.exceptions += 1;
            if lacks != Some(*excused) {
                report.faults.push(format!(
                    "exception says that {excused:?} is missing, but that is {lacks:?}: {section}: {sentence}"
                ));
            }
        } else if let Some(lacks) = lacks {
            if !listed {
                report.faults.push(format!(
                    "lacks {lacks:?} and is neither in untraced.txt nor an exception: {section}: {sentence}"
                ));
            }
            report.missing.push((key.0, key.1, lacks));
            continue;
        }
        if listed {
            report.faults.push(format!("untraced.txt: done, remove me: {section}: {sentence}"));
        }
    }
    report
}

/// Tests of the checker on small texts.
mod checker {
    use super::{Lacks, Quotes, Report, Spec, examine, parse_untraced, sentences, slug};

    const SPEC: &str = "# Title
A MUST before the first section is a manner of speaking.

## Packet counter
Prose. It should be short.

- A sender MUST NOT repeat a `counter`,
  in any session. A plain remark. It MUST close at the end.
- No requirement here.

### Replay, `Finish` & co.
1. A Hello MUST be padded.

## Packet counter
```
- fenced MUST
```
";
    const ENFORCED: &str =
        "//= SPEC.md#packet-counter\n//# A sender MUST NOT repeat a counter,\n  //# in any session.\n";
    const TESTED: &str = "//= SPEC.md#packet-counter\n//= type=test\n//# A sender MUST NOT repeat a `counter`, in any session.\n";
    const OTHERS: &str =
        "packet-counter: It MUST close at the end.\nreplay-finish--co: A Hello MUST be padded.";
    const FIRST: &str = "A sender MUST NOT repeat a counter, in any session.";

    fn report(src: &str, untraced: &str, exceptions: &[(&str, &str, Lacks, &str)]) -> Report {
        let mut quotes = Quotes::default();
        quotes.read("src/x.rs", src);
        examine(&Spec::parse(SPEC), &quotes, exceptions, &parse_untraced(untraced))
    }

    #[track_caller]
    fn one_fault(report: &Report, because: &str) {
        assert!(report.faults.len() == 1 && report.faults[0].contains(because), "{:#?}", report.faults);
    }

    #[test]
    fn finds_requirements_by_section_and_sentence() {
        let spec = Spec::parse(SPEC);
        let found: Vec<_> = spec.requirements().collect();
        let expected = [
            ("packet-counter", FIRST),
            ("packet-counter", "It MUST close at the end."),
            ("replay-finish--co", "A Hello MUST be padded."),
        ];
        assert_eq!(found, expected);
        assert!(spec.sections.contains_key("packet-counter-1"));
    }

    #[test]
    fn slugs_are_githubs() {
        assert_eq!(slug("Reply, Finish"), "reply-finish");
        assert_eq!(slug("No downgrade"), "no-downgrade");
        assert_eq!(slug("`wire::link` (small links)"), "wirelink-small-links");
    }

    #[test]
    fn sentences_end_before_capitals() {
        assert_eq!(
            sentences("At most 0.5 s, e.g. here. Then `More`. (Or not.)"),
            ["At most 0.5 s, e.g. here.", "Then More.", "(Or not.)"]
        );
        assert_eq!(sentences("no stop"), ["no stop"]);
    }

    #[test]
    fn accepts_what_is_traced_or_listed() {
        let report = report(&format!("{ENFORCED}fn f() {{}}\n{TESTED}"), OTHERS, &[]);
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.summary(), "3 MUSTs, 1 enforced, 1 tested, 0 exceptions, 2 untraced");
    }

    #[test]
    fn finds_a_requirement_without_a_test() {
        one_fault(&report(ENFORCED, OTHERS, &[]), "lacks Test");
    }

    #[test]
    fn finds_a_requirement_without_enforcement() {
        one_fault(&report(TESTED, OTHERS, &[]), "lacks Enforcement");
    }

    #[test]
    fn finds_a_list_entry_that_is_done() {
        let list = format!("{OTHERS}\npacket-counter: {FIRST}");
        one_fault(&report(&format!("{ENFORCED}\n{TESTED}"), &list, &[]), "remove me");
        assert_eq!(report(ENFORCED, &list, &[]).faults, Vec::<String>::new());
    }

    #[test]
    fn finds_a_list_entry_that_names_nothing() {
        let src = format!("{ENFORCED}\n{TESTED}");
        one_fault(
            &report(&src, &format!("# note: x\n{OTHERS}\nhello: Gone MUST be."), &[]),
            "not in SPEC.md",
        );
    }

    #[test]
    fn finds_stale_quotes() {
        let src = format!("{ENFORCED}\n{TESTED}");
        let with = |more: &str| report(&format!("{src}\n{more}"), OTHERS, &[]);
        one_fault(&with("//= SPEC.md#gone\n//# Prose."), "no section #gone");
        one_fault(&with("//= SPEC.md#packet-counter\n//# A sender MUST NOT repeat it."), "stale");
        one_fault(&with("//= SPEC.md#packet-counter\n//# A sender MUST NOT repeat a counter"), "stale");
        one_fault(&with("//= SPEC.md#packet-counter-1\n//# A Hello MUST be padded."), "#replay-finish--co");
        assert_eq!(with("//= SPEC.md#packet-counter\n//# It should be short.").faults, Vec::<String>::new());
    }

    #[test]
    fn finds_malformed_quotes() {
        let src = format!("{ENFORCED}\n{TESTED}");
        let with = |more: &str| report(&format!("{src}\n{more}"), OTHERS, &[]);
        one_fault(&with("//# It should be short."), "without a `//= SPEC.md#");
        one_fault(&with("//= SPEC.md#packet-counter\nfn f() {}"), "no `//#` line");
        one_fault(&with("//= rfc8439#section-2\n"), "expected `//= SPEC.md#section`");
        let mut quotes = Quotes::default();
        quotes.read("tests/x.rs", ENFORCED);
        assert!(quotes.faults[0].contains("needs the line"));
    }

    #[test]
    fn holds_exceptions_to_what_they_say() {
        let exception = |lacks, reason| [("packet-counter", FIRST, lacks, reason)];
        let excused = report(ENFORCED, OTHERS, &exception(Lacks::Test, "a reason"));
        assert_eq!(excused.faults, Vec::<String>::new());
        assert_eq!(excused.summary(), "3 MUSTs, 1 enforced, 0 tested, 1 exceptions, 2 untraced");
        let needless = report(&format!("{ENFORCED}\n{TESTED}"), OTHERS, &exception(Lacks::Test, "a reason"));
        one_fault(&needless, "but that is None");
        one_fault(&report(ENFORCED, OTHERS, &exception(Lacks::Both, "a reason")), "but that is Some(Test)");
        one_fault(&report(ENFORCED, OTHERS, &exception(Lacks::Test, " ")), "without a reason");
        let src = format!("{ENFORCED}\n{TESTED}");
        one_fault(&report(&src, OTHERS, &[("gone", "It MUST.", Lacks::Both, "a reason")]), "not in SPEC.md");
    }

    #[test]
    fn finds_a_must_outside_a_list() {
        let spec =
            Spec::parse("# T\n## A\nThis MUST be an item.\n\n| a | MUST be so |\n|---|---|\n\n- It MUST.\n");
        let report = examine(&spec, &Quotes::default(), &[], &parse_untraced("a: It MUST."));
        assert_eq!(report.faults.len(), 2, "{:#?}", report.faults);
    }
}
