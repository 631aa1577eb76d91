//! `include/vitalwire.h` is what cbindgen makes of the sources now.
//!
//! `VITALWIRE_WRITE_HEADER=1 cargo test --test header` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_header_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_crate(root).with_config(config).generate();
    let mut made = Vec::new();
    bindings.expect("cbindgen reads the sources").write(&mut made);
    let path = root.join("include/vitalwire.h");
    if std::env::var_os("VITALWIRE_WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("the header is written");
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(
        kept == made,
        "include/vitalwire.h is stale: VITALWIRE_WRITE_HEADER=1 cargo test --test header, and commit it"
    );
}

/// cbindgen leaves out, without an error, what it does not understand.
#[test]
fn every_exported_function_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = fs::read_to_string(root.join("include/vitalwire.h")).expect("the header");
    let mut functions = 0;
    for entry in fs::read_dir(root.join("src")).expect("src") {
        let source = fs::read_to_string(entry.expect("a source").path()).expect("a source");
        let exported = source.split("#[unsafe(no_mangle)]").skip(1);
        for name in exported.filter_map(|rest| rest.split("fn ").nth(1)?.split('(').next()) {
            assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
            functions += 1;
        }
    }
    assert!(functions > 50, "{functions} functions were found");
}
