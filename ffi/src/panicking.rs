//! Where panics end without `std`.

unsafe extern "C" {
    /// The firmware defines this: it is called when the library has a fault, or its heap runs out, and it does not return:
    /// it resets the device. If it does return, the library spins for the watchdog.
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
