//! Imports run downward only: the module graph of `src/`, read from its paths.
//!
//! Reads every `crate::…` and `super::…` path of the library outside `#[cfg(test)]`, resolves root re-exports to the
//! module that owns them, and holds the table below. Also holds who may name which cryptographic crate.
//! A module that is not in the table fails: it gets its place here first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import, beside itself and [`COMMON`].
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("crypto", &[]),
    ("wire", &[]),
    ("framing", &[]),
    ("identity", &["crypto"]),
    ("session", &["wire", "crypto"]),
    ("delivery", &["framing"]),
    ("storage", &["framing", "crypto"]),
    ("handshake", &["identity", "wire", "crypto"]),
    ("clinical", &["framing"]),
    ("guide", &[]),
    ("health", &["crypto"]),
    ("audit", &["framing", "identity", "wire", "crypto"]),
    ("interop", &["framing", "clinical", "identity"]),
    ("permission", &["framing", "identity"]),
    (
        "device",
        &[
            "permission",
            "delivery",
            "storage",
            "framing",
            "session",
            "handshake",
            "identity",
            "wire",
            "crypto",
        ],
    ),
    (
        "logging",
        &[
            "device",
            "audit",
            "backend",
            "interop",
            "delivery",
            "storage",
            "framing",
            "session",
            "handshake",
            "identity",
            "wire",
            "crypto",
        ],
    ),
    (
        "backend",
        &["audit", "permission", "delivery", "framing", "session", "handshake", "identity", "wire", "crypto"],
    ),
];

/// What every module of [`MAY_IMPORT`] may import; and what these may import of each other.
const COMMON: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("entropy", &[]),
    ("limits", &["time"]),
    ("codec", &["limits"]),
    ("error", &["time", "entropy", "limits", "codec"]),
];

/// Crates that only the named modules may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("snow", &["crypto", "handshake"]),
    ("chacha20poly1305", &["crypto"]),
    ("x25519_dalek", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("curve25519_dalek", &["crypto"]),
    ("blake2", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("hmac", &["crypto"]),
    ("sha2", &["crypto"]),
    ("digest", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("serde_json", &["interop"]),
    ("cobs", &["wire"]),
];

#[test]
fn imports_run_downward_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let violations = check(&read_tree(&root));
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// A source file: its path below `src/`, with `/`, and its text.
type Source = (String, String);

fn read_tree(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.components().map(|part| part.as_os_str().to_str().unwrap());
                let text = fs::read_to_string(root.join(&path)).unwrap();
                files.push((name.collect::<Vec<_>>().join("/"), text));
            }
        }
    }
    files.sort();
    files
}

/// Returns one line for each violation.
fn check(sources: &[Source]) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(|(path, text)| File::new(path, text)).collect();
    let test_only: BTreeSet<_> = files.iter().flat_map(|file| &file.test_modules).cloned().collect();
    let modules: BTreeSet<_> = files.iter().filter_map(|file| file.module.first().cloned()).collect();
    let root = files.iter().find(|file| file.module.is_empty());
    let reexports = root.map(|file| file.reexports(&modules)).unwrap_or_default();

    let mut violations = BTreeSet::new();
    for file in &files {
        if (1..=file.module.len()).any(|depth| test_only.contains(&file.module[..depth])) {
            continue;
        }
        let own = file.module.first().map_or("", String::as_str);
        let fault = |text: String| format!("src/{}: {text}", file.path);
        for name in file.external_crates() {
            if let Some((_, allowed)) = MAY_NAME.iter().find(|(krate, _)| *krate == name)
                && !allowed.contains(&own)
            {
                violations.insert(fault(format!("names the crate `{name}`, which only {allowed:?} may")));
            }
        }
        if own.is_empty() {
            continue; // the root re-exports what it likes
        }
        let Some(allowed) = allowed_imports(own) else {
            violations.insert(fault(format!("module `{own}` has no place in tests/layers.rs")));
            continue;
        };
        for name in file.imports_from_root() {
            let target = if modules.contains(&name) { Some(&name) } else { reexports.get(&name) };
            match target.map(String::as_str) {
                Some(target) if target == own || allowed.contains(target) => {}
                Some(target) => {
                    violations.insert(fault(format!("`{own}` may not import `{target}` (crate::{name})")));
                }
                None => {
                    violations
                        .insert(fault(format!("crate::{name} is no module and no re-export of lib.rs")));
                }
            }
        }
    }
    violations.into_iter().collect()
}

fn allowed_imports(module: &str) -> Option<BTreeSet<&'static str>> {
    let find = |table: &'static [(&str, &[&'static str])]| {
        table.iter().find(|(name, _)| *name == module).map(|(_, allowed)| allowed.iter().copied())
    };
    find(COMMON).map(Iterator::collect).or_else(|| {
        find(MAY_IMPORT).map(|allowed| allowed.chain(COMMON.iter().map(|(name, _)| *name)).collect())
    })
}

/// A source file as tokens, without what only tests see.
struct File {
    path: String,
    module: Vec<String>,
    tokens: Vec<Token>,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are tests.
    test_modules: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    PathSeparator,
    Other(char),
}

impl Token {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => word == text,
            Self::PathSeparator => text == "::",
            Self::Other(c) => text.chars().eq([*c]),
        }
    }
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let stem = path.trim_end_matches(".rs");
        let mut module: Vec<String> = stem.split('/').map(String::from).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let mut file = Self { path: path.into(), module, tokens: Vec::new(), test_modules: Vec::new() };
        let all = tokenize(text);
        let mut at = 0;
        while at < all.len() {
            let Some(end) = test_attribute(&all, at) else {
                file.tokens.push(all[at].clone());
                at += 1;
                continue;
            };
            let item_end = skip_item(&all, end);
            if let Some(name) = all[end..item_end].windows(3).find_map(|three| match three {
                [Token::Word(word), Token::Word(name), Token::Other(';')] if word == "mod" => Some(name),
                _ => None,
            }) {
                let module = file.module.iter().chain([name]).cloned().collect();
                file.test_modules.push(module);
            }
            at = item_end;
        }
        file
    }

    /// Names of crates that paths begin with: `snow::…`, `::snow::…`, `use snow as …`, `extern crate snow`.
    fn external_crates(&self) -> BTreeSet<String> {
        let at = |index: Option<usize>| index.and_then(|index| self.tokens.get(index));
        let mut names = BTreeSet::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let Token::Word(name) = token else { continue };
            let before = at(index.checked_sub(1));
            let path_goes_on = at(Some(index + 1)).is_some_and(|next| next.is("::"));
            let imported = before.is_some_and(|before| before.is("use") || before.is("crate"));
            let inside_a_path = before.is_some_and(|before| before.is("::"))
                && matches!(at(index.checked_sub(2)), Some(Token::Word(word)) if word != "use")
                || before.is_some_and(|before| before.is("."));
            if (path_goes_on || imported) && !inside_a_path {
                names.insert(name.clone());
            }
        }
        names
    }

    /// First names below the crate root of every path that reaches it by `crate` or by enough `super`.
    fn imports_from_root(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut inline: Vec<usize> = Vec::new(); // brace depths at which inline modules were opened
        let mut depth = 0;
        let mut index = 0;
        while index < self.tokens.len() {
            let token = &self.tokens[index];
            let path = (token.is("crate") || token.is("super") || token.is("self"))
                && self.tokens.get(index + 1).is_some_and(|next| next.is("::"))
                && (index == 0 || !self.tokens[index - 1].is("::"));
            if path {
                let mut paths = Vec::new();
                index = path_tree(&self.tokens, index, &[], &mut paths);
                let nesting = self.module.len() + inline.len();
                names.extend(paths.iter().filter_map(|path| name_below_root(path, nesting)));
                continue;
            }
            if token.is("{") {
                depth += 1;
                if index >= 2 && self.tokens[index - 2].is("mod") {
                    inline.push(depth);
                }
            } else if token.is("}") {
                inline.pop_if(|opened| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            index += 1;
        }
        names
    }

    /// The items that this root file re-exports, each with the module that owns it.
    fn reexports(&self, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
        let mut items = BTreeMap::new();
        for index in 0..self.tokens.len() {
            if !self.tokens[index].is("use") {
                continue;
            }
            let mut paths = Vec::new();
            path_tree(&self.tokens, index + 1, &[], &mut paths);
            for path in paths {
                let path: Vec<_> =
                    path.into_iter().skip_while(|part| part == "crate" || part == "self").collect();
                if let [first, .., last] = path.as_slice()
                    && modules.contains(first)
                {
                    items.insert(last.clone(), first.clone());
                }
            }
        }
        items
    }
}

/// Expands the path or use tree at `at` into flat paths (a renamed item ends in its new name); returns where it ends.
fn path_tree(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::Word(word)) => path.push(word.clone()),
            Some(Token::Other('*')) => path.push("*".into()),
            Some(Token::Other('{')) => {
                at += 1;
                while tokens.get(at).is_some_and(|token| !token.is("}")) {
                    let end = path_tree(tokens, at, &path, paths);
                    at = end.max(at + usize::from(end == at));
                    at += usize::from(tokens.get(at).is_some_and(|token| token.is(",")));
                }
                return at + 1;
            }
            Some(Token::PathSeparator) if path.len() == prefix.len() => {} // `::name`
            _ => break,
        }
        at += 1;
        match tokens.get(at) {
            Some(Token::PathSeparator) => at += 1,
            Some(Token::Word(word)) if word == "as" => {
                if let Some(Token::Word(name)) = tokens.get(at + 1) {
                    // keep the first name, which decides; the last one is what others see
                    path.push(name.clone());
                }
                at += 2;
                break;
            }
            _ => break,
        }
    }
    if path.len() > prefix.len() {
        paths.push(path);
    }
    at
}

/// Returns the first name below the crate root, if the path gets there from a module `nesting` levels below it.
fn name_below_root(path: &[String], nesting: usize) -> Option<String> {
    let mut level = nesting;
    for (index, part) in path.iter().enumerate() {
        match part.as_str() {
            "crate" => level = 0,
            "super" => level = level.saturating_sub(1),
            "self" if index == 0 => {}
            name => return (level == 0).then(|| name.to_owned()),
        }
    }
    None
}

/// If an attribute begins at `at` that leaves its item to tests alone, returns where the attribute ends.
fn test_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let starts = |texts: &[&str]| {
        texts.iter().enumerate().all(|(n, text)| tokens.get(at + n).is_some_and(|token| token.is(text)))
    };
    let alone = starts(&["#", "[", "cfg", "(", "test", ")", "]"]);
    let among = starts(&["#", "[", "cfg", "(", "all", "(", "test", ","]);
    (alone || among).then(|| attribute_end(tokens, at))
}

fn attribute_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token {
            Token::Other('[') => depth += 1,
            Token::Other(']') if depth == 1 => return index + 1,
            Token::Other(']') => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Returns where the item (or field, or match arm) that begins at `at` ends.
fn skip_item(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.is("#")) {
        at = attribute_end(tokens, at);
    }
    const ITEMS: [&str; 14] = [
        "pub",
        "mod",
        "use",
        "fn",
        "impl",
        "struct",
        "enum",
        "trait",
        "const",
        "static",
        "type",
        "unsafe",
        "extern",
        "macro_rules",
    ];
    let item = tokens.get(at).is_some_and(|token| ITEMS.iter().any(|word| token.is(word)));
    let mut depth = 0usize;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Other('(' | '[' | '{') => depth += 1,
            Token::Other(')' | ']' | '}') if depth == 0 => return at,
            Token::Other(close @ (')' | ']' | '}')) => {
                depth -= 1;
                if depth == 0 && *close == '}' {
                    return at + 1;
                }
            }
            Token::Other(';') if depth == 0 => return at + 1,
            Token::Other(',') if depth == 0 && !item => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Splits Rust source into words, `::` and single characters; leaves out comments, strings and character literals.
fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && chars[i] != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = string_end(&chars, i),
            '\'' if at(i + 1) == '\\' => {
                i += 3; // the quote, the backslash and what it escapes
                while i < chars.len() && chars[i] != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => i += 1, // a lifetime: its name is a word that no rule asks for
            c if c.is_alphanumeric() || c == '_' => {
                let start = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                match word.as_str() {
                    "r" | "br" | "cr" if at(i + hashes) == '"' => {
                        i = raw_string_end(&chars, i + hashes + 1, hashes);
                    }
                    "b" | "c" if at(i) == '"' => i = string_end(&chars, i),
                    "r" if hashes == 1 => i += 1, // r#name
                    _ => tokens.push(Token::Word(word)),
                }
            }
            ':' if at(i + 1) == ':' => {
                tokens.push(Token::PathSeparator);
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Other(c));
                }
                i += 1;
            }
        }
    }
    tokens
}

fn string_end(chars: &[char], open: usize) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_string_end(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Tests of the checker: each planted violation is found, and nothing legal is.
mod checker {
    use super::{check, read_tree};
    use std::path::Path;

    const LIB: &str = "pub use time::Instant; pub use session::{Session as Open, State};
        pub use delivery::Outbox; mod time; mod session;";

    /// Checks one file among a tree with every module in it.
    fn violations_of(path: &str, text: &str) -> Vec<String> {
        let names = super::MAY_IMPORT.iter().chain(super::COMMON).map(|(name, _)| *name);
        let mut sources: Vec<_> = names.map(|name| (format!("{name}/mod.rs"), String::new())).collect();
        sources.push(("lib.rs".into(), LIB.into()));
        sources.retain(|(other, _)| other != path);
        sources.push((path.into(), text.into()));
        check(&sources)
    }

    #[track_caller]
    fn refused(path: &str, text: &str, because: &str) {
        let found = violations_of(path, text);
        assert!(found.len() == 1 && found[0].contains(because), "{path}: {text}: {found:?}");
    }

    #[track_caller]
    fn accepted(path: &str, text: &str) {
        assert_eq!(violations_of(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    #[test]
    fn finds_an_upward_import() {
        refused("framing/mod.rs", "use crate::wire::Header;", "`framing` may not import `wire`");
        refused("session/mod.rs", "use crate::handshake::Reply;", "`session` may not import `handshake`");
        refused("crypto/keys.rs", "use crate::session::Session;", "`crypto` may not import `session`");
        refused("time.rs", "use crate::limits::VERSION;", "`time` may not import `limits`");
    }

    #[test]
    fn finds_the_front_ends_knowing_each_other() {
        refused("device/mod.rs", "use crate::backend::Backend;", "`device` may not import `backend`");
        refused("backend/shard.rs", "use crate::device::Device;", "`backend` may not import `device`");
    }

    #[test]
    fn finds_paths_in_groups_expressions_and_macros() {
        refused("wire/mod.rs", "use crate::{codec::{Reader, Writer}, session::State};", "import `session`");
        refused("wire/mod.rs", "fn f() -> u8 { crate::session::N }", "import `session`");
        refused("wire/mod.rs", "macro_rules! m { () => { $crate::session::N } }", "import `session`");
        refused("wire/mod.rs", "pub use crate::session as below;", "import `session`");
    }

    #[test]
    fn finds_paths_by_way_of_super() {
        refused("wire/mod.rs", "use super::session::State;", "import `session`");
        refused("wire/link.rs", "use super::super::session::State;", "import `session`");
        refused("wire/link.rs", "use super::{super::session::State, Header};", "import `session`");
        refused("wire/mod.rs", "mod inner { use super::super::session::State; }", "import `session`");
        accepted("wire/link.rs", "use super::session::State;");
        accepted("wire/mod.rs", "mod inner { use super::session::State; } fn f() { self::session::g() }");
    }

    #[test]
    fn finds_imports_by_way_of_the_root() {
        refused("framing/mod.rs", "use crate::Outbox;", "`framing` may not import `delivery`");
        refused("framing/mod.rs", "use crate::{Instant, Open};", "`framing` may not import `session`");
        refused("framing/mod.rs", "use crate::Unknown;", "no module and no re-export");
        refused("framing/mod.rs", "use crate::*;", "no module and no re-export");
        accepted("framing/mod.rs", "use crate::Instant;");
    }

    #[test]
    fn finds_a_module_without_a_place() {
        refused("gateway.rs", "", "module `gateway` has no place");
    }

    #[test]
    fn finds_crates_named_outside_their_module() {
        refused("session/mod.rs", "use snow::Builder;", "names the crate `snow`");
        refused("identity/mod.rs", "fn f() { ::ed25519_dalek::f() }", "names the crate `ed25519_dalek`");
        refused("handshake/mod.rs", "use {blake2::Digest};", "names the crate `blake2`");
        refused("lib.rs", "extern crate hmac;", "names the crate `hmac`");
        refused("wire/mod.rs", "use hkdf as h;", "names the crate `hkdf`");
        accepted(
            "handshake/mod.rs",
            "use snow::Builder; use crate::crypto::hmac::f; fn g() { x.hmac::<u8>() }",
        );
    }

    #[test]
    fn code_after_a_test_item_is_still_read() {
        refused(
            "wire/mod.rs",
            "#[cfg(test)] use crate::device::Device; use crate::session::State;",
            "import `session`",
        );
        refused(
            "wire/mod.rs",
            "#[cfg(test)] mod tests { fn f() -> [u8; 2] { crate::device::f() } } use crate::session::State;",
            "import `session`",
        );
        refused(
            "wire/mod.rs",
            "struct S { #[cfg(test)] f: crate::device::D, g: crate::session::State }",
            "import `session`",
        );
        refused("wire/mod.rs", "#[cfg(not(test))] use crate::session::State;", "import `session`");
    }

    #[test]
    fn ignores_tests_comments_and_strings() {
        accepted("wire/mod.rs", "#[cfg(test)] mod tests { use crate::device::Device; }");
        accepted(
            "wire/mod.rs",
            "#[cfg(all(test, feature = \"std\"))] mod tests { use crate::device::Device; }",
        );
        accepted(
            "wire/mod.rs",
            "// use crate::device::D\n/* crate::device::D /* x */ snow::B */ /// snow::X\n",
        );
        accepted(
            "wire/mod.rs",
            r####"const A: &str = "crate::device::D\" snow::X"; const B: &str = r#"a" snow::X"#;"####,
        );
        accepted(
            "wire/mod.rs",
            "fn f<'a>(c: &'a u8) -> bool { *c == b'\"' || '\\'' == 'x' } pub(crate) fn g() {}",
        );
    }

    #[test]
    fn ignores_files_that_are_test_modules() {
        let mut sources = vec![
            ("wire/mod.rs".to_owned(), "#[cfg(test)]\n#[allow(dead_code)]\nmod tests;".to_owned()),
            ("wire/tests.rs".to_owned(), "use crate::wire::X; use crate::device::Device;".to_owned()),
            ("wire/tests/deep.rs".to_owned(), "use crate::device::Device;".to_owned()),
            ("device.rs".to_owned(), String::new()),
        ];
        assert_eq!(check(&sources), Vec::<String>::new());
        sources[0].1 = "mod tests;".to_owned();
        assert_eq!(check(&sources).len(), 2);
    }

    #[test]
    fn reads_the_library_itself() {
        let sources = read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(sources.iter().any(|(path, _)| path == "lib.rs"));
        let files: Vec<_> = sources.iter().map(|(path, text)| super::File::new(path, text)).collect();
        let imports = |path: &str| files.iter().find(|file| file.path == path).unwrap().imports_from_root();
        assert!(imports("limits.rs").contains("time"));
        assert!(imports("crypto/keys.rs").contains("entropy"));
        let provider = files.iter().find(|file| file.path == "crypto/provider/pure.rs").unwrap();
        assert!(provider.external_crates().contains("chacha20poly1305"));
    }
}
