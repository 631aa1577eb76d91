//! Whose code is it: from the file that it was written in, or else from its symbol, to a row of the report.

/// The rows of the report that are not named after a module or a crate, in the order in which they come last.
pub const MEASURING: &str = "measuring code";
/// The application of an image: run loop, line, flash model.
pub const APPLICATION: &str = "application and drivers";
/// `integrations/flash`, and the traits that it stands on.
const FLASH: &str = "flash driver (vitalwire-flash)";
/// Constants of the compiler's naming: strings, tables, places of panics.
pub const CONSTANTS: &str = "constants without a name";
/// What could not be told.
pub const UNKNOWN: &str = "not told by debug information";

/// Returns the row of the code that a source file holds; `None` for the language's own library, whose inlined code
/// belongs to who called it.
pub fn of_file(path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    if let Some((_, rest)) = path.rsplit_once("/registry/src/") {
        let directory = rest.split('/').nth(1)?;
        return Some(of_crate(without_version(directory)));
    }
    if ["/library/core/", "/library/alloc/", "/library/std/"].iter().any(|part| path.contains(part)) {
        return None;
    }
    if path.contains("compiler-builtins") || path.contains("compiler_builtins") {
        return Some("compiler_builtins".into());
    }
    if path.contains("/examples/firmware/measure/") {
        return Some(MEASURING.into());
    }
    if path.contains("/integrations/flash/") {
        return Some(FLASH.into());
    }
    if path.contains("/examples/firmware/") || path.contains("/out/") {
        return Some(APPLICATION.into());
    }
    let (_, inside) = path.rsplit_once("/src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    Some(format!("vitalwire::{module}"))
}

/// Returns the row of a symbol, by the crate that its demangled name begins with.
pub fn of_symbol(name: &str) -> Option<String> {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    if name.starts_with(".Lanon") || name.starts_with("anon.") || name.starts_with("switch.table") {
        return Some(CONSTANTS.into());
    }
    let path = name.trim_start_matches(['<', '&', '*', '[', '(']);
    let path = path.strip_prefix("mut ").or(path.strip_prefix("dyn ")).unwrap_or(path);
    let mut words =
        path.split("::").map(|word| word.split(['<', ' ', '>', ',', ']', ')', ';']).next().unwrap_or(word));
    let first = words.next()?;
    if first == path {
        // Not a path: a function of the start-up code, of the exception handlers, or a builtin of the compiler.
        return match first {
            _ if first.starts_with("__aeabi_") || first.starts_with("mem") => {
                Some("compiler_builtins".into())
            }
            _ if first.starts_with("__") || first.contains("Handler") || first == "Reset" => {
                Some(of_crate("cortex-m-rt"))
            }
            _ => None,
        };
    }
    let is_name = first.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    match first {
        "core" | "alloc" | "std" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32"
        | "i64" | "i128" | "isize" | "bool" | "char" | "str" => Some("core and alloc".into()),
        _ if first.is_empty() || !is_name => None,
        "vitalwire" => Some(format!("vitalwire::{}", words.next().unwrap_or("lib"))),
        name => Some(of_crate(&name.replace('_', "-"))),
    }
}

/// Puts crates together that come together.
fn of_crate(name: &str) -> String {
    let name = name.replace('_', "-");
    let row = match name.as_str() {
        "curve25519-dalek" | "x25519-dalek" => "curves (curve25519-dalek, x25519-dalek)",
        "ed25519-dalek" | "ed25519" | "signature" => "Ed25519 (ed25519-dalek)",
        "chacha20poly1305" | "chacha20" | "poly1305" => "ChaCha20-Poly1305",
        "sha2" => "SHA-2 (sha2)",
        "blake2" => "BLAKE2 (blake2)",
        "digest" | "block-buffer" | "crypto-common" | "generic-array" | "hybrid-array" | "typenum"
        | "subtle" | "zeroize" | "cpufeatures" | "hmac" | "hkdf" | "universal-hash" | "cipher" | "inout"
        | "aead" => "traits and tools of RustCrypto",
        "p256" | "primeorder" | "elliptic-curve" | "ecdsa" | "crypto-bigint" | "ff" | "group" | "sec1" => {
            "P-256 (p256 and what it takes)"
        }
        "der" | "const-oid" | "rfc6979" | "spki" => "DER and what signs (der, const-oid, rfc6979)",
        "postcard" | "serde" | "serde-core" | "cobs" => "postcard, serde and cobs",
        "vitalwire-flash" | "embedded-storage" | "embedded-storage-async" => FLASH,
        "aes" | "ccm" | "ctr" | "aes-gcm" | "ghash" | "polyval" | "cbc-mac" => "AES (aes and its modes)",
        "cortex-m"
        | "cortex-m-rt"
        | "embedded-alloc"
        | "linked-list-allocator"
        | "critical-section"
        | "volatile-register"
        | "vcell"
        | "bare-metal" => "start-up, vector table and allocator",
        "cortex-m-semihosting" | "firmware-measure" => MEASURING,
        "vitalwire-firmware" | "firmware-peers" | "device" | "snow-xx" | "edhoc" | "tls-psk" => APPLICATION,
        "compiler-builtins" => "compiler_builtins",
        _ => return name,
    };
    row.into()
}

fn without_version(directory: &str) -> &str {
    let version = directory.char_indices().find(|&(at, letter)| {
        letter == '-' && directory[at + 1..].starts_with(|next: char| next.is_ascii_digit())
    });
    version.map_or(directory, |(at, _)| &directory[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_files_apart() {
        let registry = "/home/me/.cargo/registry/src/index.crates.io-1/";
        let row = |file: &str| of_file(&format!("{registry}{file}"));
        assert_eq!(row("snow-0.10.0/src/builder.rs").as_deref(), Some("snow"));
        assert_eq!(row("blake2-0.11.0-rc.2/src/lib.rs").as_deref(), Some("BLAKE2 (blake2)"));
        assert_eq!(
            row("cortex-m-0.7.10/src/asm.rs").as_deref(),
            Some("start-up, vector table and allocator")
        );
        assert_eq!(of_file("/rustc/0123/library/core/src/slice/mod.rs"), None);
        assert_eq!(
            of_file("/rustc/0123/library/compiler-builtins/src/mem.rs").as_deref(),
            Some("compiler_builtins")
        );
        assert_eq!(of_file("/w/vitalwire/src/device/mod.rs").as_deref(), Some("vitalwire::device"));
        assert_eq!(of_file("/w/vitalwire/integrations/flash/src/log.rs").as_deref(), Some(FLASH));
        assert_eq!(of_file("/w/vitalwire/src/time.rs").as_deref(), Some("vitalwire::time"));
        assert_eq!(of_file("/w/vitalwire/examples/firmware/src/main.rs").as_deref(), Some(APPLICATION));
        assert_eq!(of_file("/w/vitalwire/examples/firmware/measure/src/tell.rs").as_deref(), Some(MEASURING));
    }

    #[test]
    fn tells_symbols_apart() {
        assert_eq!(
            of_symbol("_ZN9vitalwire6device4Live4poll17h0123456789abcdefE").as_deref(),
            Some("vitalwire::device")
        );
        assert_eq!(of_symbol("_RNvCs1234_7mycrate3foo").as_deref(), Some("mycrate"));
        assert_eq!(of_symbol(".Lanon.8d1eb4bf.29").as_deref(), Some(CONSTANTS));
        assert_eq!(of_symbol("__aeabi_memcpy").as_deref(), Some("compiler_builtins"));
        assert_eq!(of_symbol("<i128 as core::fmt::Display>::fmt").as_deref(), Some("core and alloc"));
        assert_eq!(of_symbol("<[u8] as core::fmt::Debug>::fmt").as_deref(), Some("core and alloc"));
        assert_eq!(of_symbol("<(usize, u8) as vitalwire::Trait>::call").as_deref(), Some("core and alloc"));
        assert_eq!(of_symbol("SomethingElse"), None);
    }
}
