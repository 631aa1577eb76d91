use core::ffi::c_char;

/// The version of this header. A library of another one refuses its structs with `VW_ERROR_BAD_LENGTH` at the latest;
/// compare with `vw_api_version()` at the start.
pub const VW_API_VERSION: u32 = 1;

/// Returns the `VW_API_VERSION` that the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn vw_api_version() -> u32 {
    VW_API_VERSION
}

/// Returns the library's version, such as `"0.1.0"`. Static.
#[unsafe(no_mangle)]
pub extern "C" fn vw_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
