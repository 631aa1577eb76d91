//! What the device's operations take, printed as lines `figure <name> <value> <unit>` with the feature `figures`. Without
//! it nothing is measured, and nothing is left of this in the image.

#[cfg(feature = "figures")]
mod measured;
#[cfg(feature = "figures")]
pub use measured::Figures;

/// Measures nothing.
#[cfg(not(feature = "figures"))]
pub struct Figures(());

#[cfg(not(feature = "figures"))]
impl Figures {
    pub const fn start() -> Self {
        Self(())
    }

    /// Runs what makes a packet.
    #[inline(always)]
    pub fn transmit<T>(&mut self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// Runs what takes a packet.
    #[inline(always)]
    pub fn receive(&mut self, packet: &mut [u8], work: impl FnOnce(&mut [u8])) {
        work(packet);
    }

    /// Runs what accepts a block of the ECG.
    #[inline(always)]
    pub fn block<T>(&mut self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// Takes note of how often the session has been rekeyed.
    #[inline(always)]
    pub const fn ratchets(&mut self, _: (u32, u32)) {}

    pub const fn end(&mut self) {}
}
