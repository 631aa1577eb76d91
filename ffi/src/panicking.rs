//! Where panics end without `std`.

unsafe extern "C" {
    /// The firmware's: see the header.
    fn vw_panic();
}

#[panic_handler]
fn end(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the firmware has it, or the image does not link; it takes nothing.
    unsafe { vw_panic() };
    loop {
        core::hint::spin_loop();
    }
}
