//! Our own vectors in tests/vectors: compared with what is computed, or written anew.

/// Compares a file with what it should hold; with `VITALWIRE_BLESS=1` in the environment it is written instead.
pub(crate) fn compare_or_bless(file: &str, value: &serde_json::Value) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = std::format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    if std::env::var_os("VITALWIRE_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "tests/vectors/{file} differs; VITALWIRE_BLESS=1 writes it anew, if that is meant"
    );
}
